from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from redisflow.contract import Beat, Upkeep, Verdict
from redisflow.durations import When
from redisflow.run_id import new_run_id
from tests.conformance.world import LEASE_MS, T0, World


async def _presence(world: World, worker: str, presence_ms: int = 60_000) -> None:
    await _renew(world, worker, [], presence_ms)


async def _renew(world: World, worker: str, claims: list, presence_ms: int = 60_000) -> list[str]:
    return list((await _beat(world, worker, claims, presence_ms)).lost)


async def _beat(world: World, worker: str, claims: list, presence_ms: int = 60_000) -> Beat:
    heartbeat = world.backend.open_heartbeat()
    try:
        holds = [claim.hold for claim in claims]
        return await asyncio.to_thread(heartbeat.renew, 0, worker, presence_ms, b"about", holds)
    finally:
        heartbeat.close()


async def _reclaim(world: World) -> Upkeep:
    total = Upkeep(done=False)
    while not total.done:
        step = await world.backend.reclaim_runs(0, "default", LEASE_MS, 3)
        total = Upkeep(
            done=step.done,
            reclaimed=total.reclaimed + step.reclaimed,
            poisoned=total.poisoned + step.poisoned,
            lost=total.lost + step.lost,
        )
    return total


async def test_a_lease_that_is_renewed_is_kept_and_one_that_is_over_is_not(world: World):
    live, dead = await world.running("w1"), await world.running("w2")
    world.age(live)
    world.age(dead)
    assert await _renew(world, "w1", [live]) == []
    assert await _reclaim(world) == Upkeep(done=True, reclaimed=1)
    assert (await world.claim("w3")).hold.run_id == dead.hold.run_id
    assert await world.finish(live) is Verdict.OK


async def test_a_heartbeat_tells_which_runs_are_no_longer_held(world: World):
    claims = [await world.running("w1") for _ in range(250)]
    gone = claims[7], claims[101], claims[249]
    for claim in gone:
        await world.backend.cancel_run(claim.hold.run_id)
    assert await _renew(world, "w1", claims) == [claim.hold.run_id for claim in gone]


async def test_a_heartbeat_goes_past_a_number_of_mail_that_is_none(world: World):
    damaged, other, gone = [await world.running("w1") for _ in range(3)]
    world.raw("HSET", f"{world.prefix}run:{damaged.hold.run_id}", "m", b"\xff some")
    world.raw("HSET", f"{world.prefix}run:{other.hold.run_id}", "m", "7")
    await world.backend.cancel_run(gone.hold.run_id)
    beat = await _beat(world, "w1", [damaged, other, gone])
    assert (list(beat.lost), dict(beat.mail)) == ([gone.hold.run_id], {other.hold.run_id: 7})


async def test_the_heartbeat_of_an_old_holder_takes_nothing_back(world: World):
    old = await world.running("w1")
    world.age(old)
    await _reclaim(world)
    new = await world.claim("w2")
    before = world.pending(world.stream("w"))
    assert await _renew(world, "w1", [old]) == [old.hold.run_id]
    assert world.pending(world.stream("w")) == before
    assert before[0][1] == b"w2"
    assert await world.finish(new) is Verdict.OK


async def test_a_hundred_heartbeats_count_no_delivery(world: World):
    claim = await world.running("w1")
    for _ in range(100):
        await _renew(world, "w1", [claim])
    assert [count for _, _, count in world.pending(world.stream("0"))] == [1]


async def test_one_dead_run_is_found_behind_two_thousand_live_ones(world: World):
    new = [world.new() for _ in range(2_001)]
    await asyncio.gather(*(world.backend.create_run(run) for run in new))
    claims = [claim for _ in range(21) for claim in (await world.batch()).claims]
    world.age(claims[-1])
    steps = 0
    while not (step := await world.backend.reclaim_runs(0, "default", LEASE_MS, 3)).done:
        steps += 1
        assert step.reclaimed == 0
    assert (step.reclaimed, steps) == (1, 20)
    assert (await world.claim("w2")).hold.run_id == claims[-1].hold.run_id


async def test_a_crash_counts_only_where_the_worker_is_gone_too(world: World):
    claim = await world.running("w1")
    for number in range(5):
        await _presence(world, f"w{number + 1}")
        world.age(claim)
        await _reclaim(world)
        claim = await world.claim(f"w{number + 2}")
        assert claim.crashes == 0
    world.age(claim)
    assert await _reclaim(world) == Upkeep(done=True, reclaimed=1)
    assert (await world.claim("w9")).crashes == 1


async def test_the_third_crash_in_a_row_is_the_last(world: World):
    claim = await world.running()
    for crashes in (1, 2):
        world.age(claim)
        assert await _reclaim(world) == Upkeep(done=True, reclaimed=1)
        claim = await world.claim()
        assert claim.crashes == crashes
    world.age(claim)
    assert await _reclaim(world) == Upkeep(done=True, poisoned=1)
    run = await world.backend.get_workflow_run(claim.hold.run_id)
    assert run is not None
    assert run.error is not None
    assert (run.status, run.error.error_type, run.crashes) == ("failed", "Poisoned", 3)
    assert await world.finish(claim) is Verdict.ENDED


async def test_a_record_ends_a_row_of_crashes(world: World):
    claim = await world.running()
    for number in range(6):
        world.age(claim)
        assert (await _reclaim(world)).reclaimed == 1
        claim = await world.claim()
        assert claim.crashes == 1
        assert await world.commit(claim, b"%d" % number, forget_crashes=True) is Verdict.OK
        # The commit made its record longer; the next claim brings it.


async def test_a_record_that_does_not_move_on_keeps_the_row(world: World):
    claim = await world.running()
    world.age(claim)
    await _reclaim(world)
    claim = await world.claim()
    await world.commit(claim, b"r", forget_crashes=False)
    world.age(claim)
    await _reclaim(world)
    assert (await world.claim()).crashes == 2


async def test_an_entry_that_was_deleted_while_pending_is_lost_and_rebuilt(world: World):
    claim = await world.running()
    world.raw("XDEL", world.stream("0"), claim.hold.entry[2:])
    pending = world.pending(world.stream("0"))
    if pending:  # some servers drop it from the pending list at once
        world.raw("XCLAIM", world.stream("0"), "workers", "w1", 0, claim.hold.entry[2:], "IDLE", LEASE_MS * 2, "JUSTID")
        await _reclaim(world)
    assert (await _reconcile(world)).lost == 1
    assert (await world.claim("w2")).hold.run_id == claim.hold.run_id
    assert world.pending(world.stream("0")) == []


async def _reconcile(world: World) -> Upkeep:
    lost = 0
    while not (step := await world.backend.reconcile_runs(0)).done:
        lost += step.lost
    return Upkeep(done=True, lost=lost + step.lost)


async def test_reconciling_what_is_whole_changes_nothing(world: World):
    world.at(T0)
    await world.create()
    await world.create(available=When(1_000, relative=True), deadline=When(60_000, relative=True))
    await world.suspend(await world.claim())
    await world.running(deadline=When(60_000, relative=True))
    claim = await world.running()
    await world.finish(claim)
    assert await world.unchanged(lambda: _reconcile(world)) == Upkeep(done=True)


@pytest.mark.parametrize("lost", ["delayed", "q:default:0", "q:default:w", "workflows-entry"])
async def test_every_run_ends_though_a_hint_was_lost(world: World, lost: str):
    world.at(T0)
    made = {await world.create() for _ in range(120)}
    parked, released, held = [await world.claim(limit=1) for _ in range(3)]
    await world.park(parked, due_at_ms=T0 + 1_000)
    await world.backend.release_run(released.hold)
    made.add(await world.create(available=When(500, relative=True)))
    if lost == "workflows-entry":
        world.raw("XDEL", world.stream("0"), held.hold.entry[2:])
    else:
        world.raw("DEL", f"{world.prefix}{lost}")
    await _reconcile(world)
    assert await _reconcile(world) == Upkeep(done=True)
    world.later(1_000)
    if lost not in ("q:default:0", "workflows-entry"):
        assert await world.finish(held) is Verdict.OK
    while claims := (await world.batch("w2")).claims:
        for claim in claims:
            assert await world.finish(claim) is Verdict.OK
    assert {await world.status(run_id) for run_id in made} == {"succeeded"}
    assert world.raw("ZCARD", f"{world.prefix}done:order:succeeded") == 121


async def test_only_empty_consumers_of_dead_workers_are_swept(world: World):
    held = await world.running("dead-with-run")
    await world.finish(await world.running("dead-and-empty"))
    await world.finish(await world.running("alive"))
    await _presence(world, "alive")
    assert await world.backend.sweep_workers(0, "default") >= 1
    names = {dict(zip(c[::2], c[1::2], strict=True))[b"name"] for c in _consumers(world)}
    assert names == {b"dead-with-run", b"alive"}
    world.age(held)
    assert (await _reclaim(world)).reclaimed == 1


def _consumers(world: World) -> list:
    return list(world.raw("XINFO", "CONSUMERS", world.stream("0"), "workers"))


async def test_a_worker_that_leaves_drops_nothing_that_it_still_holds(world: World):
    held = await world.running("w1")
    await _presence(world, "w1")
    await world.twice(lambda: world.backend.leave("w1", ["default", "never-used"]))
    assert len(world.pending(world.stream("0"))) == 1
    world.age(held)
    assert (await _reclaim(world)).reclaimed == 1
    assert (await world.claim("w2")).crashes == 1


async def test_a_worker_that_leaves_takes_its_empty_consumers_along(world: World):
    await world.finish(await world.running("w1"))
    await _presence(world, "w1")
    await world.backend.leave("w1", ["default"])
    assert _consumers(world) == []
    assert world.raw("ZSCORE", f"{world.prefix}workers", "w1") is None


async def test_who_holds_what_is_told(world: World):
    fleet = world.backend.fleet
    assert await fleet.list_held(9) == []
    first, second = await world.running("w1"), await world.running("w2")
    holder = await fleet.find_holder(first.hold.run_id)
    assert holder is not None
    assert (holder.run_id, holder.worker) == (first.hold.run_id, "w1")
    assert holder.idle < timedelta(minutes=1)
    assert [(each.worker, each.run_id) for each in await fleet.list_held(9)] == [
        ("w1", first.hold.run_id),
        ("w2", second.hold.run_id),
    ]
    await world.finish(first)
    assert await fleet.find_holder(first.hold.run_id) is None
    assert await fleet.find_holder(new_run_id(0)) is None
    assert [each.worker for each in await fleet.list_held(9)] == ["w2"]


async def test_one_worker_at_a_time_has_the_turn(world: World):
    turn = world.backend.take_turn
    assert await turn(0, "upkeep", "w1", 60_000) is True
    assert await turn(0, "upkeep", "w2", 60_000) is False
    assert await turn(0, "timers", "w2", 60_000) is True
    assert await turn(0, "upkeep", "w1", 60_000) is True
    world.raw("DEL", f"{world.prefix}turn:upkeep")  # what the server does when its time is over
    assert await turn(0, "upkeep", "w2", 60_000) is True


async def test_a_worker_learns_from_its_heartbeat_that_it_is_to_drain(world: World):
    fleet = world.backend.fleet
    assert not await fleet.drain_worker("w1")
    claim = await world.running("w1")
    assert await _beat(world, "w1", [claim]) == Beat([], {}, drain=False)
    assert await world.twice(lambda: fleet.drain_worker("w1"))
    assert await _beat(world, "w1", [claim]) == Beat([], {}, drain=True)
    assert await _beat(world, "w2", []) == Beat([], {}, drain=False)
    await world.finish(claim)
    await world.backend.leave("w1", ["default"])
    assert not await fleet.drain_worker("w1")
