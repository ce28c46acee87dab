"""`SyncWorkflowHandle`: a handle on one run for code that cannot await."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from typing import Generic, Literal, TypeVar

from redisflow.client.handle import WorkflowHandle
from redisflow.client.start import StartedRun
from redisflow.contract import Backend
from redisflow.durability import Level
from redisflow.durations import Duration
from redisflow.runs import WorkflowRun
from redisflow.sync.portal import Portal

Out = TypeVar("Out")
R = TypeVar("R")
T = TypeVar("T")


class SyncWorkflowHandle(Generic[Out]):
    """One run. Safe to keep, to use from many threads, after `flow.sync.close()`, and in a forked child."""

    __slots__ = ("_connect", "_handle", "_portal")

    def __init__(self, portal: Portal, connect: Callable[[], Awaitable[Backend]], handle: WorkflowHandle[Out]) -> None:
        """Made by `SyncFlow`."""
        self._portal = portal
        self._connect = connect
        self._handle = handle

    def __repr__(self) -> str:
        """For people."""
        return f"Sync{self._handle!r}"

    @property
    def id(self) -> str:
        """The run's id."""
        return self._handle.id

    @property
    def workflow_run(self) -> StartedRun:
        """What was known of the run when it was started."""
        return self._handle.workflow_run

    @property
    def durability(self) -> Level | Literal["unknown"]:
        """See `WorkflowHandle.durability`."""
        return self._handle.durability

    def confirm(self, timeout: Duration | None = None) -> bool:
        """See `WorkflowHandle.confirm`; `durability` then says so."""

        async def confirm(handle: WorkflowHandle[Out]) -> tuple[WorkflowHandle[Out], bool]:
            return handle, await handle.confirm(timeout)

        self._handle, is_confirmed = self.call(confirm)
        return is_confirmed

    def get(self) -> WorkflowRun:
        """See `WorkflowHandle.get`."""
        return self.call(WorkflowHandle[Out].get)

    def cancel(self) -> bool:
        """See `WorkflowHandle.cancel`."""
        return self.call(WorkflowHandle[Out].cancel)

    def result(self, timeout: Duration | None = None) -> Out:
        """See `WorkflowHandle.result`: wait in this thread for the run's end, `timeout` at most."""
        return self.call(lambda handle: handle.result(timeout))

    def call(self, use: Callable[[WorkflowHandle[Out]], Awaitable[R]], /) -> R:
        """Await whatever the async handle can do: `handle.call(lambda run: run.signal("approve", data))`."""

        # Each time through the connection of the portal that runs now: another one after a close or a fork.
        async def call() -> R:
            return await use(self._handle.on(await self._connect()))

        return self._portal.call(call)

    def iterate(self, use: Callable[[WorkflowHandle[Out]], AsyncIterable[T]], /) -> Iterator[T]:
        """Go through what the async handle yields: `for event in handle.iterate(lambda run: run.events())`."""

        async def items() -> AsyncIterable[T]:
            return use(self._handle.on(await self._connect()))

        return self._portal.iterate(items)
