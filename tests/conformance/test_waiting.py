from __future__ import annotations

import asyncio

import pytest

from redisflow.durations import When
from tests.conformance.world import T0, World


async def test_a_parked_run_is_woken_when_it_is_due_and_not_before(world: World):
    world.at(T0)
    claim = await world.running()
    await world.park(claim, b"asked", due_at_ms=T0 + 1_000)
    world.later(999)
    assert await world.backend.wake_runs(0, 100) == (0, 1)
    world.later(1)
    assert await world.backend.wake_runs(0, 100) == (1, None)
    assert await world.backend.wake_runs(0, 100) == (0, None)
    again = await world.claim()
    assert (list(again.records), again.hold.fence[:2], again.hold.entry[:2]) == ([b"asked"], "2:", "w:")


async def test_waking_is_bounded(world: World):
    world.at(T0)
    for _ in range(7):
        await world.create(available=When(1_000, relative=True))
    world.later(1_000)
    assert await world.backend.wake_runs(0, 5) == (5, 0)
    assert await world.backend.wake_runs(0, 5) == (2, None)
    assert len((await world.batch()).claims) == 7


async def test_a_woken_run_keeps_its_deadline(world: World):
    world.at(T0)
    claim = await world.running(deadline=When(5_000, relative=True))
    await world.park(claim, due_at_ms=T0 + 1_000)
    world.later(1_000)
    assert await world.backend.wake_runs(0, 100) == (1, 4_000)
    world.later(4_000)
    await world.backend.wake_runs(0, 100)
    assert await world.status(claim.hold.run_id) == "failed"


async def test_a_new_run_rings_the_bell_of_its_queue(world: World):
    wait = asyncio.ensure_future(world.backend.wait_bell(0, ["other", "default"], 10))
    await world.until_blocked(1)
    await world.create()
    assert await asyncio.wait_for(wait, 5) is True
    assert await world.backend.wait_bell(0, ["other", "default"], 0.05) is False


async def test_a_bell_that_rang_before_is_not_lost(world: World):
    await world.create()
    await world.create()
    assert await world.backend.wait_bell(0, ["default"], 5) is True
    assert await world.backend.wait_bell(0, ["default"], 0.05) is False


async def test_a_claim_that_leaves_work_rings_again(world: World):
    for _ in range(3):
        await world.create()
    assert await world.backend.wait_bell(0, ["default"], 5) is True
    await world.batch(limit=2)
    assert await world.backend.wait_bell(0, ["default"], 5) is True


@pytest.mark.parametrize("times", [1, 5])
async def test_a_wait_that_is_cancelled_loses_no_token(world: World, times: int):
    for _ in range(times):
        wait = asyncio.ensure_future(world.backend.wait_bell(0, ["default"], 10))
        await world.until_blocked(1)
        wait.cancel()
        await asyncio.wait([wait])
    await world.create()
    assert await asyncio.wait_for(world.backend.wait_bell(0, ["default"], 10), 8) is True


async def test_an_earlier_due_time_sounds_the_alarm_and_a_later_one_does_not(world: World):
    world.at(T0)
    await world.create(available=When(60_000, relative=True))
    assert await world.backend.wait_alarm(0, 5) is True
    await world.create(available=When(90_000, relative=True))
    assert await world.backend.wait_alarm(0, 0.05) is False
    wait = asyncio.ensure_future(world.backend.wait_alarm(0, 10))
    await world.until_blocked(1)
    await world.create(available=When(30_000, relative=True))
    assert await asyncio.wait_for(wait, 5) is True


async def test_a_stranded_run_is_offered_again_ever_more_seldom(world: World):
    world.at(T0)
    claim = await world.running()
    waits = []
    for _ in range(9):
        await world.strand(claim)
        _, due_in_ms = await world.backend.wake_runs(0, 100)
        assert due_in_ms is not None
        waits.append(due_in_ms)
        world.later(due_in_ms)
        claim = await world.claim()
        assert claim.crashes == 0
    assert waits == [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000]


async def test_a_suspended_run_shows_why_and_is_offered_again(world: World):
    from redisflow import codec
    from redisflow.failure import Failure

    world.at(T0)
    claim = await world.running()
    failure = Failure("NonDeterminismError", "the code asked for other steps", "")
    await world.suspend(claim, problem=codec.encode(failure.to_wire()))
    run = await world.backend.get_workflow_run(claim.hold.run_id)
    assert run is not None
    assert (run.waiting_for, run.error) == ("suspended", failure)
    assert await world.backend.wake_runs(0, 100) == (0, 5_000)
    world.later(5_000)
    assert await world.backend.wake_runs(0, 100) == (1, None)
    assert (await world.claim()).hold.run_id == claim.hold.run_id


async def test_new_code_is_offered_every_run_that_waits_for_it(world: World):
    for number in range(230):
        await world.create(workflow="order" if number else "other")
    claims = [claim for _ in range(3) for claim in (await world.batch()).claims]
    shelve = [world.suspend(claim) if number % 2 else world.strand(claim) for number, claim in enumerate(claims)]
    await asyncio.gather(*shelve)
    assert await world.backend.wake_stuck("order") == 229
    assert await world.backend.wake_stuck("order") == 0
    woken = [claim for _ in range(3) for claim in (await world.batch()).claims]
    assert {claim.hold.run_id for claim in woken} == {c.hold.run_id for c in claims if c.workflow == "order"}
    run = await world.backend.get_workflow_run(woken[0].hold.run_id)
    assert run is not None
    assert run.error is None


async def test_what_is_shelved_again_while_it_is_offered_is_not_offered_again(world: World):
    world.at(T0)
    claim = await world.running()
    await world.suspend(claim)
    assert await world.backend.wake_stuck("order") == 1
    world.later(1)
    await world.suspend(await world.claim())
    assert await world.backend.wake_stuck("order") == 1
