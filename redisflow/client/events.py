"""Following a run: what it has said so far, and then what it says, event by event.

The hard thing is to miss nothing: the subscription only says that there is something to read, and what is read goes on
from the id of the last event, whatever was lost on the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from redisflow import codec
from redisflow.contract import Backend, StoredEvent
from redisflow.durations import from_ms
from redisflow.errors import RunNotFound

POLL_S = 5.0
"""The net under a lost notification."""
_ID: Final = re.compile(r"\d{1,20}-\d{1,20}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that a run said. In the order of their ids, events are in the order in which they were stored."""

    id: str
    """Give it to `events(after=...)` to go on behind it."""
    kind: str
    """As `step.emit(kind=...)` says; `log` for what `step.log` said."""
    data: Any = field(repr=False)
    """As plain data: a model as a dict."""
    step: str | None
    """The key of the step whose body said it; None where the workflow's own code did."""
    attempt: int | None
    """Of that step: another attempt says again what the one before had said."""
    at: datetime
    """By the server's clock, in UTC."""
    is_after_gap: bool = False
    """Whether older events, which should have come before this one, are no longer stored: a run keeps about 10,000."""


async def follow_events(backend: Backend, run_id: str, after: str | None, *, live: bool) -> AsyncGenerator[Event]:
    """See `WorkflowHandle.events`."""
    reader = _Reader(backend, run_id, after)
    if not live:
        while reader.has_more:
            for event in await reader.read():
                yield event
        return
    async with backend.events.watch_events(run_id) as ticks:
        will_be_told = False
        while not reader.is_over:
            for event in await reader.read():
                yield event
            if reader.has_more or reader.is_over:
                continue
            if will_be_told:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await anext(ticks)
            else:
                # From now on the end of the run is told to those who listen; it may have come just before.
                await backend.get_end(run_id)
                will_be_told = True


class _Reader:
    def __init__(self, backend: Backend, run_id: str, after: str | None) -> None:
        if after is not None and not _ID.fullmatch(after):
            msg = f"after={after!r} is not the id of an event: use `event.id`, or None for all of them"
            raise ValueError(msg)
        self._backend = backend
        self._run_id = run_id
        self._after = after
        self.has_more = True
        self.is_over = False

    async def read(self) -> list[Event]:
        batch = await self._backend.events.read_events(self._run_id, self._after)
        if batch is None:
            raise _not_found(self._backend, self._run_id)
        self.has_more, self.is_over = batch.more, batch.is_over
        if batch.events:
            self._after = batch.events[-1].id
        return [_event(one, is_after_gap=batch.has_gap and place == 0) for place, one in enumerate(batch.events)]


async def read_state(backend: Backend, run_id: str) -> dict[str, Any]:
    """See `WorkflowHandle.state`."""
    state = await backend.events.read_state(run_id)
    if state is None:
        raise _not_found(backend, run_id)
    return {key: codec.decode(value) for key, value in sorted(state.items())}


def _event(stored: StoredEvent, *, is_after_gap: bool) -> Event:
    return Event(
        id=stored.id,
        kind=stored.kind,
        data=codec.decode(stored.data),
        step=stored.step,
        attempt=stored.attempt,
        at=from_ms(int(stored.id.partition("-")[0])),
        is_after_gap=is_after_gap,
    )


def _not_found(backend: Backend, run_id: str) -> RunNotFound:
    return RunNotFound(f"run {run_id} is not stored in namespace {backend.namespace!r}")
