from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from redisflow import BackendError
from redisflow.backend.redis_backend import RedisBackend
from redisflow.contract import Verdict
from redisflow.durations import from_ms
from redisflow.run_id import new_run_id, partition_of
from redisflow.schedule import ScheduleDefinition, ScheduleInfo, plan
from redisflow.ticks import Ticks
from tests.conformance.world import T0, World, extend

MINUTE = 60_000
FIRST = T0 + 40_000
"""The first whole minute."""


def definition(**changes: Any) -> ScheduleDefinition:
    wanted: dict[str, Any] = {
        "id": "nightly",
        "workflow": "order",
        "version": None,
        "queue": "default",
        "input": b"\x01",
        "ticks": Ticks(cron="* * * * *"),
        "overlap": "skip",
        "catch_up": "all",
    }
    return ScheduleDefinition(**{**wanted, **changes})


async def put(world: World, **changes: Any) -> ScheduleInfo:
    world.at(T0)
    made = definition(**changes)
    await world.twice(lambda: world.backend.schedules.put(made))
    info = await world.backend.schedules.get(made.id)
    assert info is not None
    return info


async def fire(world: World, info: ScheduleInfo) -> str:
    firing = plan(info, world.now_ms)
    assert firing is not None
    return await world.twice(lambda: world.backend.schedules.fire(info, firing))


async def test_a_schedule_comes_back_as_it_was_put(world: World):
    made = definition(
        ticks=Ticks(cron="0 3 * * *", timezone="Europe/Paris"), version="v2", queue="slow", input=b"\xc4\x01\xff"
    )
    world.at(T0)
    await world.backend.schedules.put(made)
    info = await world.backend.schedules.get("nightly")
    assert info is not None
    assert (info.definition, info.created_at, info.is_paused) == (made, from_ms(T0), False)
    assert info.next_fire_at == datetime(2023, 11, 15, 2, tzinfo=UTC)
    assert await world.backend.schedules.get("other") is None


async def test_due_schedules_are_told_with_the_time(world: World):
    info = await put(world)
    due = await world.backend.schedules.due(0)
    assert (due.now_ms, due.next_due_in_ms, list(due.schedules)) == (T0, 40_000, [])
    world.at(FIRST)
    due = await world.backend.schedules.due(0)
    assert (due.next_due_in_ms, list(due.schedules)) == (0, [info])


async def test_a_tick_that_was_fired_creates_a_run_with_its_input_and_its_instant(world: World):
    info = await put(world)
    world.at(FIRST)
    assert await fire(world, info) == "created"
    claim = await world.claim()
    assert (claim.input, claim.end_effects, claim.scheduled_at_ms) == (b"\x01", (b"leave", b"nightly"), FIRST)
    run = await world.backend.get_workflow_run(claim.hold.run_id)
    assert run is not None
    assert (run.schedule, run.scheduled_at, run.workflow) == ("nightly", from_ms(FIRST), "order")
    after = await world.backend.schedules.get("nightly")
    assert after is not None
    assert (after.last_run_id, after.last_outcome, after.last_fire_at) == (run.id, "created", from_ms(FIRST))
    assert after.next_ms == FIRST + MINUTE


async def test_a_large_input_travels_with_its_schedule_and_its_run(world: World):
    large = bytes(range(256)) * 2048
    info = await put(world, input=large)
    world.at(FIRST)
    assert (await world.backend.schedules.due(0)).schedules == [info]
    assert await fire(world, info) == "created"
    claim = await world.claim()
    assert (claim.input, claim.end_effects, claim.scheduled_at_ms) == (large, (b"leave", b"nightly"), FIRST)


async def test_what_was_read_before_a_change_fires_nothing(world: World):
    info = await put(world)
    world.at(FIRST)
    await world.backend.schedules.put(definition(overlap="queue"))
    assert await fire(world, info) == "stale"
    early = replace(info, revision=2, next_ms=FIRST)
    world.at(FIRST - 1)
    firing = plan(early, FIRST)
    assert firing is not None
    assert await world.backend.schedules.fire(replace(info, revision=2), firing) == "stale"


async def test_a_run_that_is_queued_starts_by_the_end_of_the_one_before(world: World):
    info = await put(world, overlap="queue")
    world.at(FIRST)
    await fire(world, info)
    first = await world.claim()
    world.later(MINUTE)
    assert await fire(world, replace(info, next_ms=FIRST + MINUTE)) == "created"
    assert (await world.batch()).claims == []
    (entry,) = world.raw("LRANGE", f"{world.prefix}queued:nightly", 0, -1)
    run = await world.backend.get_workflow_run(entry.decode())
    assert run is not None
    assert (run.status, run.waiting_for) == ("waiting", "overlap")
    extension = extend(first.mark)
    extension.effects = ("leave", "nightly")
    end = await world.backend.finish_run(first.hold, extension, status="succeeded", payload=b"\x02")
    assert end is Verdict.OK
    assert (await world.claim()).hold.run_id == run.id


async def test_pausing_and_resuming_skips_what_came_in_between(world: World):
    info = await put(world)
    assert await world.twice(lambda: world.backend.schedules.pause("nightly")) is True
    world.at(FIRST + 10 * MINUTE)
    assert await fire(world, info) == "stale"
    assert (await world.backend.schedules.due(0)).next_due_in_ms is None
    assert await world.twice(lambda: world.backend.schedules.resume("nightly")) is True
    resumed = await world.backend.schedules.get("nightly")
    assert resumed is not None
    assert (resumed.next_ms, resumed.is_paused) == (FIRST + 11 * MINUTE, False)
    assert await world.backend.schedules.pause("other") is False
    assert await world.backend.schedules.resume("other") is False


async def test_a_trigger_starts_one_run_however_often_it_is_sent(world: World):
    info = await put(world)
    run_id = new_run_id(0)
    assert await world.twice(lambda: world.backend.schedules.trigger(info, run_id)) == "created"
    assert await world.backend.schedules.trigger(info, new_run_id(0)) == "skipped"
    assert (await world.claim()).scheduled_at_ms is None
    await world.twice(lambda: world.backend.schedules.delete("nightly"))
    assert await world.backend.schedules.trigger(info, new_run_id(0)) == "missing"


async def test_a_schedule_that_cannot_be_read_here_is_told_and_stops_no_other(world: World):
    await put(world)
    await put(world, id="from-elsewhere")
    await put(world, id="from-the-future")
    world.raw("HSET", f"{world.prefix}schedule:from-elsewhere", "tz", "Mars/Olympus")
    world.raw("HSET", f"{world.prefix}schedule:from-the-future", "ov", "merge")
    world.at(FIRST)
    due = await world.backend.schedules.due(0)
    assert [info.id for info in due.schedules] == ["nightly"]
    assert ["Mars/Olympus" in problem or "merge" in problem for problem in due.unreadable] == [True, True]


@pytest.mark.parametrize(
    ("field", "value"),
    [("rv", "x"), ("c", "9" * 40), ("lt", "-1"), ("ev", "often"), ("n", "1.5"), ("w", b"\xff"), (b"\xff", "x")],
)
async def test_a_schedule_whose_hash_is_damaged_is_told_and_stops_no_other(world: World, field: str, value: str):
    await put(world)
    await put(world, id="damaged", input=b"a secret")
    world.raw("HSET", f"{world.prefix}schedule:damaged", field, value)
    world.at(FIRST)
    due = await world.backend.schedules.due(0)
    assert [info.id for info in due.schedules] == ["nightly"]
    (problem,) = due.unreadable
    assert problem.startswith("schedule 'damaged' is not as redisflow stores it: ")
    assert "secret" not in problem
    with pytest.raises(BackendError, match="Delete it, and create it again"):
        await world.backend.schedules.get("damaged")


async def test_what_is_listed_among_the_schedules_under_no_name_is_told_and_stops_no_other(world: World):
    await put(world)
    fields = world.raw("HGETALL", f"{world.prefix}schedule:nightly")
    world.raw("HSET", f"{world.prefix}schedule:".encode() + b"\xff", *fields)
    world.raw("ZADD", f"{world.prefix}schedules", FIRST, b"\xff")
    world.at(FIRST)
    due = await world.backend.schedules.due(0)
    assert ([info.id for info in due.schedules], due.unreadable) == (["nightly"], ["schedule b'\\xff': this is no id"])
    world.raw("DEL", f"{world.prefix}schedule:".encode() + b"\xff")


async def test_schedules_and_their_runs_live_where_their_id_says(server_url: str, namespace: str):
    backend = RedisBackend(server_url, namespace=namespace, partitions=16)
    await backend.open()
    ids = [f"schedule-{number}" for number in range(40)]
    places = set()
    for name in ids:
        await backend.schedules.put(definition(id=name, ticks=Ticks(every_ms=100)))
    assert await backend.schedules.list_ids() == sorted(ids)
    for partition in range(16):
        due = await backend.schedules.due(partition)
        for info in due.schedules:
            firing = plan(info, due.now_ms)
            if firing is not None and await backend.schedules.fire(info, firing) == "created":
                after = await backend.schedules.get(info.id)
                assert after is not None
                assert after.last_run_id is not None
                assert partition_of(after.last_run_id) == partition
                places.add(partition)
    for name in ids:
        await backend.schedules.delete(name)
    assert await backend.schedules.list_ids() == []
    await backend.close()
