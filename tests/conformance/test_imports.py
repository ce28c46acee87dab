"""Storing runs that ended elsewhere, through the contract, on every kind of server."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from redisflow.contract import EndedRun, Imported, KnownEnd, Mark, StoredEvent
from redisflow.run_id import new_run_id
from redisflow.tags import encode_tags
from tests.conformance.world import T0, World

HOUR = 3_600_000


def ended(run_id: str | None = None, **changes: Any) -> EndedRun:
    wanted: dict[str, Any] = {
        "run_id": run_id or new_run_id(0),
        "workflow": "order",
        "status": "succeeded",
        "created_at_ms": T0 - HOUR,
        "finished_at_ms": T0 - 1000,
        "queue": "default",
        "tags": encode_tags({"customer": "c1"}),
        "parent": None,
        "input": b"\x01",
        "outcome": b"\x02",
        "records": [b"one", b"two"],
    }
    return EndedRun(**{**wanted, **changes})


def named(world: World, *parts: str) -> list[str]:
    """The keys whose names hold one of these."""
    keys = world.keys()
    return [key for key in keys if any(part in key for part in parts)]


async def test_a_run_is_stored_once_and_known_by_how_it_ended(any_world: World):
    world = any_world
    world.at(T0)
    calls = world.backend.imports
    for partition in range(world.backend.partitions):
        run = ended(new_run_id(partition), fields={"a": T0 - 5000, "f": "2:-"}, state={"n": b"\x02"})
        assert await calls.find_end(run.run_id) is None
        assert await calls.import_run(run) == Imported("imported")
        assert await calls.find_end(run.run_id) == run.end == KnownEnd("order", "succeeded", T0 - HOUR, T0 - 1000, 2)
        prefix = world.prefix_of(partition)
        assert named(world, run.run_id) == [f"{prefix}{kind}:{run.run_id}" for kind in ("run", "state")]
    end = await world.backend.get_end(run.run_id)
    assert end is not None
    assert (end.workflow, end.status, end.output) == ("order", "succeeded", b"\x02")
    assert not named(world, "}:import:")
    assert (await world.backend.listings.count_runs(detailed=True)).succeeded == world.backend.partitions
    assert (await world.batch()).claims == []


async def test_a_run_that_is_there_is_left_alone(world: World):
    world.at(T0)
    claim = await world.running()
    run = ended(claim.hold.run_id)
    before = world.snapshot()
    assert await world.backend.imports.import_run(run) == Imported("existing")
    # What was put aside goes by itself.
    assert {key: value for key, value in world.snapshot().items() if "}:import:" not in key} == before
    known = await world.backend.imports.find_end(run.run_id)
    assert known is not None
    assert (known.status, known.finished_at_ms, known == run.end) == ("running", None, False)


async def test_a_long_run_comes_in_pieces_and_is_seen_whole(world: World):
    world.at(T0)
    records = [b"%d" % number * 40 for number in range(10_000)]
    events = [StoredEvent(f"{number}-1", "data", b"\x01" * 100, "pay", 2) for number in range(1, 3001)]
    run = ended(records=records, events=events, input=b"x" * 600_000)
    done = asyncio.ensure_future(world.backend.imports.import_run(run))
    while not done.done():
        # Until all of it is there, nothing of it is.
        found = await world.backend.read_run(run.run_id)
        assert found is None or found[b"h"] == b"10000:%d" % (600_000 + sum(map(len, records)))
        await asyncio.sleep(0)
    assert await done == Imported("imported")
    found = await world.backend.read_run(run.run_id)
    assert found is not None
    assert Mark.parse(found[b"h"].decode()).records == 10_000
    assert [found[b"%d" % number] for number in range(10_000)] == records
    read: list[StoredEvent] = []
    while len(read) < len(events):
        batch = await world.backend.events.read_events(run.run_id, read[-1].id if read else None)
        assert batch is not None
        read += batch.events
    assert read == events
    assert world.raw("TTL", f"{world.prefix}run:{run.run_id}") == -1
    assert await world.backend.retention.delete_run(run.run_id) is None
    assert not named(world, run.run_id)


@pytest.mark.parametrize("field", ["created_at_ms", "finished_at_ms"])
async def test_an_end_that_is_still_to_come_is_refused(world: World, field: str):
    world.at(T0)
    late: dict[str, Any] = {field: T0 + 1}
    run = replace(ended(), **late)
    assert await world.backend.imports.import_run(run) == Imported("ahead", T0)
    assert await world.backend.imports.find_end(run.run_id) is None


async def test_rounds_of_retention_pass_over_what_was_imported_since(world: World):
    """More of it than a call looks at, and behind it what is over."""
    world.at(T0)
    own = await world.running()
    await world.finish(own)
    world.later(30 * 24 * HOUR)
    for _ in range(120):
        await world.backend.imports.import_run(ended(finished_at_ms=T0 - 500))
    for purged in (1, 0):
        step = await world.backend.retention.purge_runs(0)
        assert (step.runs, step.done) == (0, False)
        step = await world.backend.retention.purge_runs(0, tell_ids=True)
        assert (step.runs, step.done, list(step.run_ids)) == (purged, True, [own.hold.run_id] * purged)
    world.later(24 * HOUR)
    assert [(await world.backend.retention.purge_runs(0)).runs for _ in range(2)] == [100, 20]
    assert not named(world, "}:run:", "}:tag:", "}:done:")
