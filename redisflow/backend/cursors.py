"""Where a list goes on, as text that may stand in a URL: opaque, and only for the filter that it was made for."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, replace
from typing import Any

from redisflow import codec
from redisflow.contract import RunFilter
from redisflow.errors import CannotDecode, InvalidCursor

_FORM = 1
LAST_MS = 1 << 52
"""Later than every run."""


@dataclass(frozen=True, slots=True, order=True)
class Spot:
    """A place in a listing: a time and, among the runs of that time, an id."""

    ms: int
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a list has come."""

    began_ms: int
    """When its first page was read."""
    at: Spot
    """The last one that was told."""
    since: tuple[Spot, ...] = ()
    """By partition, up to where runs that ended meanwhile were looked at; empty where that does not matter."""
    is_ended: bool = False
    """Whether it is among the runs that had ended when the list began."""

    def seen(self, partition: int, spot: Spot) -> Place:
        """The same, after another look at what ended meanwhile."""
        return replace(self, since=(*self.since[:partition], spot, *self.since[partition + 1 :]))


def write_cursor(wanted: RunFilter, place: Place) -> str:
    """The text."""
    since = [[spot.ms, spot.id] for spot in place.since]
    parts = [_FORM, _print_of(wanted), place.began_ms, place.at.ms, place.at.id, since, place.is_ended]
    return base64.urlsafe_b64encode(codec.encode(parts)).rstrip(b"=").decode()


def read_cursor(wanted: RunFilter, cursor: str, partitions: int) -> Place:
    """The place; InvalidCursor where it is none, or that of another list."""
    try:
        data = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        form, fingerprint, began_ms, at_ms, at_id, since, is_ended = codec.decode(data)
        spots = tuple(_spot(*spot) for spot in since)
        place = Place(began_ms=_ms(began_ms), at=_spot(at_ms, at_id), since=spots, is_ended=is_ended is True)
    except (CannotDecode, ValueError, TypeError, binascii.Error):
        msg = "this is no cursor of list_page: give back the text that a page had, unchanged, or None to begin anew"
        raise InvalidCursor(msg) from None
    if form != _FORM or fingerprint != _print_of(wanted) or len(spots) not in {0, partitions}:
        msg = (
            "this cursor belongs to a list with other filters or another order: list_page needs the same for each page"
        )
        raise InvalidCursor(msg)
    return place


def _print_of(wanted: RunFilter) -> str:
    shown = replace(wanted, statuses=frozenset())
    text = repr((sorted(wanted.statuses), sorted(wanted.tags.items()), replace(shown, tags={})))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _spot(ms: Any, run_id: Any) -> Spot:
    if not isinstance(run_id, str) or len(run_id) > 64:  # ids have 32
        raise ValueError
    return Spot(_ms(ms), run_id)


def _ms(ms: Any) -> int:
    if type(ms) is not int or not 0 <= ms <= LAST_MS:
        raise ValueError
    return ms
