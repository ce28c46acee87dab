"""Durations and instants as people write them, and as the engine keeps them: whole milliseconds.

The hard thing is never to be early: what is not a whole millisecond is rounded up, and the rounding is done on the
decimal that was written, so that 0.1 seconds are 100 ms and not 101.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import TypeAlias

from redisflow.errors import InvalidDuration

Duration: TypeAlias = timedelta | int | float | str
"""A timedelta, seconds, or text such as "500ms", "1h30m", "3d", "2 days"."""

Instant: TypeAlias = datetime | Duration
"""An aware datetime, or a duration from now."""

# Ten years with their leap days; what is meant to be longer is, as a rule, a unit mistaken for another.
MAX_DURATION_MS = 3_653 * 86_400_000

_MS_OF = {
    unit: ms
    for units, ms in (
        ("ms msec msecs milli millis millisecond milliseconds", 1),
        ("s sec secs second seconds", 1_000),
        ("m min mins minute minutes", 60_000),
        ("h hr hrs hour hours", 3_600_000),
        ("d day days", 86_400_000),
        ("w wk wks week weeks", 7 * 86_400_000),
    )
    for unit in units.split()
}
_MAX_TEXT = 100
_PART = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*([A-Za-z]+)\s*", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?[0-9.]+\s*", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_NO_TIME = timedelta(0)
_MAX_SECONDS = MAX_DURATION_MS // 1_000


@dataclass(frozen=True, slots=True)
class When:
    """An instant: `ms` from now if `relative`, else since 1970 (UTC)."""

    ms: int
    relative: bool


def to_ms(value: Duration, *, what: str = "duration") -> int:
    """Return a duration in whole milliseconds, rounded up; raise InvalidDuration (naming `what`) if it is not one."""
    if isinstance(value, str):
        try:
            ms = _parsed_ms(value)
        except ValueError as error:
            message = f"{what}: {error}"
            raise InvalidDuration(message) from None
    elif isinstance(value, timedelta):
        ms = -(value // _US // -1_000) if value >= _NO_TIME else -1
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        ms = _seconds_to_ms(value)
    else:
        message = f'{what}: give a timedelta, seconds, or text such as "1h30m", not {type(value).__qualname__}'
        raise InvalidDuration(message)
    if ms < 0:
        message = f"{what}: {_shown(value)} is negative"
        raise InvalidDuration(message)
    if ms > MAX_DURATION_MS:
        message = f"{what}: {_shown(value)} is not a duration of at most 10 years (a number is read as seconds)"
        raise InvalidDuration(message)
    return ms


def to_when(value: Instant, *, what: str) -> When:
    """Return an instant, from an aware datetime or from a duration from now."""
    if not isinstance(value, datetime):
        return When(to_ms(value, what=what), relative=True)
    if value.utcoffset() is None:
        message = (
            f"{what}: {value!r} has no time zone, so it does not say when: use an aware datetime, "
            "such as datetime.now(UTC) or datetime(..., tzinfo=ZoneInfo(...))"
        )
        raise InvalidDuration(message)
    return When(-((value - _EPOCH) // _US // -1_000), relative=False)


def read_instant(text: str, zone: tzinfo | None = None) -> Instant:
    """What somebody typed: an ISO 8601 instant, a duration, or seconds.

    An instant that names no time zone is in `zone`; None: that of this machine. What is none of these comes back as it
    is, and `to_when` says what is wrong with it.
    """
    try:
        return float(text)
    except ValueError:
        pass
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return text
    return instant if instant.tzinfo else instant.astimezone() if zone is None else instant.replace(tzinfo=zone)


def from_ms(at_ms: int) -> datetime:
    """Return an instant as an aware datetime in UTC."""
    return _EPOCH + timedelta(milliseconds=at_ms)


def describe_ms(ms: int) -> str:
    """Return a duration for people, in its two largest units: "250ms", "3.2s", "1h 30m", "3d 4h"."""
    if ms < 0:
        return f"-{describe_ms(-ms)}"
    if ms < _MS_OF["s"]:
        return f"{ms}ms"
    if ms < _MS_OF["m"]:
        tenths = ms // 100
        return f"{tenths // 10}.{tenths % 10}s" if tenths % 10 else f"{tenths // 10}s"
    for large, small in (("d", "h"), ("h", "m"), ("m", "s")):
        if ms >= _MS_OF[large]:
            count, rest = divmod(ms, _MS_OF[large])
            rest //= _MS_OF[small]
            return f"{count}{large} {rest}{small}" if rest else f"{count}{large}"
    raise AssertionError(ms)


@lru_cache(maxsize=1024)
def _parsed_ms(text: str) -> int:
    total = Decimal(0)
    end = 0
    # A longer text could make one number of it that no arithmetic should be asked to hold.
    while len(text) <= _MAX_TEXT and (part := _PART.match(text, end)) is not None:
        ms = _MS_OF.get(part[2].lower())
        if ms is None:
            message = f"{part[2]!r} in {_shown(text)} is not a unit: use ms, s, m, h, d or w"
            raise ValueError(message)
        total += Decimal(part[1]) * ms
        end = part.end()
    if end == 0 or end != len(text):
        if _NUMBER.fullmatch(text):
            message = f'{_shown(text)} has no unit: write "{text.strip()[:20]}s" for seconds, or give a number'
        else:
            message = f'{_shown(text)} is not a duration: write numbers with units, such as "500ms", "1h30m", "2 days"'
        raise ValueError(message)
    return math.ceil(total)


def _seconds_to_ms(seconds: float) -> int:
    if not seconds <= _MAX_SECONDS:  # NaN is not more either
        return MAX_DURATION_MS + 1
    if seconds < 0:
        return -1
    whole = int(seconds)
    if whole == seconds:
        return whole * 1_000
    return math.ceil(Decimal(float.__repr__(seconds)) * 1_000)


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 64:
        # Python refuses to write out the largest ones.
        return f"a number of {value.bit_length()} bits"
    text = repr(value[:_MAX_TEXT]) if isinstance(value, str) else str(value)
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "..."
