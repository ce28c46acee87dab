"""How pages say numbers, times and states."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from redisflow.dashboard.filters import Query
from redisflow.documents import iso
from redisflow.words import took

ICONS: Final = {
    "succeeded": "circle-check",
    "failed": "circle-x",
    "running": "circle-dot",
    "waiting": "hourglass",
    "pending": "clock",
    "canceled": "circle-slash",
    "stranded": "triangle-alert",
    "suspended": "triangle-alert",
    "paused": "circle-pause",
    "left": "circle-slash",
}
KINDS: Final = {
    "run": "zap",
    "sleep": "moon-star",
    "signal": "radio",
    "child": "corner-down-right",
    "compensation": "undo-2",
    "redis": "database",
}
LENGTH_OF_ID: Final = 32
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffe\uffff\ud800-\udfff]"
)
BYTES: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def between(began: datetime | None, ended: datetime | None) -> str:
    """How long it was from one instant to the other."""
    return "" if began is None or ended is None else took(ended - began)


def clock(instant: datetime | None) -> str:
    """An instant, for those whose browser runs no script, and for titles."""
    return "" if instant is None else f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def count(number: float) -> str:
    """1,234."""
    return f"{number:,}"


def many(number: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def share(part: float, whole: float) -> str:
    """A percentage, `0.4 %`; a dash where there is no whole."""
    if not whole:
        return "–"  # noqa: RUF001  # as for all that is not there
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "< 0.1 %"
    return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.1f} %"


def size(number: float) -> str:
    """Bytes."""
    for unit in BYTES:
        if number < 1024 or unit == BYTES[-1]:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError


def short(text: str) -> str:
    """A run's id in a list, whose links hold all of it: the beginning is its time, the end is chance (RFC 9562)."""
    return f"{text[:8]}…{text[19:28]}" if len(text) == LENGTH_OF_ID else text


def state_of(run: Any) -> str:
    """The word by which a run is coloured: its status, or what is wrong with it."""
    if run.status == "waiting" and run.waiting_for in {"stranded", "suspended", "paused"}:
        return "stranded" if run.waiting_for != "paused" else "paused"
    return str(run.status)


def state_words(run: Any) -> str:
    """What the pill says: `waiting: timer`."""
    return f"{run.status}: {run.waiting_for}" if run.waiting_for else str(run.status)


def visible(value: Any) -> Any:
    """Text with the signs shown that nobody sees: those of control, and those that turn the order of what follows.

    HTML has no way to write the first, and the second let a value pass for another. Lone surrogates have no bytes.
    """
    if type(value) is not str or value.isprintable():
        return value
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", value)


def part(text: str) -> str:
    """For a path: also slashes are escaped."""
    return quote(text, safe="")


def tag_filter(tag: tuple[str, str]) -> str:
    """The filter that finds the runs which have this tag."""
    return Query(tags=(tag,)).to_text()


def icon_of(word: str) -> str:
    """Of a state."""
    return ICONS.get(word, "circle-dot")


def kind_icon(kind: str) -> str:
    """Of a step."""
    return KINDS.get(kind, "zap")


WORDS: Final[dict[str, Callable[..., Any]]] = {
    "took": took,
    "between": between,
    "clock": clock,
    "count": count,
    "many": many,
    "share": share,
    "size": size,
    "short": short,
    "iso": iso,
    "state_of": state_of,
    "state_words": state_words,
    "part": part,
    "tag_filter": tag_filter,
    "icon_of": icon_of,
    "kind_icon": kind_icon,
}
