"""Events and state on Redis: a capped stream and a hash for each run that says something."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from redisflow.backend.listening import watch
from redisflow.backend.replies import named
from redisflow.backend.row_batches import LARGE_BYTES
from redisflow.contract.events import EVENTS_KEPT, STATE_KEYS, Emission, EventBatch, NewEvent, StoredEvent
from redisflow.contract.values import Answer, Saying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from redisflow.backend.patience import Patience
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport

PIECE_EVENTS = 500
PIECE_BYTES = 256 * 1024
"""Of events in one reply, but for ten that may have 64 KiB each."""
_EVENT_BYTES = 500
"""An event takes the time of so many bytes: a hundred of them are a batch of their own."""
_EMISSIONS = {emission.value.encode(): emission for emission in Emission}


class Events:
    """Of one namespace."""

    def __init__(
        self, transport: Transport, scripts: Scripts, patience: Patience, prefix_of: Callable[[str], str]
    ) -> None:
        """`prefix_of` gives the partition of a run."""
        self._transport = transport
        self._scripts = scripts
        self._patience = patience
        self._prefix_of = prefix_of

    def emit_events(
        self, run_id: str, fence: str, number: int, events: Sequence[NewEvent], state: Mapping[str, bytes]
    ) -> Answer[Emission]:
        """Append events of bodies, and change the state."""
        prefix = self._prefix_of(run_id)
        said = [part for event in events for part in (event.kind, event.data, event.step, event.attempt)]
        changes = [part for pair in state.items() for part in pair]
        command = self._scripts.emit_events.call(
            prefix,
            [*said, *changes],
            run_id=run_id,
            fence=fence,
            number=number,
            keep=EVENTS_KEPT,
            most=STATE_KEYS,
            count=len(said),
        )
        size = sum(len(event.data) for event in events) + sum(map(len, state.values()))
        return self._transport.send(prefix, command, _emission, bulk=size > LARGE_BYTES)

    async def note_event(self, run_id: str, kind: str, data: bytes) -> bool:
        """Append an event from outside."""
        prefix = self._prefix_of(run_id)
        command = self._scripts.note_event.call(prefix, (kind, data, "", ""), run_id=run_id, keep=EVENTS_KEPT)
        noted: bool = await self._patience.give(self._transport.send(prefix, command, _is_noted))
        return noted

    async def read_events(self, run_id: str, after: str | None) -> EventBatch | None:
        """Read the events after the one with this id."""
        prefix = self._prefix_of(run_id)
        command = self._scripts.read_events.call(
            prefix, run_id=run_id, after=after or "", limit=PIECE_EVENTS, bytes=PIECE_BYTES
        )
        batch: EventBatch | None = await self._patience.give(self._transport.send(prefix, command, _batch, bulk=True))
        return batch

    def watch_events(self, run_id: str) -> AbstractAsyncContextManager[AsyncIterator[object]]:
        """A subscription that yields when there may be new events, or the run may have ended."""
        prefix = self._prefix_of(run_id)
        channels = [f"{prefix}events:{run_id}", f"{prefix}done:{run_id}"]
        return watch(self._transport, prefix, channels, self._patience.timeout_s)

    async def read_state(self, run_id: str) -> Mapping[str, bytes] | None:
        """The whole state."""
        prefix = self._prefix_of(run_id)
        flat = await self._patience.give(
            self._transport.send(prefix, ("HGETALL", f"{prefix}state:{run_id}"), named, bulk=True)
        )
        if not flat and not await self._patience.give(
            self._transport.send(prefix, ("EXISTS", f"{prefix}run:{run_id}"))
        ):
            return None
        return {key.decode(): value for key, value in flat.items()}


def effect_of(saying: Saying) -> list[bytes | str | int]:
    """What a commit does to store it: see lua/lib/effect_output.lua."""
    after, count = saying.up_to
    events = [part for kind, data in saying.events for part in (kind, data, "", "")]
    changes = [part for pair in saying.state.items() for part in pair]
    return ["output", f"{after}:{count}", EVENTS_KEPT, len(events), *events, len(changes), *changes]


def size_of(saying: Saying) -> int:
    """Bytes, and what the server has to do for each event."""
    return sum(_EVENT_BYTES + len(data) for _, data in saying.events) + sum(map(len, saying.state.values()))


def _is_noted(reply: list[Any]) -> bool:
    return bool(reply[0] == b"ok")


def _emission(reply: list[Any]) -> Emission:
    return _EMISSIONS[reply[0]]


def _batch(reply: list[Any]) -> EventBatch | None:
    if reply[0] == b"missing":
        return None
    _, more, is_over, has_gap, *events = reply
    return EventBatch([_event(*event) for event in events], bool(more), bool(is_over), bool(has_gap))


def _event(event_id: bytes, parts: list[bytes]) -> StoredEvent:
    fields = named(parts)
    step, attempt = fields.get(b"s"), fields.get(b"a")
    return StoredEvent(
        event_id.decode(),
        fields[b"k"].decode(),
        fields[b"d"],
        None if step is None else step.decode(),
        None if attempt is None else int(attempt),
    )
