"""A handle on one run: its id, and what a caller can ask of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, Unpack

from redisflow.authoring.definition import WorkflowSpec
from redisflow.client.events import Event, follow_events, read_state
from redisflow.client.lifecycle import (
    SAME_INPUT,
    fork_run,
    not_found,
    pause_run,
    rerun,
    resume_run,
    retry_run,
)
from redisflow.client.signals import signal_run
from redisflow.client.start import RunOptions, StartedRun, StartOptions
from redisflow.durations import Duration, Instant, to_ms
from redisflow.errors import (
    DeadlineExceeded,
    PayloadStoreUnavailable,
    RedisflowError,
    ResultTimeout,
    RunNotFinished,
    WorkflowCanceled,
    WorkflowExpired,
    WorkflowFailed,
)
from redisflow.failure import Failure
from redisflow.runs import WorkflowRun, failure_of

if TYPE_CHECKING:
    from redisflow.contract import Backend, RunEnd
    from redisflow.durability import Level

Out = TypeVar("Out")

POLL_S = 5.0
"""The net under a lost notification."""
CONFIRM_S = 0.1
"""How long before replicas are asked again."""


class WorkflowHandle(Generic[Out]):
    """One run, as the one who started it holds it. Safe to keep, to drop, and to use from many tasks."""

    __slots__ = ("_backend", "_is_confirmed", "_spec", "workflow_run")

    def __init__(self, backend: Backend, spec: WorkflowSpec[Any, Out], workflow_run: StartedRun) -> None:
        """Made by `Workflow.run` and `RedisFlow.get_handle`."""
        self._backend = backend
        self._spec = spec
        self.workflow_run = workflow_run
        self._is_confirmed = workflow_run.is_confirmed

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

    @property
    def durability(self) -> Level | Literal["unknown"]:
        """What the start of the run is worth: the flow's level, or `unknown`.

        `unknown` is said at the level `replicated`, where too few replicas confirmed it in time: the run exists, and is
        lost only if the primary is lost before a replica has it. So it is of a run that this process did not start
        (`get_handle`), or that a schedule did. `confirm` asks again.
        """
        return self._backend.durability.level if self._is_confirmed else "unknown"

    async def confirm(self, timeout: Duration | None = None) -> bool:  # noqa: ASYNC109  # as of `result`
        """Whether enough replicas have the run as it is now, with what was sent to it; `durability` then says so.

        It waits for them as long as a batch does, or until `timeout` is over, and may be called again. True at once at
        the other levels, where replicas are nobody's business. RunNotFound where it is no longer stored.
        """
        until_s = time.monotonic() + (0 if timeout is None else to_ms(timeout, what="timeout") / 1000)
        while True:
            is_confirmed = await self._backend.durability.confirm(self.id)
            if is_confirmed is None:
                raise not_found(self.id, self._backend)
            if is_confirmed or time.monotonic() >= until_s:
                self._is_confirmed = is_confirmed
                return is_confirmed
            # Replicas were waited for, but where the server refused to wait: then it is not to be asked in a hurry.
            await asyncio.sleep(CONFIRM_S)

    async def get(self) -> WorkflowRun:
        """The run as it is now. RunNotFound where it is no longer stored."""
        run = await self._backend.get_workflow_run(self.id)
        if run is None:
            raise not_found(self.id, self._backend)
        return run

    async def cancel(self) -> bool:
        """Cancel the run; True where it is canceled, False where it had ended in another way. Safe to repeat.

        A run that has compensations (`step.on_failure`) ends once they have: until then `(await handle.get()).ending`
        says "canceled", and `result()` waits. False, too, where it is about to fail for its deadline.
        """
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

    async def pause(self) -> None:
        """Let the run wait until it is resumed, whatever it is doing. Safe to repeat.

        Bodies that run are cancelled, and run again after `resume`: what they had not recorded is not known. Timers,
        retries and mail that fall due wait; a deadline does not, and `cancel` works. RunStateConflict where it
        has ended.
        """
        await pause_run(self._backend, self.id)

    async def resume(self) -> None:
        """Let a paused run go on; one that is not paused is left alone. RunStateConflict where it has ended."""
        await resume_run(self._backend, self.id)

    async def retry(self, *, deadline_at: Instant | None = None) -> None:
        """Let a failed run go on in place: completed steps stay, the one whose failure ended it runs again.

        That step, and what was asked for after its failure, runs under new idempotency keys. A `result()` called from
        now on waits for the new end. A run that ended at its deadline needs a new one. RunStateConflict where the run
        has not failed.
        """
        await retry_run(self._backend, self.id, deadline_at)

    async def rerun(self, **options: Unpack[RunOptions]) -> WorkflowHandle[Out]:
        """Start a new run with the same input: of the same version, on the same queue, unless options say otherwise.

        Its `forked_from` names this run. Called twice, it starts two, unless an `idempotency_key` is given.
        """
        return self._beside(await rerun(self._backend, self._spec, self.id, StartOptions(**options)))

    async def fork(
        self,
        from_step: str | None = None,
        *,
        input: Any = SAME_INPUT,  # noqa: A002  # the word that users have for it
        steps: Mapping[str, Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> WorkflowHandle[Out]:
        """Start a new run that begins with this one's record up to a step, which then runs, and what follows it.

        `input` is another input; `steps` are other results for steps that had ended before, failed ones too, by their
        keys. Without `from_step` the new run goes on after the last edited one. The record must still be what the code
        does with the edited values: where it is not, the new run is suspended with a diff. StepNotFound where the
        record has no such step.
        """
        started = await fork_run(
            self._backend,
            self._spec,
            self.id,
            StartOptions(**options),
            from_step=from_step,
            value=input,
            steps=steps or {},
        )
        return self._beside(started)

    def _beside(self, started: StartedRun) -> WorkflowHandle[Out]:
        return WorkflowHandle(self._backend, self._spec, started)

    def events(self, after: str | None = None, *, live: bool = True) -> AsyncGenerator[Event]:
        """Follow the run: its events so far, or those after an id, then each as it comes, until the run has ended.

        Events are what it says with `step.emit` and `step.log`: `async for event in handle.events(): ...`.

        Nothing is missed or given twice, also over lost connections; whoever comes back later goes on after the id of
        the last event that it has dealt with. With `live=False` it ends with what is stored now. About the last 10,000
        events of a run are kept: `event.is_after_gap` says where older ones are missing. Whoever leaves early closes it
        at once with `contextlib.aclosing`; else Python does so a little later.

        Raises RunNotFound, BackendUnavailable (go on after the last id).
        """
        return follow_events(self._backend, self.id, after, live=live)

    async def state(self) -> dict[str, Any]:
        """What the run has set with `step.set_state`, as plain data. RunNotFound where it is no longer stored."""
        return await read_state(self._backend, self.id)

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
                    raise not_found(self.id, self._backend)
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
            raise _with_notes(kind_of_end(self.id, end.workflow, end.cause or "canceled"), failure_of(end.error, None))
        failure = failure_of(end.error, end.cause) or Failure("Unknown", "the failure was not recorded", "")
        kind = DeadlineExceeded if end.cause == "deadline" else WorkflowFailed
        raise _with_notes(kind(self.id, end.workflow, failure), failure)

    def _not_yet(self, run: WorkflowRun | None, limit_s: float | None) -> str:
        if run is None:
            return f"run {self.id} is not stored"
        state = run.status if run.waiting_for is None else f"{run.status} ({run.waiting_for})"
        message = f"run {self.id} of {run.workflow!r} has not ended within {limit_s:g} s: it is {state} and goes on"
        if run.ending is not None:
            message += f" ({run.ending}: its compensations run)"
        if run.error is not None:
            message += f"; {run.error.error_type}: {run.error.message}"
        return message


async def cancel_run(backend: Backend, run_id: str) -> bool:
    """Cancel a run; whether it is canceled now."""
    status = await backend.cancel_run(run_id)
    if status is None:
        raise not_found(run_id, backend)
    return status in {"canceled", "canceling"}


def _with_notes(error: RedisflowError, failure: Failure | None) -> RedisflowError:
    if failure is not None and failure.traceback:
        error.add_note(failure.traceback)
    return error


async def delete_run(backend: Backend, run_id: str) -> None:
    """Delete a finished run, and what it has in a payload store. Where that is away, its sweep finds it later."""
    status = await backend.retention.delete_run(run_id)
    if status is not None:
        raise RunNotFinished(run_id, status)
    with contextlib.suppress(PayloadStoreUnavailable):
        await backend.payloads.delete_run_payloads(run_id)
