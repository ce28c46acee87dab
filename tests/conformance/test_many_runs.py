"""Two hundred thousand retained runs: lists and counts are right, purging is bounded, no call holds the server up."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import hiredis
import pytest

from redisflow.contract import RunFilter
from redisflow.durations import When
from redisflow.tags import encode_tags, tag_listing
from tests.conformance.world import T0, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RUNS = 200_000
TAGGED = 1_000
"""Each so many-th run has the tag."""
STATUSES = ("succeeded", "failed", "canceled")
WORKFLOWS = ("bill", "order")
SLOW_US = 10_000


@pytest.fixture(params=["valkey"])
def server_kind(request: pytest.FixtureRequest) -> str:
    """One kind is enough: it is the commands' complexity that is measured."""
    kind: str = request.param
    return kind


def send_all(url: str, commands: list[tuple[object, ...]]) -> None:
    """In one write, and wait for all replies."""
    where = urlsplit(url)
    pack, reader = cast("Any", hiredis).pack_command, hiredis.Reader()
    with socket.create_connection((where.hostname or "", where.port or 0)) as connection:
        connection.sendall(b"".join(pack(command) for command in commands))
        for _ in commands:
            while (reply := reader.gets()) is False:
                reader.feed(connection.recv(1 << 16))
            assert isinstance(reply, int)


def run_id_of(number: int) -> str:
    return f"{number:012x}7000800000000000{0:04x}"


@pytest.fixture
async def full(world: World, valkey_url: str) -> AsyncIterator[World]:
    """A namespace with many finished runs, ten of each millisecond."""
    began_s = time.monotonic()
    tag, prefix = encode_tags({"kind": "rare"}), world.prefix
    pipe: list[tuple[object, ...]] = [("SADD", f"{prefix}workflows", *WORKFLOWS)]
    for number in range(RUNS):
        run_id, workflow, status = run_id_of(number), WORKFLOWS[number % 2], STATUSES[number % 3]
        ms = T0 + number // 10
        tagged = ("tg", tag) if number % TAGGED == 0 else ()
        fields = ("w", workflow, "i", "x", "c", ms, "h", "0:1", "s", status, "t", ms, *tagged)
        pipe.append(("HSET", f"{prefix}run:{run_id}", *fields))
        pipe.append(("ZADD", f"{prefix}done:{workflow}:{status}", ms, run_id))
        if tagged:
            pipe.append(("ZADD", f"{prefix}{tag_listing('kind', 'rare')}", ms, run_id))
        if len(pipe) > 10_000:
            send_all(valkey_url, pipe)
            pipe = []
    send_all(valkey_url, pipe)
    assert time.monotonic() - began_s < 60
    world.at(T0 + RUNS)
    world.raw("CONFIG", "SET", "slowlog-log-slower-than", SLOW_US)
    world.raw("SLOWLOG", "RESET")
    yield world
    slow = world.raw("SLOWLOG", "GET", 100)
    world.raw("CONFIG", "SET", "slowlog-log-slower-than", -1)
    ours = [entry[2:4] for entry in slow if entry[3][0] in {b"EVALSHA", b"HMGET", b"SMEMBERS", b"ZCARD"}]
    # What is slow by itself is slow each time; a few of these hundreds of calls may have waited for a busy machine.
    assert len(ours) <= 3, f"calls took longer than 10 ms: {ours}"


@pytest.mark.usefixtures("one_server")
async def test_two_hundred_thousand_runs_are_listed_counted_and_purged(full: World) -> None:
    listings = full.backend.listings
    counts = await listings.count_runs(detailed=True)
    assert {name: (each.succeeded, each.failed, each.canceled) for name, each in counts.workflows.items()} == {
        name: tuple(sum(n % 2 == place and n % 3 == s for n in range(RUNS)) for s in range(3))
        for place, name in enumerate(WORKFLOWS)
    }

    newest = await listings.list_page(RunFilter(), 100, None)
    assert [run.id for run in newest.runs] == [run_id_of(RUNS - 1 - n) for n in range(100)]
    beyond = await listings.list_page(RunFilter(), 100, newest.cursor)
    assert [run.id for run in beyond.runs] == [run_id_of(RUNS - 101 - n) for n in range(100)]
    oldest = await listings.list_page(RunFilter(order="oldest", workflow="order"), 50, None)
    assert [run.id for run in oldest.runs] == [run_id_of(2 * n + 1) for n in range(50)]

    rare = RunFilter(tags={"kind": "rare"}, statuses=frozenset({"failed"}))
    page = await listings.list_page(rare, 1000, None)
    assert [run.id for run in page.runs] == [run_id_of(n) for n in range(RUNS - TAGGED, -1, -TAGGED) if n % 3 == 1]
    assert page.cursor is None

    middle = RunFilter(
        finished_after=When(T0 + 10_000, relative=False), finished_before=When(T0 + 10_002, relative=False)
    )
    page = await listings.list_page(middle, 1000, None)
    assert [run.id for run in page.runs] == [run_id_of(n) for n in range(100_019, 99_999, -1)]

    # A filter without an index looks at 5,000 runs a page, and says where it goes on.
    page = await listings.list_page(RunFilter(version="v9"), 100, None)
    assert not page.runs
    assert page.cursor

    await full.backend.retention.set_retention(dict.fromkeys(WORKFLOWS, "succeeded=0"))
    purged = 0
    for _ in range(50):
        step = await full.backend.retention.purge_runs(0)
        purged += step.runs
        assert 0 < step.runs <= 100
        assert not step.done
    counts = await listings.count_runs(detailed=False)
    assert counts.succeeded == sum(n % 3 == 0 for n in range(RUNS)) - purged
