"""When a schedule is due: the ticks of a cron expression in a time zone, or of an interval.

A pure function of the definition: nothing is counted on from the tick before, so every worker finds the same ticks.
The hard thing is the night when clocks change. Ticks are compared as instants, never by what a clock on a wall shows,
and each is later than the one before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from redisflow.durations import Duration, describe_ms, from_ms, to_ms
from redisflow.errors import InvalidDuration, InvalidSchedule

SHORTEST_MS = 100
"""Of an interval: below it a workflow that loops is what is meant."""
_FIRST_LOOK_MS = 60_000
_LAST_MS = 253_000_000_000_000
"""In the year 9987: a calendar ends in 9999."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """Either `cron` in a time zone, or every so many ms, counted from 1970 (UTC)."""

    cron: str | None = None
    timezone: str = "UTC"
    every_ms: int | None = None

    def __post_init__(self) -> None:
        """InvalidSchedule where these make no ticks."""
        if (self.cron is None) == (self.every_ms is None):
            msg = 'give either cron="0 3 * * *" or every="15m"'
            raise InvalidSchedule(msg)
        if self.every_ms is not None:
            self._check_interval(self.every_ms)
        else:
            zone_of(self.timezone)
            if self.next_after(0) is None:
                msg = f"cron expression {self.cron!r} names no day of any calendar"
                raise InvalidSchedule(msg)

    def _check_interval(self, every_ms: int) -> None:
        if every_ms < SHORTEST_MS:
            msg = f"every: an interval lasts {describe_ms(SHORTEST_MS)} at least, not {describe_ms(every_ms)}"
            raise InvalidSchedule(msg)
        if self.timezone != "UTC":
            msg = "every: an interval has the same length everywhere; a time zone belongs to cron"
            raise InvalidSchedule(msg)

    @classmethod
    def of(cls, cron: str | None, every: Duration | None, timezone: str) -> Ticks:
        """From what users write."""
        if cron is not None and not isinstance(cron, str):
            msg = f"cron is text such as '0 3 * * *', not {type(cron).__qualname__}"
            raise InvalidSchedule(msg)
        try:
            every_ms = None if every is None else to_ms(every, what="every")
        except InvalidDuration as error:
            raise InvalidSchedule(str(error)) from None
        return cls(cron=cron and " ".join(cron.split()), timezone=timezone, every_ms=every_ms)

    def __str__(self) -> str:
        """For people."""
        if self.every_ms is not None:
            return f"every {describe_ms(self.every_ms)}"
        return f"{self.cron} ({self.timezone})"

    def explain(self) -> str:
        """The same in words: `At 03:00 on Monday (UTC)`."""
        if self.cron is None:
            return f"Every {describe_ms(self.every_ms or 0)}, counted from 1970 (UTC)"
        # What it means does not depend on when it is asked.
        return f"{CronSim(self.cron, from_ms(0)).explain()} ({self.timezone})"

    def next_after(self, at_ms: int) -> int | None:
        """The first tick later than this instant, in unix ms; None where there is none any more."""
        return next(self.after(at_ms), None)

    def after(self, at_ms: int) -> Iterator[int]:
        """All ticks later than this instant, in order."""
        if self.every_ms is not None:
            yield from range((at_ms // self.every_ms + 1) * self.every_ms, _LAST_MS, self.every_ms)
        else:
            yield from self._cron_after(at_ms)

    def _cron_after(self, at_ms: int) -> Iterator[int]:
        try:
            found = CronSim(self.cron or "", from_ms(at_ms).astimezone(zone_of(self.timezone)))
        except CronSimError as error:
            msg = f"cron expression {self.cron!r} cannot be understood: {error}"
            raise InvalidSchedule(msg) from None
        last_ms = at_ms
        for tick in found:
            tick_ms = round(tick.timestamp() * 1000)
            # Begun in the second of two equal hours, it may find a tick in the first of them.
            if tick_ms > last_ms:
                yield tick_ms
                last_ms = tick_ms

    def last_until(self, at_ms: int, known_ms: int) -> int:
        """The last tick at or before this instant; `known_ms` is one of those.

        It looks back twice as far each time, so that a year of missed minutes is not counted through.
        """
        back_ms = _FIRST_LOOK_MS
        while True:
            begin_ms = max(known_ms, at_ms - back_ms)
            found = known_ms if begin_ms == known_ms else None
            for tick_ms in self.after(begin_ms):
                if tick_ms > at_ms:
                    break
                found = tick_ms
            if found is not None:
                return found
            back_ms *= 2


@lru_cache(maxsize=256)
def zone_of(name: str) -> ZoneInfo:
    """The time zone of this name; InvalidSchedule where this machine knows none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        msg = f"time zone {name!r} is not known here: use a name such as 'Europe/Paris' or 'UTC' (or install tzdata)"
        raise InvalidSchedule(msg) from None
