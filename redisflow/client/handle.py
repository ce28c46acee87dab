"""A handle on one run: its id, and what a caller can ask of it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from redisflow.authoring.definition import WorkflowSpec
from redisflow.client.signals import signal_run
from redisflow.durations import Duration, to_ms
from redisflow.errors import (
    DeadlineExceeded,
    PayloadStoreUnavailable,
    ResultTimeout,
    RunNotFinished,
    RunNotFound,
    WorkflowCanceled,
    WorkflowExpired,
    WorkflowFailed,
)
from redisflow.failure import Failure
from redisflow.runs import WorkflowRun, failure_of

if TYPE_CHECKING:
    from redisflow.contract import Backend, RunEnd

Out = TypeVar("Out")

POLL_S = 5.0
"""The net under a lost notification."""


@dataclass(frozen=True, slots=True)
class StartedRun:
    """What is known of a run the moment it was started."""

    id: str
    workflow: str
    version: str | None
    existing: bool
    """It was there: a key (idempotency, unique, debounce, throttle) led to it, and this start made no run."""
    available_at: datetime | None = None
    """When it may begin, as far as the start was told: where a debounce or a throttle says so."""


class WorkflowHandle(Generic[Out]):
    """One run, as the one who started it holds it. Safe to keep, to drop, and to use from many tasks."""

    __slots__ = ("_backend", "_spec", "workflow_run")

    def __init__(self, backend: Backend, spec: WorkflowSpec[object, Out], workflow_run: StartedRun) -> None:
        """Made by `Workflow.run` and `RedisFlow.get_handle`."""
        self._backend = backend
        self._spec = spec
        self.workflow_run = workflow_run

    def __repr__(self) -> str:
        """For people."""
        return f"WorkflowHandle({self.workflow_run.workflow!r}, id={self.id!r})"

    @property
    def id(self) -> str:
        """The run's id."""
        return self.workflow_run.id

    def on(self, backend: Backend) -> WorkflowHandle[Out]:
        """The same run, reached through another connection: that of another event loop."""
        return WorkflowHandle(backend, self._spec, self.workflow_run)

    async def get(self) -> WorkflowRun:
        """The run as it is now. RunNotFound where it is no longer stored."""
        run = await self._backend.get_workflow_run(self.id)
        if run is None:
            raise _not_found(self.id, self._backend.namespace)
        return run

    async def cancel(self) -> bool:
        """Cancel the run; True where it is canceled now, False where it had ended in another way. Safe to repeat."""
        return await cancel_run(self._backend, self.id)

    async def signal(
        self, name: str, data: Any = None, *, idempotency_key: str | None = None, idempotency_ttl: Duration = "24h"
    ) -> None:
        """Send the run a signal: `step.wait_for_signal(name)` takes it, now or whenever the run comes to that.

        When this returns, the signal is stored, and is taken once; signals of a name are taken in the order in which
        they came. With an `idempotency_key` another call within `idempotency_ttl` (24 h) sends nothing more.

        Raises RunNotFound, RunEnded, MailboxFull (1,000 items wait there), InvalidInput (data that cannot be stored).
        """
        await signal_run(
            self._backend, self.id, name, data, idempotency_key=idempotency_key, idempotency_ttl=idempotency_ttl
        )

    async def delete(self) -> None:
        """Delete the run with all that is kept of it, now. Safe to repeat.

        RunNotFinished where it goes on: cancel it first.
        """
        await delete_run(self._backend, self.id)

    async def result(self, timeout: Duration | None = None) -> Out:  # noqa: ASYNC109  # it says how long, the run goes on
        """Wait for the run's end and return its output, of the workflow's type. Cancelling it leaves the run alone.

        Raises WorkflowFailed (DeadlineExceeded where that is why), WorkflowCanceled (WorkflowExpired where nobody took
        it up in time), ResultTimeout when `timeout` is over (the run goes on), RunNotFound.
        """
        limit_s = None if timeout is None else to_ms(timeout, what="timeout") / 1000
        try:
            async with asyncio.timeout(limit_s):
                end = await self._wait_for_end()
        except TimeoutError:
            run = await self._backend.get_workflow_run(self.id)
            raise ResultTimeout(self._not_yet(run, limit_s)) from None
        return self._value_of(end)

    async def _wait_for_end(self) -> RunEnd:
        async with self._backend.watch_end(self.id) as ticks:
            while True:
                # Subscribed first, looked at second: an end between the two is seen.
                end = await self._backend.get_end(self.id)
                if end is None:
                    raise _not_found(self.id, self._backend.namespace)
                if end.status in {"succeeded", "failed", "canceled"}:
                    return end
                try:
                    async with asyncio.timeout(POLL_S):
                        told = await anext(ticks)
                except TimeoutError:
                    continue
                if told is not None:
                    return told

    def _value_of(self, end: RunEnd) -> Out:
        if end.status == "succeeded":
            return self._spec.output.decode(end.output or b"\xc0")
        if end.status == "canceled":
            kind_of_end = WorkflowExpired if end.cause == "expired" else WorkflowCanceled
            raise kind_of_end(self.id, end.workflow, end.cause or "canceled")
        failure = failure_of(end.error, end.cause) or Failure("Unknown", "the failure was not recorded", "")
        kind = DeadlineExceeded if end.cause == "deadline" else WorkflowFailed
        error = kind(self.id, end.workflow, failure)
        if failure.traceback:
            error.add_note(failure.traceback)
        raise error

    def _not_yet(self, run: WorkflowRun | None, limit_s: float | None) -> str:
        if run is None:
            return f"run {self.id} is not stored"
        state = run.status if run.waiting_for is None else f"{run.status} ({run.waiting_for})"
        message = f"run {self.id} of {run.workflow!r} has not ended within {limit_s:g} s: it is {state} and goes on"
        if run.error is not None:
            message += f"; {run.error.error_type}: {run.error.message}"
        return message


async def cancel_run(backend: Backend, run_id: str) -> bool:
    """Cancel a run; whether it is canceled now."""
    status = await backend.cancel_run(run_id)
    if status is None:
        raise _not_found(run_id, backend.namespace)
    return status == "canceled"


async def delete_run(backend: Backend, run_id: str) -> None:
    """Delete a finished run, and what it has in a payload store. Where that is away, its sweep finds it later."""
    status = await backend.retention.delete_run(run_id)
    if status is not None:
        raise RunNotFinished(run_id, status)
    with contextlib.suppress(PayloadStoreUnavailable):
        await backend.payloads.delete_run_payloads(run_id)


def _not_found(run_id: str, namespace: str) -> RunNotFound:
    return RunNotFound(f"run {run_id} is not stored in namespace {namespace!r}")
