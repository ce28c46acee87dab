"""A list in pages while runs are created, end and are purged between two reads: each run that stays is told once."""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from redisflow.backend.cursors import LAST_MS, Place, Spot, read_cursor, write_cursor
from redisflow.backend.walk import Piece, Walk, Wish, is_wanted
from redisflow.contract import RunFilter
from redisflow.durations import When, from_ms
from redisflow.errors import InvalidCursor
from redisflow.summaries import RunSummary

PARTITIONS = 3
WORKFLOWS = ("bill", "order")


@dataclass
class Server:
    """What the listings of a namespace hold; things happen before each read, and time stands still for most of them."""

    chance: random.Random
    now_ms: int = 1_000
    created: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Workflow and ms by id."""
    ended: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Status and ms by id."""
    purged: set[str] = field(default_factory=set)
    made: int = 0

    def create(self) -> None:
        self.made += 1
        run_id = f"{self.chance.randrange(1 << 32):08x}{self.made:04x}"
        self.created[run_id] = (self.chance.choice(WORKFLOWS), self.now_ms)

    def end(self, run_id: str) -> None:
        self.ended.setdefault(run_id, (self.chance.choice(("succeeded", "failed")), self.now_ms))

    def happen(self) -> None:
        for _ in range(self.chance.randrange(4)):
            self.now_ms += self.chance.choice((0, 0, 0, 1, 2))
            unfinished = sorted(self.created.keys() - self.ended.keys())
            what = self.chance.randrange(8)
            if what == 0 and self.made < 120:  # from the oldest on, new runs are told, too: they must end at some time
                self.create()
            elif what == 1 and self.ended:
                self.purged.add(self.chance.choice(sorted(self.ended)))
            elif unfinished:
                self.end(self.chance.choice(unfinished))

    def listing(self, partition: int, name: str) -> list[Spot]:
        kind, workflow, *status = name.split(":")
        mine = [
            run_id
            for run_id, (of, _) in self.created.items()
            if of == workflow and partition_of(run_id) == partition and run_id not in self.purged
        ]
        if kind == "runs":
            return sorted(Spot(self.created[run_id][1], run_id) for run_id in mine if run_id not in self.ended)
        return sorted(
            Spot(self.ended[run_id][1], run_id)
            for run_id in mine
            if run_id in self.ended and self.ended[run_id][0] == status[0]
        )

    async def read_piece(self, partition: int, wish: Wish) -> Piece:
        self.happen()
        found: list[Spot] = []
        has_more = False
        for name in wish.listings:
            members = self.listing(partition, name)
            if wish.order == "newest":
                some = members[: bisect_left(members, wish.after)][::-1]
                some = [spot for spot in some if spot.ms >= wish.until_ms]
            else:
                some = members[bisect_right(members, wish.after) :]
                some = [spot for spot in some if spot.ms <= wish.until_ms]
            found += some
        found.sort(reverse=wish.order == "newest")
        has_more = len(found) > wish.limit
        return Piece(self.now_ms, has_more, found[: wish.limit])

    async def read_summaries(self, ids: Sequence[str]) -> dict[str, RunSummary]:
        self.happen()
        return {run_id: self.summary(run_id) for run_id in ids if run_id not in self.purged}

    def summary(self, run_id: str) -> RunSummary:
        workflow, created_ms = self.created[run_id]
        status, ended_ms = self.ended.get(run_id, ("running", None))
        return RunSummary(
            id=run_id,
            workflow=workflow,
            version=None,
            queue="default",
            status=status,  # type: ignore[arg-type]  # one of the words
            waiting_for=None,
            tags={},
            created_at=from_ms(created_ms),
            started_at=None,
            finished_at=None if ended_ms is None else from_ms(ended_ms),
            claims=1,
            crashes=0,
            cause=None,
        )


def partition_of(run_id: str) -> int:
    return int(run_id, 16) % PARTITIONS


async def list_all(server: Server, wanted: RunFilter, *, size: int, limit: int) -> list[RunSummary]:
    """As the backend does it: in pages, each from the cursor of the one before."""
    told: list[RunSummary] = []
    names = [[wanted.workflow] if wanted.workflow else WORKFLOWS] * PARTITIONS
    walk = Walk(wanted, names, None, server.read_piece, server.read_summaries)
    place: Place | None = walk.begin(server.now_ms)
    room = size
    while place is not None:
        assert walk.knows(place)
        step = await walk.step(place, limit)
        place = step.after
        for run, after in step.runs:
            if is_wanted(wanted, run, after):
                told.append(run)
                room -= 1
                if not room:
                    place, room = read_cursor(wanted, write_cursor(wanted, after), PARTITIONS), size
                    break
        server.happen()
    return told


def prepared(seed: int) -> Server:
    server = Server(random.Random(seed))
    for _ in range(60):
        server.create()
        server.now_ms += server.chance.choice((0, 0, 1))
    for run_id in server.chance.sample(sorted(server.created), 25):
        server.end(run_id)
        server.now_ms += server.chance.choice((0, 0, 1))
    return server


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("seed", range(60))
async def test_each_run_that_stays_is_told_once_whatever_happens_between_two_reads(order, seed):
    server = prepared(seed)
    there = set(server.created)
    size, limit = server.chance.choice((1, 2, 7)), server.chance.choice((1, 3, 10))
    told = [run.id for run in await list_all(server, RunFilter(order=order), size=size, limit=limit)]
    assert len(told) == len(set(told)), "a run was told twice"
    assert there - server.purged <= set(told), "a run that was there all the time was not told"


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("statuses", [{"running"}, {"failed"}, {"running", "failed"}, {"succeeded", "failed"}])
async def test_a_status_that_a_run_keeps_is_enough_to_be_told(order, statuses):
    for seed in range(20):
        server = prepared(seed)
        before = {run_id: server.summary(run_id).status for run_id in server.created}
        wanted = RunFilter(order=order, statuses=frozenset(statuses))
        told = [run.id for run in await list_all(server, wanted, size=3, limit=5)]
        assert len(told) == len(set(told))
        kept = {run_id for run_id, status in before.items() if server.summary(run_id).status == status in statuses}
        assert kept - server.purged <= set(told)


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_a_list_at_rest_is_in_order(order):
    server = prepared(7)
    server.now_ms += 1
    server.happen = lambda: None  # type: ignore[method-assign]  # a world of this test
    told = await list_all(server, RunFilter(order=order), size=4, limit=6)
    places = [
        (run.finished_at is None, run.created_at if run.finished_at is None else run.finished_at, run.id)
        for run in told
    ]
    assert places == sorted(places, reverse=order == "newest")
    assert {run.id for run in told} == set(server.created)


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_times_bound_what_is_told(order):
    server = prepared(11)
    server.happen = lambda: None  # type: ignore[method-assign]  # a world of this test
    after, before = When(1_010, relative=False), When(1_025, relative=False)

    async def ids(**bounds) -> set[str]:
        return {run.id for run in await list_all(server, RunFilter(order=order, **bounds), size=4, limit=6)}

    created = {run_id for run_id, (_, ms) in server.created.items() if 1_010 <= ms < 1_025}
    ended = {run_id for run_id, (_, ms) in server.ended.items() if 1_010 <= ms < 1_025}
    assert created
    assert ended
    assert await ids(created_after=after, created_before=before) == created
    assert await ids(finished_after=after, finished_before=before) == ended
    ago = When(server.now_ms - 1_010, relative=True)
    assert await ids(created_after=ago, created_before=before) == created


def test_a_cursor_is_refused_where_it_does_not_belong():
    wanted = RunFilter(workflow="order")
    cursor = write_cursor(wanted, Place(began_ms=5, at=Spot(LAST_MS, "~"), since=(Spot(5, ""),) * PARTITIONS))
    assert read_cursor(wanted, cursor, PARTITIONS).at == Spot(LAST_MS, "~")
    with pytest.raises(InvalidCursor, match="other filters"):
        read_cursor(RunFilter(workflow="bill"), cursor, PARTITIONS)
    with pytest.raises(InvalidCursor, match="other filters"):
        read_cursor(wanted, cursor, PARTITIONS + 1)
    for broken in ("", "x", cursor[:-3], cursor[2:], "ü", cursor + "!", "gA"):
        with pytest.raises(InvalidCursor, match="no cursor"):
            read_cursor(wanted, broken, PARTITIONS)
