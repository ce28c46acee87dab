"""Numbers, names and durations, as people write them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def counted(count: int, thing: str) -> str:
    """`1 run`, `2,000 runs`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def first_of(names: Sequence[str], most: int = 10) -> str:
    """The first of them, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def took(seconds: float | timedelta | None) -> str:
    """A duration: `12 ms`, `3.4 s`, `2 h 5 min`."""
    if seconds is None:
        return ""
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    if seconds < 0.9995:  # what is rounded to a second is one
        return f"{max(0, round(seconds * 1000))} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    place = next(number for number, (size, _) in enumerate(_UNITS) if seconds >= size)
    size, unit = _UNITS[place]
    whole, rest = divmod(int(seconds), size)
    if place + 1 < len(_UNITS) and (rest := rest // _UNITS[place + 1][0]):
        return f"{whole} {unit} {rest} {_UNITS[place + 1][1]}"
    return f"{whole} {unit}"


def roughly(seconds: float) -> str:
    """A duration in its largest unit alone, rounded down: `2 h`, `4.8 s`."""
    return " ".join(took(seconds).split(" ")[:2])
