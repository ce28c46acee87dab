"""The calls about what a run says to the outside while it goes on: its events and its state."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from redisflow.contract.values import Answer

EVENTS_KEPT = 10_000
"""Of one run, about: the oldest go first."""
STATE_KEYS = 100
"""Of one run."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """What a step's body says."""

    kind: str
    data: bytes
    step: str
    attempt: int


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """What was said; without a step, by the workflow's code."""

    id: str
    kind: str
    data: bytes
    step: str | None
    attempt: int | None


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Some of a run's events, in the order in which they came."""

    events: Sequence[StoredEvent]
    more: bool
    """Whether there may be more by now."""
    is_over: bool
    """Whether the run has ended, and these are the last."""
    has_gap: bool
    """Whether events that should have come before these are no longer stored."""


class Emission(enum.Enum):
    """What became of what a body said."""

    OK = "ok"
    FULL = "full"
    """As ok, but the state has as many keys as it may, so new ones were left out."""
    FENCED = "fenced"
    """The run is not held by who said it."""


class EventCalls(Protocol):
    """See the module. What the workflow's own code says is an effect of its commits."""

    def emit_events(
        self, run_id: str, fence: str, number: int, events: Sequence[NewEvent], state: Mapping[str, bytes]
    ) -> Answer[Emission]:
        """Append events of bodies, and change the state. A holder numbers its calls; one of them at a time."""
        ...

    async def note_event(self, run_id: str, kind: str, data: bytes) -> bool:
        """Append an event from outside, whoever holds the run; False where the run is not stored.

        `data` is unlike that of any other event, so that a call that is sent again appends nothing (unless the run has
        said twenty things in between).
        """
        ...

    async def read_events(self, run_id: str, after: str | None) -> EventBatch | None:
        """Read the events after the one with this id, a bounded piece at a time; None where the run is not stored."""
        ...

    def watch_events(self, run_id: str) -> AbstractAsyncContextManager[AsyncIterator[object]]:
        """A subscription that yields when there may be new events, or the run may have ended (see `watch_end`)."""
        ...

    async def read_state(self, run_id: str) -> Mapping[str, bytes] | None:
        """The whole state; None where the run is not stored."""
        ...
