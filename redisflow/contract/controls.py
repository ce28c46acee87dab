"""The calls about queues and workflows as a whole: paused, resumed, let go slowly. Each is of one partition.

A control is named `q:<queue>` or `w:<workflow>`. Every call may be sent again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

ControlState = Literal["paused", "releasing", "stopped", "resuming"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePlan:
    """How a release lets runs go: so many in 1,000 s, until so many of 1,000 ended ones have failed."""

    release: str
    """Its id."""
    rate: int
    stop_ratio: int
    """0: it does not stop by itself."""
    least: int
    """Ended runs, in all partitions, before the ratio is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRow:
    """A control of one partition, as it stands."""

    control: str
    state: ControlState
    waiting: int
    since_ms: int
    rate: int
    released: int
    succeeded: int
    failed: int
    stopped_at_ms: int | None
    stop_ratio: int
    least: int
    """Both as in the plan of its release."""


@dataclass(frozen=True, slots=True)
class Driven:
    """What one bounded step of letting runs go did."""

    released: int
    next_in_ms: int | None
    failing: list[tuple[str, str]]
    """Control and id of the releases for which failures have returned in this partition."""


class ControlCalls(Protocol):
    """See the module."""

    async def pause(self, partition: int, control: str) -> None:
        """From now on nothing of it is claimed."""
        ...

    async def stop(self, partition: int, control: str, release: str) -> None:
        """End a release where it is still this one: what it has not let go stays held."""
        ...

    async def resume(self, partition: int, control: str) -> None:
        """Let all of it go on."""
        ...

    async def release(self, partition: int, control: str, plan: ReleasePlan) -> bool:
        """Let it go on slowly; whether it was paused."""
        ...

    async def drive(self, partition: int, limit: int) -> Driven:
        """One bounded step of what was asked for: called by whoever watches the timers of the partition."""
        ...

    async def list(self, partition: int) -> list[ControlRow]:
        """What is paused, or let go slowly."""
        ...
