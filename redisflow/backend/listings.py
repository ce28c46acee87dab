"""Lists and counts, from indexes: no key is scanned, and each call that the server gets is bounded."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from redisflow.backend import replies
from redisflow.backend.cursors import Spot, read_cursor, write_cursor
from redisflow.backend.walk import FIRST, Piece, Walk, Wish, is_wanted
from redisflow.contract import RunFilter
from redisflow.durations import from_ms
from redisflow.errors import InvalidCursor
from redisflow.runs import TERMINAL
from redisflow.summaries import FIELDS, QueuedRun, RunCounts, RunPage, RunSummary, WorkflowCounts, view_summary
from redisflow.tags import tag_listing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redisflow.backend.patience import Patience
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport

STEP = 100
"""Runs that one call looks at."""
STEPS_AT_MOST = 50
"""In one page: 5,000 runs looked at, which takes the server some 50 ms in small pieces."""
_URGENT = 10
"""Above every priority."""


def _is_plain(wanted: RunFilter) -> bool:
    """Whether a listing has just what is wanted: then no more of it is read than a page holds."""
    if wanted.statuses <= TERMINAL and wanted == RunFilter(
        order=wanted.order, workflow=wanted.workflow, statuses=wanted.statuses
    ):
        return True
    return len(wanted.tags) == 1 and wanted == RunFilter(order=wanted.order, tags=wanted.tags)


class ListingCalls:
    """See `Listings`. One object per backend."""

    def __init__(
        self,
        transport: Transport,
        scripts: Scripts,
        prefixes: Sequence[str],
        patience: Patience,
        prefix_of: Callable[[str], str],
    ) -> None:
        """All that it needs to call."""
        self._transport = transport
        self._scripts = scripts
        self._prefixes = prefixes
        self._patience = patience
        self._prefix_of = prefix_of

    async def list_page(self, wanted: RunFilter, size: int, cursor: str | None) -> RunPage:
        """See `Listings`."""
        return await self._patience.wait(self._list_page(wanted, size, cursor))

    async def _list_page(self, wanted: RunFilter, size: int, cursor: str | None) -> RunPage:
        named = [wanted.workflow] if wanted.workflow else None
        workflows = [named or await self._workflows(prefix) for prefix in self._prefixes]
        walk = Walk(wanted, workflows, await self._rarest_tag(wanted), self._read_piece, self._read_summaries)
        if cursor is None:
            place = walk.begin(await self._now_ms())
        else:
            place = read_cursor(wanted, cursor, len(self._prefixes))
            if not walk.knows(place):
                msg = "this cursor is incomplete: list_page needs the text that a page had, unchanged"
                raise InvalidCursor(msg)
        runs: list[RunSummary] = []
        is_plain = _is_plain(wanted)
        for _ in range(STEPS_AT_MOST):
            step = await walk.step(place, min(STEP, size - len(runs)) if is_plain else STEP)
            for run, after in step.runs:
                if is_wanted(wanted, run, after):
                    runs.append(run)
                    if len(runs) == size:
                        return RunPage(runs, write_cursor(wanted, after))
            if step.after is None:
                return RunPage(runs, None)
            place = step.after
        return RunPage(runs, write_cursor(wanted, place))

    async def _workflows(self, prefix: str) -> list[str]:
        return sorted(name.decode() for name in await self._transport.send(prefix, ("SMEMBERS", f"{prefix}workflows")))

    async def _rarest_tag(self, wanted: RunFilter) -> str | None:
        """The listing of the tag that the fewest runs have: that is the one to walk."""
        listings = [tag_listing(name, value) for name, value in wanted.tags.items()]
        if len(listings) < 2:
            return listings[0] if listings else None
        sizes = await asyncio.gather(*(self._size(listing) for listing in listings))
        return min(zip(sizes, listings, strict=True))[1]

    async def _size(self, listing: str) -> int:
        sends = (self._transport.send(prefix, ("ZCARD", prefix + listing)) for prefix in self._prefixes)
        return sum(await asyncio.gather(*sends))

    async def _now_ms(self) -> int:
        """The earliest of the partitions' clocks: nothing that had ended by then is missed."""
        wish = Wish(order="oldest", after=FIRST, until_ms=0, limit=1, listings=())
        pieces = await asyncio.gather(*(self._read_piece(number, wish) for number in range(len(self._prefixes))))
        return min(piece.now_ms for piece in pieces)

    async def _read_piece(self, partition: int, wish: Wish) -> Piece:
        prefix = self._prefixes[partition]
        command = self._scripts.list_runs.call(
            prefix,
            wish.listings,
            order=wish.order,
            at_ms=wish.after.ms,
            at_id=wish.after.id,
            until_ms=wish.until_ms,
            limit=wish.limit,
        )
        now_ms, has_more, *flat = replies.expect_ok(await self._transport.send(prefix, command))
        found = zip(flat[::2], flat[1::2], strict=True)
        return Piece(now_ms, bool(has_more), [Spot(int(ms), run_id.decode()) for run_id, ms in found])

    async def _read_summaries(self, ids: Sequence[str]) -> dict[str, RunSummary]:
        """What is still stored of these runs. The calls leave together."""
        values = await asyncio.gather(*(self._read_fields(run_id) for run_id in dict.fromkeys(ids)))
        found = (view_summary(run_id, each) for run_id, each in values)
        return {run.id: run for run in found if run is not None}

    async def _read_fields(self, run_id: str) -> tuple[str, Sequence[bytes | None]]:
        prefix = self._prefix_of(run_id)
        return run_id, await self._transport.send(prefix, ("HMGET", f"{prefix}run:{run_id}", *FIELDS))

    # -- queues -------------------------------------------------------------------------------------------------------

    async def peek_queue(self, queue: str, limit: int) -> list[QueuedRun]:
        """See `Listings`."""
        return await self._patience.wait(self._peek_queue(queue, limit))

    async def _peek_queue(self, queue: str, limit: int) -> list[QueuedRun]:
        peeked = await asyncio.gather(*(self._peek(prefix, queue, limit) for prefix in self._prefixes))
        # Woken ones first, then the most urgent, then whoever came first.
        places = sorted(
            (place for each in peeked for place in each),
            key=lambda place: (_URGENT if place[1] is None else place[1], -place[2]),
            reverse=True,
        )[:limit]
        found = await self._read_summaries([run_id for run_id, _, _ in places])
        return [
            QueuedRun(run=found[run_id], priority=priority, queued_at=from_ms(since_ms))
            for run_id, priority, since_ms in places
            if run_id in found and found[run_id].status == "pending"
        ]

    async def _peek(self, prefix: str, queue: str, limit: int) -> list[tuple[str, int | None, int]]:
        command = self._scripts.peek_queue.call(prefix, queue=queue, limit=limit)
        rows = replies.expect_ok(await self._transport.send(prefix, command))
        return [(replies.shown(run_id), None if lane == b"w" else int(lane), int(ms)) for run_id, lane, ms in rows]

    # -- counts -------------------------------------------------------------------------------------------------------

    async def count_runs(self, *, detailed: bool) -> RunCounts:
        """See `Listings`."""
        counted = await self._patience.wait(self._count_all())
        pending, running, sizes = counted
        unfinished = {name: each[0] for name, each in sizes.items() if each[0]}
        waiting = max(0, sum(unfinished.values()) - pending - running)
        known: dict[str, dict[str, int]] = {}
        if len(unfinished) == 1:
            # What the streams hold can only be this workflow's.
            known = {name: {"pending": pending, "running": running, "waiting": waiting} for name in unfinished}
        elif detailed:
            known = {name: await self.count_statuses(name) for name in unfinished}
        idle = {"pending": 0, "running": 0, "waiting": 0}
        workflows = {
            name: WorkflowCounts(
                unfinished=each[0],
                stuck=each[1],
                succeeded=each[2],
                failed=each[3],
                canceled=each[4],
                by_status=known.get(name) if each[0] else idle,
            )
            for name, each in sorted(sizes.items())
        }
        return RunCounts(pending=pending, running=running, waiting=waiting, workflows=workflows)

    async def _count_all(self) -> tuple[int, int, dict[str, list[int]]]:
        sends = (self._transport.send(prefix, self._scripts.count_runs.call(prefix)) for prefix in self._prefixes)
        pending, running = 0, 0
        sizes: dict[str, list[int]] = {}
        for reply in await asyncio.gather(*sends):
            more_pending, more_running, *flat = replies.expect_ok(reply)
            pending, running = pending + more_pending, running + more_running
            for at in range(0, len(flat), 6):
                name, counts = replies.shown(flat[at]), flat[at + 1 : at + 6]
                before = sizes.get(name, [0] * 5)
                sizes[name] = [count + more for count, more in zip(before, counts, strict=True)]
        return pending, running, sizes

    async def count_statuses(self, workflow: str) -> dict[str, int]:
        """See `Listings`."""
        found: Counter[str] = Counter({"pending": 0, "running": 0, "waiting": 0})
        for prefix in self._prefixes:
            at_ms: Any = 0
            at_id: Any = ""
            while at_ms != b"":
                command = self._scripts.count_statuses.call(
                    prefix, workflow=workflow, at_ms=at_ms, at_id=at_id, limit=STEP
                )
                reply = await self._patience.give(self._transport.send(prefix, command))
                at_id, at_ms, *flat = replies.expect_ok(reply)
                for status, count in zip(flat[::2], flat[1::2], strict=True):
                    found[replies.status_of(status)] += count
        return {status: found[status] for status in ("pending", "running", "waiting")}
