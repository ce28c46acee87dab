"""Walks the listings of all partitions in one order, a bounded step at a time.

The hard thing is a list of both unfinished and finished runs, which are in different listings (by creation, and by
end): a run that ends while it is being listed moves from one to the other, and is to be told once all the same. So
unfinished runs are walked first, and each step looks at what has ended since the step before: a run whose place among
the unfinished was not reached yet is told at once, any other was told before. Then the finished ones follow that had
ended when the list began. (From the oldest on, these come first.)

"Since the step before" is exact although times are milliseconds: a step takes the runs as they were when the
millisecond of its first look began. What has ended from that millisecond on still counts as unfinished, in its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from redisflow.backend.cursors import LAST_MS, Place, Spot
from redisflow.contract import RunFilter
from redisflow.durations import When
from redisflow.runs import TERMINAL
from redisflow.summaries import RunSummary

FIRST = Spot(0, "")
LAST = Spot(LAST_MS, "~")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Piece:
    """What one partition answered."""

    now_ms: int
    has_more: bool
    spots: list[Spot]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What one partition is asked for: runs of these listings, in this order, after a place, until a time."""

    order: str
    after: Spot
    until_ms: int
    limit: int
    listings: Sequence[str]


ReadPiece = Callable[[int, Wish], Awaitable[Piece]]
ReadSummaries = Callable[[Sequence[str]], Awaitable[dict[str, RunSummary]]]
Found = list[tuple[RunSummary, Place]]


@dataclass(frozen=True, slots=True)
class Step:
    """Runs in their order, each with the place after it, and the place after all; None at the end."""

    runs: Found
    after: Place | None


class Walk:
    """One list, as its filter describes it."""

    def __init__(
        self,
        wanted: RunFilter,
        workflows: Sequence[Sequence[str]],
        tag: str | None,
        read_piece: ReadPiece,
        read_summaries: ReadSummaries,
    ) -> None:
        """`workflows` are those to look at, by partition; `tag` is the listing of one of the wanted tags.

        Of several tags any will do: the listing of each has all that is wanted, at the same places.
        """
        self._wanted = wanted
        self._read_piece = read_piece
        self._read_summaries = read_summaries
        self._newest = wanted.order == "newest"
        by_end = wanted.finished_after is not None or wanted.finished_before is not None
        statuses = sorted(wanted.statuses & TERMINAL if wanted.statuses else TERMINAL)
        has_unfinished = not by_end and (not wanted.statuses or bool(wanted.statuses - TERMINAL))
        self._finished = [[f"done:{name}:{status}" for name in names for status in statuses] for names in workflows]
        self._by_creation = [[f"runs:{name}" for name in names] for names in workflows]
        if tag is not None:
            self._by_creation = [[tag]] * len(workflows)
        self._has_both = tag is None and has_unfinished and bool(statuses)
        self._has_creation = tag is not None or has_unfinished

    def begin(self, now_ms: int) -> Place:
        """The place before the first run."""
        place = Place(began_ms=now_ms, at=LAST if self._newest else FIRST)
        if not self._has_both:
            return place
        since = (Spot(now_ms, ""),) * len(self._by_creation)
        return replace(place, since=since, is_ended=not self._newest)

    def knows(self, place: Place) -> bool:
        """Whether it is a place of such a list."""
        return not self._has_both or len(place.since) == len(self._by_creation)

    async def step(self, place: Place, limit: int) -> Step:
        """The next runs; some of them may not be what the filter wants."""
        if self._has_both and not place.is_ended:
            return await self._step_through_both(place, limit)
        by_end = place.is_ended or not self._has_creation
        listings = self._finished if by_end else self._by_creation
        _, spots, last = await self._look(place, limit, listings, by_end=by_end)
        found = await self._read_summaries([spot.id for spot in spots])
        runs = [(found[spot.id], replace(place, at=spot)) for spot in spots if spot.id in found]
        if last is None and self._has_both and not self._newest:
            return Step(runs, replace(place, at=FIRST, is_ended=False))
        return Step(runs, None if last is None else replace(place, at=last))

    async def _step_through_both(self, place: Place, limit: int) -> Step:
        pieces, spots, last = await self._look(place, limit, self._by_creation, by_end=False)
        looked = [Spot(piece.now_ms, "") for piece in pieces]
        # Looked at second: whatever had left the listing of unfinished runs before the first look is seen here.
        wishes = [
            Wish(order="oldest", after=place.since[number], until_ms=LAST_MS, limit=limit, listings=listings)
            for number, listings in enumerate(self._finished)
        ]
        ended = await self._read_all(wishes)
        ids = [spot.id for spot in spots] + [spot.id for piece in ended for spot in piece.spots]
        found = await self._read_summaries(ids)
        runs, place, is_complete = self._catch_up(place, ended, looked, found)
        if not is_complete:
            return Step(runs, place)
        where = {spot.id: spot for spot in spots}
        for piece, began in zip(ended, looked, strict=True):
            for spot in piece.spots:
                if spot >= began and spot.id in found:
                    where.setdefault(spot.id, _born(found[spot.id]))
        for spot in sorted(where.values(), reverse=self._newest):
            is_reached = last is None or spot == last or self._precedes(spot, last)
            if is_reached and self._precedes(place.at, spot) and spot.id in found:
                place = replace(place, at=spot)
                runs.append((found[spot.id], place))
        if last is not None:
            return Step(runs, replace(place, at=last))
        if not self._newest:
            return Step(runs, None)
        return Step(runs, replace(place, at=Spot(place.began_ms, ""), is_ended=True))

    def _catch_up(
        self, place: Place, ended: Sequence[Piece], looked: Sequence[Spot], found: dict[str, RunSummary]
    ) -> tuple[Found, Place, bool]:
        """What ended since the step before and was not told as unfinished; and whether that is all of it."""
        runs: Found = []
        is_complete = True
        for number, (piece, began) in enumerate(zip(ended, looked, strict=True)):
            for spot in piece.spots:
                if spot < began:
                    place = place.seen(number, spot)
                    if spot.id in found and self._precedes(place.at, _born(found[spot.id])):
                        runs.append((found[spot.id], place))
            if piece.has_more and not (piece.spots and piece.spots[-1].ms > began.ms):
                is_complete = False
            else:
                place = place.seen(number, began)
        return runs, place, is_complete

    async def _look(
        self, place: Place, limit: int, listings: Sequence[Sequence[str]], *, by_end: bool
    ) -> tuple[Sequence[Piece], list[Spot], Spot | None]:
        """What each partition answered, the next runs of all of them, and the last of these where more follow."""
        after, until_ms = self._bounds(place, by_end=by_end)
        wishes = [
            Wish(order=self._wanted.order, after=after, until_ms=until_ms, limit=limit, listings=names)
            for names in listings
        ]
        pieces = await self._read_all(wishes)
        merged = sorted((spot for piece in pieces for spot in piece.spots), reverse=self._newest)
        # A partition that has more tells nothing of what lies behind its last one.
        ends = [piece.spots[-1] for piece in pieces if piece.has_more and piece.spots]
        if ends:
            end = max(ends) if self._newest else min(ends)
            merged = merged[: merged.index(end) + 1]
        spots = merged[:limit]
        return pieces, spots, spots[-1] if spots and (ends or len(merged) > limit) else None

    async def _read_all(self, wishes: Sequence[Wish]) -> Sequence[Piece]:
        return await asyncio.gather(*(self._read_piece(number, wish) for number, wish in enumerate(wishes)))

    def _precedes(self, spot: Spot, other: Spot) -> bool:
        return spot > other if self._newest else spot < other

    def _bounds(self, place: Place, *, by_end: bool) -> tuple[Spot, int]:
        """Where to begin and when to end: what is too new or too old is not looked at.

        No run ends before it is created, so the time of creation bounds a listing by end from one side.
        """
        wanted = self._wanted
        after = [wanted.created_after, wanted.finished_after] if by_end else [wanted.created_after]
        least_ms = max([0, *(moment(bound, place) for bound in after if bound is not None)])
        before = wanted.finished_before if by_end else wanted.created_before
        most_ms = LAST_MS if before is None else moment(before, place)
        if self._newest:
            return min(place.at, Spot(most_ms, "~")), least_ms
        if by_end and self._has_both:
            # What has ended since the list began is looked at together with the unfinished runs.
            most_ms = min(most_ms, place.began_ms - 1)
        return max(place.at, Spot(least_ms, "")), most_ms


def is_wanted(wanted: RunFilter, run: RunSummary, place: Place) -> bool:
    """Whether a run is what the filter asks for."""
    reason = f"{run.status}:{run.waiting_for}"
    return (
        (not wanted.statuses or run.status in wanted.statuses or reason in wanted.statuses)
        and (wanted.workflow is None or run.workflow == wanted.workflow)
        and (wanted.version is None or run.version == wanted.version)
        and wanted.tags.items() <= run.tags.items()
        and _is_within(run.created_at, wanted.created_after, wanted.created_before, place)
        and _is_within(run.finished_at, wanted.finished_after, wanted.finished_before, place)
    )


def moment(bound: When, place: Place) -> int:
    """An instant, in unix ms; a relative one lies before the list began."""
    return place.began_ms - bound.ms if bound.relative else bound.ms


def _is_within(instant: datetime | None, after: When | None, before: When | None, place: Place) -> bool:
    if after is None and before is None:
        return True
    if instant is None:
        return False
    ms = _ms_of(instant)
    return (after is None or ms >= moment(after, place)) and (before is None or ms < moment(before, place))


def _born(run: RunSummary) -> Spot:
    return Spot(_ms_of(run.created_at), run.id)


def _ms_of(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(milliseconds=1)
