"""What happened in each minute, for charts: counts and histograms by workflow, and how much waited in each queue.

The histograms have fixed bounds, so what many workers have counted is added up, and percentiles of any span of time can
be told from the sum. A counter is a field of the minute's hash: one letter for what it counts, and the name of whose it
is, `s order`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from redisflow.durations import from_ms

MINUTE_MS = 60_000
KEPT_MS = 25 * 60 * MINUTE_MS
"""A minute is kept for a day, and an hour more, so that the last day is there as a whole."""
BEYOND_MS = 2**53 - 1
"""The bound of the last bucket: whatever is longer than all others."""
_STEPS = (4, 5, 6, 8, 10, 12, 16, 20, 24, 32)
_HOUR_MS = 60 * MINUTE_MS
_DAY_MS = 24 * _HOUR_MS
BOUNDS_MS: tuple[int, ...] = (
    *(1, 2, 3, 4, 5, 6, 8),
    *(unit * step for unit in (1, 10, 100) for step in (10, 12, 15, 20, 25, 30, 40, 50, 60, 80)),
    *(1_000 * step for step in (10, 12, 15, 20, 25, 30, 40, 50)),
    *(MINUTE_MS * quarters // 4 for quarters in (*_STEPS, 40, 48, 60, 80, 100, 120, 160, 200)),
    *(_HOUR_MS * quarters // 4 for quarters in (*_STEPS, 40, 48, 60, 72)),
    *(_DAY_MS * quarters // 4 for quarters in (4, 5, 6, 8, 12, 16, 20, 28, 40, 56, 84, 120)),
    BEYOND_MS,
)
"""Upper bounds of the buckets, each of which holds what is longer than the bound before it.

Those up to a day are a fifth to two fifths apart, and no percentile is wrong by more. One that was once stored stays:
what others counted by it would not be read.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowMinute:
    """What happened to the runs of one workflow within one minute."""

    started: int = 0
    """Runs that a worker took up for the first time."""
    succeeded: int = 0
    failed: int = 0
    canceled: int = 0
    step_failures: int = 0
    """Attempts of steps that failed, those that were tried again included."""
    durations: Mapping[int, int] = field(default_factory=dict[int, int])
    """How long runs took that ended by themselves, from their first claim: count by the bucket's upper bound in ms."""
    latencies: Mapping[int, int] = field(default_factory=dict[int, int])
    """How long runs had waited when they were taken up first, from when they were available: as `durations`."""


@dataclass(frozen=True, slots=True)
class Minute:
    """What happened within one minute."""

    at: datetime
    """When it began."""
    workflows: Mapping[str, WorkflowMinute]
    """Those of which anything happened."""
    queues: Mapping[str, int]
    """How many runs waited in each queue to be taken up, once within the minute; empty where nobody looked."""


def percentile_ms(buckets: Mapping[int, int], percent: float) -> float | None:
    """The duration in ms that so many percent of what was counted did not exceed; None where nothing was.

    `buckets` are those of a `WorkflowMinute`, or their sum over several. Within a bucket what lies there is taken to be
    spread evenly; of the last bucket only its lower bound is known.
    """
    if not 0 <= percent <= 100:
        msg = f"a percentile lies between 0 and 100, not {percent!r}"
        raise ValueError(msg)
    total = sum(buckets.values())
    if not total:
        return None
    wanted, below = total * percent / 100, 0
    for bound in sorted(buckets):
        count = buckets[bound]
        if count and below + count >= wanted:
            place = bisect_left(BOUNDS_MS, bound)
            lower = BOUNDS_MS[place - 1] if place else 0
            return float(lower) if bound >= BEYOND_MS else lower + (bound - lower) * (wanted - below) / count
        below += count
    raise AssertionError(buckets)


class Tally:
    """What one process has counted of one workflow within one minute. Its numbers stand in a list: that is quick."""

    __slots__ = ("numbers",)

    STARTED, SUCCEEDED, FAILED, CANCELED, STEP_FAILURES = range(5)
    DURATIONS = 5
    LATENCIES = DURATIONS + len(BOUNDS_MS)

    def __init__(self) -> None:
        """Nothing is counted yet."""
        self.numbers = [0] * len(_CODES)

    def add(self, what: int) -> None:
        """One more of these."""
        self.numbers[what] += 1

    def add_duration(self, histogram: int, ms: int) -> None:
        """One more of this length."""
        self.numbers[histogram + bisect_left(BOUNDS_MS, min(ms, BEYOND_MS))] += 1

    def merge(self, other: Tally) -> None:
        """Add what another has counted."""
        self.numbers = [mine + more for mine, more in zip(self.numbers, other.numbers, strict=True)]

    def fields(self, workflow: str) -> Iterator[tuple[str, int]]:
        """As they are stored."""
        return ((f"{code} {workflow}", number) for code, number in zip(_CODES, self.numbers, strict=True) if number)


_CODES = (*"sofce", *(f"d{bound}" for bound in BOUNDS_MS), *(f"l{bound}" for bound in BOUNDS_MS))
_PLACES = {code: place for place, code in enumerate(_CODES)}
_QUEUE = "q"


def queue_field(queue: str) -> str:
    """Where the sample of a queue is stored."""
    return f"{_QUEUE} {queue}"


def minute_of(at_ms: int) -> int:
    """The number of the minute in which this instant lies."""
    return at_ms // MINUTE_MS


def view_minute(minute: int, fields: Iterable[tuple[str, int]]) -> Minute:
    """From what is stored, of every partition. What this version does not know is passed over."""
    tallies: dict[str, Tally] = {}
    queues: dict[str, int] = {}
    for name, number in fields:
        code, _, whose = name.partition(" ")
        if code == _QUEUE:
            queues[whose] = queues.get(whose, 0) + number
        elif (place := _PLACES.get(code)) is not None:
            tally = tallies.get(whose)
            if tally is None:
                tally = tallies[whose] = Tally()
            tally.numbers[place] += number
    return Minute(
        at=from_ms(minute * MINUTE_MS),
        workflows={name: _view(tallies[name].numbers) for name in sorted(tallies)},
        queues=dict(sorted(queues.items())),
    )


def _view(numbers: list[int]) -> WorkflowMinute:
    return WorkflowMinute(
        started=numbers[Tally.STARTED],
        succeeded=numbers[Tally.SUCCEEDED],
        failed=numbers[Tally.FAILED],
        canceled=numbers[Tally.CANCELED],
        step_failures=numbers[Tally.STEP_FAILURES],
        durations=_buckets(numbers[Tally.DURATIONS : Tally.LATENCIES]),
        latencies=_buckets(numbers[Tally.LATENCIES :]),
    )


def _buckets(counts: list[int]) -> dict[int, int]:
    return {bound: count for bound, count in zip(BOUNDS_MS, counts, strict=True) if count}
