"""Schedules: as users declare them, as they are stored, and what is to be done when a tick is due.

What to do is decided here, from the stored schedule and the server's time alone; one script does it, or refuses because
somebody else has done it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Literal, TypeAlias, get_args

from redisflow.durations import Duration, from_ms
from redisflow.errors import InvalidSchedule
from redisflow.names import check_name
from redisflow.ticks import Ticks

Overlap: TypeAlias = Literal["skip", "queue", "cancel_running"]
CatchUp: TypeAlias = Literal["none", "last", "all"]
TickOutcome: TypeAlias = Literal["created", "skipped", "missed"]

MISSED_AFTER_MS = 60_000
"""Until then a tick is only late: a restart or a deploy of all workers takes less."""


def check_policies(overlap: object, catch_up: object) -> None:
    """InvalidSchedule where one of them is none of the words."""
    for name, value, known in (("overlap", overlap, get_args(Overlap)), ("catch_up", catch_up, get_args(CatchUp))):
        if value not in known:
            msg = f"{name} is one of {', '.join(map(repr, known))}, not {value!r}"
            raise InvalidSchedule(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule that is declared with its workflow: `define_workflow("report", schedule=Schedule(cron="0 3 * * *"))`.

    Each worker that starts with this code creates it, or gives it this definition. InvalidSchedule where it has no
    ticks.
    """

    cron: str | None = None
    every: Duration | None = None
    timezone: str = "UTC"
    input: Any = field(default=None, repr=False)
    overlap: Overlap = "skip"
    catch_up: CatchUp = "last"
    id: str | None = None
    """By default the name of its workflow."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, where it is written."""
        check_policies(self.overlap, self.catch_up)
        if self.id is not None:
            check_name("schedule", self.id)
        _ = self.ticks

    @property
    def ticks(self) -> Ticks:
        """When it is due."""
        return Ticks.of(self.cron, self.every, self.timezone)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleDefinition:
    """All that a schedule is to do, with its input as it is stored."""

    id: str
    workflow: str
    version: str | None
    queue: str
    input: bytes = field(repr=False)
    ticks: Ticks
    overlap: Overlap
    catch_up: CatchUp
    limits: Mapping[str, str] = field(default_factory=dict[str, str])
    """Fields of its runs that say how much of them may run: limits, priority, fair key."""

    def fingerprint(self) -> str:
        """Tells one definition from another."""
        ticks = self.ticks
        about = (self.workflow, self.version, self.queue, ticks.cron, ticks.timezone, ticks.every_ms)
        policies = (self.overlap, self.catch_up, *sorted(self.limits.items()))
        return hashlib.sha256(repr((about, policies)).encode() + self.input).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleInfo:
    """A schedule as it was when it was read. Times are aware UTC datetimes by the server's clock."""

    definition: ScheduleDefinition
    revision: int
    """How often its definition has changed."""
    is_paused: bool
    created_at: datetime
    next_ms: int | None = field(repr=False)
    """The tick that is fired next, as it is stored; also of a schedule that is paused."""
    last_ms: int | None = field(repr=False)
    """The last tick that came."""
    last_outcome: TickOutcome | None
    """What came of it: a run was `created`, it was `skipped` because of an overlap, or `missed`."""
    last_run_id: str | None
    """The last run that it created, or that was triggered."""

    def __str__(self) -> str:
        """For people, without what users store."""
        due = (
            "paused"
            if self.is_paused
            else f"next {self.next_fire_at:%Y-%m-%d %H:%M:%S} UTC"
            if self.next_ms
            else "over"
        )
        return f"schedule {self.id} of {self.workflow}: {self.definition.ticks}, {due}"

    @property
    def id(self) -> str:
        """Its id."""
        return self.definition.id

    @property
    def workflow(self) -> str:
        """The workflow that it starts."""
        return self.definition.workflow

    @property
    def next_fire_at(self) -> datetime | None:
        """When it fires next; None while it is paused, or where it never does again."""
        return None if self.is_paused or self.next_ms is None else from_ms(self.next_ms)

    @property
    def last_fire_at(self) -> datetime | None:
        """The last tick that came, whatever came of it."""
        return None if self.last_ms is None else from_ms(self.last_ms)

    def next_fire_times(self, count: int = 5) -> Sequence[datetime]:
        """Its next fire times, as many as it has up to `count`; none while it is paused.

        One that has passed is due, and waits for a worker.
        """
        if self.is_paused or self.next_ms is None:
            return ()
        return tuple(map(from_ms, islice(self.definition.ticks.after(self.next_ms - 1), count)))


@dataclass(frozen=True, slots=True)
class Firing:
    """One step of a schedule."""

    meant_ms: int
    """The next tick as it is stored: the step is about it, and done once."""
    tick_ms: int
    """The tick that is fired, or the last that is missed."""
    next_ms: int | None
    """The tick that follows; None where there is none."""
    is_missed: bool
    """No run is created for it."""


def plan(schedule: ScheduleInfo, now_ms: int) -> Firing | None:
    """The next step of a schedule, by the server's time; None where nothing is due."""
    due_ms, ticks, policy = schedule.next_ms, schedule.definition.ticks, schedule.definition.catch_up
    if due_ms is None or schedule.is_paused or due_ms > now_ms:
        return None
    tick_ms, is_missed = due_ms, False
    if now_ms - due_ms > MISSED_AFTER_MS and policy != "all":
        is_missed = policy == "none"
        tick_ms = ticks.last_until(now_ms - MISSED_AFTER_MS - 1 if is_missed else now_ms, due_ms)
    return Firing(due_ms, tick_ms, ticks.next_after(tick_ms), is_missed)
