"""Limits, lanes and fair keys through the contract, on each kind of server."""

from __future__ import annotations

import pytest

from redisflow.contract import Claim, Extension
from tests.conformance.world import LEASE_MS, T0, World, extend

ONE = {"lk": "aa:1:0"}


def freeing(claim: Claim) -> Extension:
    extension = extend(claim.mark)
    extension.effects = ("free",)
    return extension


@pytest.fixture(autouse=True)
def _clock(world: World) -> None:
    world.at(T0 + 1)


async def test_a_claim_says_that_its_run_holds_slots(world: World):
    limited = await world.running(fields=ONE)
    plain = await world.running()
    large = await world.running(input=b"\x01" * 300_000, fields={"lk": "bb:1:0"})
    assert [claim.is_limited for claim in (limited, plain, large)] == [True, False, True]


async def test_finishing_and_parking_let_the_next_run_go_on(world: World):
    first = await world.running(fields=ONE)
    second, third = await world.create(fields=ONE), await world.create(fields=ONE)
    assert (await world.batch()).claims == []
    assert [await world.status(run_id) for run_id in (second, third)] == ["waiting", "waiting"]
    run = await world.backend.get_workflow_run(second)
    assert run is not None
    assert run.waiting_for == "limited"

    await world.twice(
        lambda: _awaited(world.backend.finish_run(first.hold, freeing(first), status="succeeded", payload=b"\x02"))
    )
    claim = await world.claim()
    parked = freeing(claim)
    await world.twice(
        lambda: _awaited(world.backend.park_run(claim.hold, parked, reason="timer", due_at_ms=T0 + 60_000))
    )
    assert {(await world.claim()).hold.run_id, claim.hold.run_id} == {second, third}


async def test_a_rate_wakes_by_the_clock_of_the_server(world: World):
    for _ in range(3):
        await world.create(fields={"lk": "cc:1:1000"})
    assert len((await world.batch()).claims) == 1
    assert await world.backend.wake_runs(0, 100) == (0, 1000)
    world.later(999)
    assert (await world.batch()).claims == []
    world.later(1)
    assert len((await world.batch()).claims) == 1


async def test_upkeep_knows_the_lanes_of_every_priority(world: World):
    claim = await world.running(fields={"pr": "7"})
    world.age(claim, LEASE_MS + 1)
    assert (await world.backend.reclaim_runs(0, "default", LEASE_MS, 3)).reclaimed == 1
    again = await world.claim("w2")
    assert again.hold.run_id == claim.hold.run_id
    assert await world.backend.sweep_workers(0, "default") >= 1
    assert world.pending(world.stream("7")) == []


async def test_runs_of_two_fair_keys_take_turns(world: World):
    many = [await world.create(fields={"fp": "aa"}) for _ in range(30)]
    few = await world.create(fields={"fp": "bb"})
    order = [claim.hold.run_id for claim in (await world.batch(limit=10)).claims]
    assert order[:5] == [*many[:4], few]
    assert len(order) == 10
    rest = [claim.hold.run_id for claim in (await world.batch(limit=100)).claims]
    assert set(order + rest) == {*many, few}


async def _awaited(answer: object) -> object:
    return await answer  # type: ignore[misc]  # an Answer is awaited, and is no coroutine
