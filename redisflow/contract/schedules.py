"""The calls about schedules. Every one may be sent again: a repeat answers what the first one recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from redisflow.schedule import Firing, ScheduleDefinition, ScheduleInfo

FireOutcome: TypeAlias = Literal["created", "skipped", "missed", "early", "stale", "missing"]
"""`early`: not due yet by the server's clock; `stale`: the schedule is not as it was when it was read."""
TriggerOutcome: TypeAlias = Literal["created", "skipped", "stale", "missing"]


@dataclass(frozen=True, slots=True)
class DueSchedules:
    """The schedules of a partition that are due."""

    now_ms: int
    """The server's time when they were read."""
    next_due_in_ms: int | None
    schedules: Sequence[ScheduleInfo]
    unreadable: Sequence[str]
    """Why each of the others could not be read here."""


class ScheduleCalls(Protocol):
    """Where schedules are kept: each, and the runs that it starts, in the partition that its id says."""

    async def put(self, definition: ScheduleDefinition) -> None:
        """Create it, or give it this definition; where it has it already, nothing changes."""
        ...

    async def declare(self, definition: ScheduleDefinition) -> None:
        """The same for a worker, which waits for the server as long as it takes."""
        ...

    async def get(self, schedule_id: str) -> ScheduleInfo | None:
        """As it is now; None where it is not stored."""
        ...

    async def list_ids(self) -> Sequence[str]:
        """The ids of all, sorted."""
        ...

    async def pause(self, schedule_id: str) -> bool:
        """Let it rest; whether it is stored."""
        ...

    async def resume(self, schedule_id: str) -> bool:
        """Let it go on with its first tick after now; whether it is stored."""
        ...

    async def trigger(self, schedule: ScheduleInfo, run_id: str) -> TriggerOutcome:
        """Start a run of it now."""
        ...

    async def delete(self, schedule_id: str) -> None:
        """Delete it, and cancel its runs that wait for another run of it to end."""
        ...

    async def due(self, partition: int) -> DueSchedules:
        """What is due in a partition, a bounded number at a time."""
        ...

    async def fire(self, schedule: ScheduleInfo, firing: Firing) -> FireOutcome:
        """Fire one tick, once, whoever else does the same."""
        ...
