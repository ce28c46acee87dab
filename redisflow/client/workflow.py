"""`Workflow`: a declared workflow that can be started from here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, TypeVar, Unpack, overload

from redisflow.authoring.definition import WorkflowDefinition, WorkflowSpec
from redisflow.authoring.limits import NO_QUEUE_LIMITS, QueueLimits
from redisflow.client.handle import WorkflowHandle
from redisflow.client.start import AS_DECLARED, RunOptions, StartOptions, prepare_start, start_prepared
from redisflow.contract import Backend
from redisflow.durations import Instant
from redisflow.tags import Tags

In = TypeVar("In")
Out = TypeVar("Out")

START_AT_ONCE = 1000
"""Starts of one `run_many` that are under way at once: they leave as batches."""


class Workflow(Generic[In, Out]):
    """A workflow bound to a RedisFlow: `await workflow.run(input)` starts a run."""

    def __init__(
        self,
        spec: WorkflowSpec[In, Out],
        connect: Callable[[], Awaitable[Backend]],
        definition: WorkflowDefinition[In, Out] | None = None,
        *,
        queue_limits: QueueLimits = NO_QUEUE_LIMITS,
    ) -> None:
        """Made by `define_workflow` and `define_workflow_spec`; `definition` is None where only the spec is known."""
        self.spec = spec
        self.definition = definition
        self._connect = connect
        self._queue_limits = queue_limits
        if definition is not None:
            self.__doc__ = definition.fn.__doc__

    def __repr__(self) -> str:
        """For people."""
        return f"Workflow({str(self.spec)!r})"

    @property
    def name(self) -> str:
        """The workflow's name."""
        return self.spec.name

    @property
    def fn(self) -> Callable[..., Awaitable[Out]]:
        """The function that implements it, for tests."""
        if self.definition is None:
            msg = f"workflow {self.spec} is only declared here: implement it with flow.implement_workflow(spec)"
            raise TypeError(msg)
        return self.definition.fn

    @overload
    async def run(
        self: Workflow[None, Out],
        /,
        **options: Unpack[RunOptions],
    ) -> WorkflowHandle[Out]: ...

    @overload
    async def run(
        self,
        value: In,
        /,
        **options: Unpack[RunOptions],
    ) -> WorkflowHandle[Out]: ...

    async def run(self, value: Any = None, /, **options: Unpack[RunOptions]) -> WorkflowHandle[Out]:
        """Start a run and return its handle, without waiting for it to be worked on.

        When this returns, the run exists and will reach exactly one terminal status. With an `idempotency_key`,
        calling it again (within `idempotency_ttl`, 24 h) with the same input gives the same run; with another input
        it raises IdempotencyConflict. `available_at` delays the start, `deadline_at` ends the run as failed when it is
        not done by then, `expires_at` cancels it when nobody has taken it up by then: each takes an aware datetime, or
        a duration from now.

        `unique_key` (with `on_conflict`), `debounce` and `throttle` are rules for starts that have a key in common: the
        handle may then be on a run that was there (`handle.workflow_run.existing`), or on one that begins later
        (`handle.workflow_run.available_at`).

        Raises InvalidInput and InvalidStart (nothing was stored), RunAlreadyActive and StartThrottled where a rule is
        to reject, BackpressureError (Redis is out of memory), BackendUnavailable (then
        the run may or may not exist: use an idempotency key to try again).
        """
        backend = await self._connect()
        chosen = StartOptions(**options) if options else AS_DECLARED
        prepared = prepare_start(self.spec, value, chosen, backend.payload_limit, self._queue_limits)
        started = await start_prepared(backend, self.spec, prepared, chosen)
        return WorkflowHandle(backend, self.spec, started)

    async def run_many(
        self,
        values: Iterable[In],
        /,
        *,
        version: str | None = None,
        queue: str | None = None,
        available_at: Instant | None = None,
        deadline_at: Instant | None = None,
        tags: Tags | None = None,
        priority: int | None = None,
    ) -> list[WorkflowHandle[Out]]:
        """Start a run for each input, in batches; the handles come in the order of the inputs.

        A thousand inputs are validated, then their runs are stored, and so on: a bad input stores none of its thousand.
        Each run is stored on its own; if the server refuses one, its error is raised, and others may exist.
        """
        options = StartOptions(
            version=version,
            queue=queue,
            available_at=available_at,
            deadline_at=deadline_at,
            tags=tags,
            priority=priority,
        )
        backend = await self._connect()
        handles: list[WorkflowHandle[Out]] = []
        batch: list[In] = []
        for value in values:
            batch.append(value)
            if len(batch) == START_AT_ONCE:
                handles += await self._start_batch(backend, batch, options)
                batch = []
        return handles + await self._start_batch(backend, batch, options)

    async def _start_batch(self, backend: Backend, batch: list[In], options: StartOptions) -> list[WorkflowHandle[Out]]:
        limit, limits = backend.payload_limit, self._queue_limits
        starts = [prepare_start(self.spec, value, options, limit, limits) for value in batch]
        started = await asyncio.gather(*(start_prepared(backend, self.spec, start, options) for start in starts))
        return [WorkflowHandle(backend, self.spec, one) for one in started]
