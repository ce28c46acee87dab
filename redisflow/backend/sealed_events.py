"""Events and state whose payloads are sealed: all of them are small, so they are sealed and opened where they are.

Kinds of events and keys of the state stay as they are, like the names of signals. The step that said something is
sealed with what it said.
"""

from __future__ import annotations

import struct
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from redisflow.contract import Answer, Emission, EventBatch, EventCalls, NewEvent, Saying, StoredEvent
from redisflow.sealing import Seals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

_EVENT = "event"
_INSIDE = "\x01"
"""Stands for a step whose key is with the data; no step has such a name."""
_LENGTH = struct.Struct(">H")


class SealedEvents:
    """Of one namespace."""

    def __init__(self, events: EventCalls, seals: Seals) -> None:
        """`events` are the calls themselves."""
        self._events = events
        self._seals = seals

    def emit_events(
        self, run_id: str, fence: str, number: int, events: Sequence[NewEvent], state: Mapping[str, bytes]
    ) -> Answer[Emission]:
        """Append events of bodies, and change the state."""
        seals = self._seals
        sealed = [
            replace(event, data=_seal_with_step(seals, run_id, event.step, event.data), step=_INSIDE)
            for event in events
        ]
        return self._events.emit_events(run_id, fence, number, sealed, seal_state(seals, run_id, state))

    async def note_event(self, run_id: str, kind: str, data: bytes) -> bool:
        """Append an event from outside."""
        return await self._events.note_event(run_id, kind, self._seals.seal_now(data, run_id, _EVENT))

    async def read_events(self, run_id: str, after: str | None) -> EventBatch | None:
        """Read the events after the one with this id, opened."""
        batch = await self._events.read_events(run_id, after)
        return None if batch is None else replace(batch, events=[self._open(run_id, event) for event in batch.events])

    def _open(self, run_id: str, event: StoredEvent) -> StoredEvent:
        data = self._seals.open_now(event.data, run_id, _EVENT)
        if event.step != _INSIDE:
            return replace(event, data=data)
        end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
        return replace(event, data=data[end:], step=data[_LENGTH.size : end].decode())

    def watch_events(self, run_id: str) -> AbstractAsyncContextManager[AsyncIterator[object]]:
        """A subscription that yields when there may be new events, or the run may have ended."""
        return self._events.watch_events(run_id)

    async def read_state(self, run_id: str) -> Mapping[str, bytes] | None:
        """The whole state, opened."""
        state = await self._events.read_state(run_id)
        if state is None:
            return None
        return {key: self._seals.open_now(data, run_id, _field(key)) for key, data in state.items()}


def _seal_with_step(seals: Seals, run_id: str, step: str, data: bytes) -> bytes:
    said_by = step.encode()
    return seals.seal_now(_LENGTH.pack(len(said_by)) + said_by + data, run_id, _EVENT)


def seal_event(seals: Seals, run_id: str, event: StoredEvent) -> StoredEvent:
    """An event as it is read, sealed as it is stored."""
    if event.step is None:
        return replace(event, data=seals.seal_now(event.data, run_id, _EVENT))
    return replace(event, data=_seal_with_step(seals, run_id, event.step, event.data), step=_INSIDE)


def seal_saying(seals: Seals, run_id: str, saying: Saying) -> Saying:
    """What a commit says, sealed."""
    events = [(kind, seals.seal_now(data, run_id, _EVENT)) for kind, data in saying.events]
    return Saying(saying.up_to, events, seal_state(seals, run_id, saying.state))


def seal_state(seals: Seals, run_id: str, state: Mapping[str, bytes]) -> dict[str, bytes]:
    """Values by key, sealed."""
    return {key: seals.seal_now(data, run_id, _field(key)) for key, data in state.items()}


def _field(key: str) -> str:
    return f"state {key}"
