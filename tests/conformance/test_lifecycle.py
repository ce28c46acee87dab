"""Pause, resume, retry and fork through the contract, and queues and workflows as a whole, on every kind of server."""

from __future__ import annotations

from typing import Any

import pytest

from redisflow.backend.redis_backend import RedisBackend
from redisflow.contract import Created, Extension, Mark, NewRun
from redisflow.contract.controls import ReleasePlan
from redisflow.contract.lifecycle import Paused, Resumed, Retried
from redisflow.durations import When
from redisflow.errors import BackendError, RecordGone
from redisflow.flow import RedisFlow
from redisflow.run_id import new_run_id
from redisflow.worker.releases import drive_releases
from tests.conformance.test_ending import UNFINISHED, every_state
from tests.conformance.world import T0, World

PLAN = ReleasePlan(release="r1", rate=10_000, stop_ratio=500, least=2)


@every_state
async def test_pause_and_resume_meet_a_run_in_any_state(world: World, state: str):
    world.at(T0)
    run_id = await UNFINISHED[state](world)
    calls = world.backend.lifecycle
    assert await world.twice(lambda: calls.pause_run(run_id)) == Paused(is_paused=True, status="waiting")
    assert (await world.batch()).claims == []
    resumed = await world.twice(lambda: calls.resume_run(run_id))
    assert resumed is not None
    assert resumed.goes_on
    world.later(60_001)
    assert (await world.claim()).hold.run_id == run_id


async def test_what_has_ended_or_is_not_stored_is_neither_paused_nor_retried(world: World):
    calls, missing = world.backend.lifecycle, new_run_id(0)
    claim = await world.running()
    await world.finish(claim)
    run_id = claim.hold.run_id
    assert await world.unchanged(lambda: calls.pause_run(run_id)) == Paused(is_paused=False, status="succeeded")
    assert await world.unchanged(lambda: calls.resume_run(run_id)) == Resumed(goes_on=False, status="succeeded")
    nothing = Extension(claim.mark, claim.mark, [])
    retried = await world.unchanged(lambda: calls.retry_run(run_id, nothing, retry=1, deadline=None))
    assert retried == Retried("already", "succeeded")
    assert await calls.pause_run(missing) is None
    assert await calls.resume_run(missing) is None
    assert await calls.retry_run(missing, nothing, retry=1, deadline=None) is None
    assert await calls.read_fields(missing) is None


async def test_a_failed_run_goes_on_where_it_failed(world: World):
    claim = await world.running()
    await world.finish(claim, b"\x00record", status="failed")
    mark = Mark(1, claim.mark.bytes + 7)
    more = Extension(mark, Mark(2, mark.bytes + 4), [b"moot"])
    calls, run_id = world.backend.lifecycle, claim.hold.run_id
    assert await calls.retry_run(run_id, Extension(claim.mark, claim.mark, []), retry=1, deadline=None) == Retried(
        "changed", "failed"
    )
    soon = When(60_000, relative=True)
    assert await world.twice(lambda: calls.retry_run(run_id, more, retry=1, deadline=soon)) == Retried("retried")
    again = await world.claim()
    assert (again.hold.run_id, again.records, again.mark) == (run_id, [b"\x00record", b"moot"], more.after)
    assert again.deadline_at_ms is not None


async def test_a_run_is_created_with_the_record_that_was_put_aside_for_it(world: World):
    records = [b"%d" % number * 200 for number in range(1100)]
    mark = Mark(len(records), sum(map(len, records)))
    fields: dict[str, Any] = {"a": 5, "f": "0:-", "h": str(mark)}
    new = NewRun(run_id=new_run_id(0), workflow="w", version=None, queue="default", input=b"\x01", fields=fields)
    with pytest.raises(RecordGone, match="nothing was stored"):
        await world.backend.create_run(new)
    assert await world.backend.lifecycle.stage_records(new.run_id, records) == mark
    await world.backend.lifecycle.stage_records(new.run_id, records)
    assert await world.twice(lambda: world.backend.create_run(new)) == Created(new.run_id, existing=False)
    assert world.raw("TTL", f"{world.prefix}run:{new.run_id}") == -1
    claim = await world.claim()
    assert (list(claim.records), claim.mark, claim.started_at_ms) == (records, Mark(mark.records, mark.bytes + 1), 5)


async def test_a_long_run_is_read_with_all_that_a_run_that_comes_from_it_takes_over(world: World):
    own = {"lk": "ab:3:0", "pr": "4", "fp": "cd", "sc": "nightly", "sa": 7}
    claim = await world.running(fields=own)
    await world.commit(claim, *[b"x" * 60_000] * 5)
    fields = await world.backend.lifecycle.read_fields(claim.hold.run_id)
    assert fields is not None
    assert {name: fields[name.encode()] for name in own} == {name: str(value).encode() for name, value in own.items()}


@pytest.mark.parametrize("control", ["q:default", "w:order"])
async def test_what_is_paused_is_not_claimed_until_it_is_resumed_or_let_go(world: World, control: str):
    world.at(T0)
    controls = world.backend.controls
    assert not await controls.release(0, control, PLAN)
    await world.twice(lambda: controls.pause(0, control))
    run_ids: list[str] = []
    for _ in range(4):
        run_ids.append(await world.create())
        world.later(1)
    assert (await world.batch()).claims == []
    now_ms = world.now_ms
    (row,) = await controls.list(0)
    assert (row.control, row.state, row.waiting, row.since_ms) == (control, "paused", 4, T0)
    assert await world.twice(lambda: controls.release(0, control, PLAN))
    world.later(200)
    await controls.drive(0, 100)
    claims = (await world.batch()).claims
    assert [claim.hold.run_id for claim in claims] == run_ids[:2]
    for claim in claims:
        await world.finish(claim, status="failed")
    assert (await controls.drive(0, 100)).failing == [(control, "r1")]
    (row,) = await controls.list(0)
    assert (row.state, row.failed, row.succeeded, row.stop_ratio, row.least) == ("releasing", 2, 0, 500, 2)
    await world.twice(lambda: controls.stop(0, control, "r1"))
    (row,) = await controls.list(0)
    assert (row.state, row.released, row.failed, row.stopped_at_ms) == ("stopped", 2, 2, now_ms + 200)
    await world.twice(lambda: controls.resume(0, control))
    driven = await controls.drive(0, 100)
    assert driven.next_in_ms is None
    assert [claim.hold.run_id for claim in (await world.batch()).claims] == run_ids[2:]
    assert await controls.list(0) == []


async def test_a_control_that_cannot_be_read_is_told_and_stops_no_timers(world: World):
    world.at(T0)
    controls = world.backend.controls
    await controls.pause(0, "w:order")
    for _ in range(4):
        await world.create()
    assert (await world.batch()).claims == []
    await controls.release(0, "w:order", PLAN)
    world.later(200)
    await controls.drive(0, 100)
    for claim in (await world.batch()).claims:
        await world.finish(claim, status="failed")
    world.raw("HSET", f"{world.prefix}control:w:order", "since", "noon")
    assert (await controls.drive(0, 100)).failing == [("w:order", "r1")]
    assert await drive_releases(world.backend, 0) is not None
    with pytest.raises(BackendError, match="control w:order is not as redisflow stores it"):
        await controls.list(0)


async def test_a_pause_and_a_release_are_of_all_partitions(server_url: str, namespace: str):
    backend = RedisBackend(server_url, namespace=namespace, partitions=4)
    await backend.open()
    try:
        async with RedisFlow(server_url, namespace=namespace) as flow:
            await flow.controls.pause(workflow="pay")
            for number in range(4):
                new = NewRun(run_id=new_run_id(number), workflow="pay", version=None, queue="default", input=b"\x01")
                await backend.create_run(new)
                assert (await backend.claim_runs(number, "w", "op", 10, ["default"])).claims == []
            await flow.controls.release(workflow="pay", rate=10, after=8)
            (control,) = await flow.controls.list()
            assert (control.state, control.waiting, control.rate) == ("releasing", 4, 10.0)
            await flow.controls.resume(workflow="pay")
            for number in range(4):
                assert (await backend.controls.drive(number, 100)).released == 1
                assert len((await backend.claim_runs(number, "w", "op2", 10, ["default"])).claims) == 1
            assert await flow.controls.list() == []
    finally:
        await backend.close()
