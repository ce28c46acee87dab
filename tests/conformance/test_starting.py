"""Starts under rules, through the contract, on every kind of server."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from typing import Any

import pytest

from redisflow.contract import (
    Active,
    Conflict,
    Created,
    DebounceRule,
    Idempotency,
    RunEnd,
    Started,
    StartRule,
    Throttled,
    ThrottleRule,
    UniqueRule,
    Verdict,
)
from redisflow.durations import When
from redisflow.run_id import new_run_id
from tests.conformance.world import T0, World, extend

Made = Started | Conflict | Active | Throttled


def unique(on_conflict: Any, key: str = "k") -> UniqueRule:
    return UniqueRule(key_hash=key, on_conflict=on_conflict)


DEBOUNCE = DebounceRule(key_hash="k", delay_ms=1_000, at_most_ms=3_000)


async def start(world: World, *rules: StartRule, **changes: Any) -> Made:
    return await world.backend.starts.start_run(world.new(**changes), rules)


async def start_twice(world: World, *rules: StartRule, **changes: Any) -> Made:
    new = world.new(**changes)
    return await world.twice(lambda: world.backend.starts.start_run(new, rules))


async def end_of(world: World, run_id: str) -> RunEnd:
    end = await world.backend.get_end(run_id)
    assert end is not None
    return end


@pytest.mark.parametrize("on_conflict", ["existing", "reject", "cancel_older"])
async def test_while_a_unique_run_is_active_there_is_no_other(world: World, on_conflict: str):
    rule = unique(on_conflict)
    first = await start_twice(world, rule)
    assert isinstance(first, Started)
    assert not first.existing
    claim = await world.claim()
    second = await start_twice(world, rule)
    match on_conflict:
        case "existing":
            assert second == Started(run_id=first.run_id, existing=True, available_at_ms=None)
        case "reject":
            assert second == Active(first.run_id)
        case _:
            assert isinstance(second, Started)
            assert (await end_of(world, first.run_id)).cause == "replaced"
            assert await world.finish(claim) is Verdict.ENDED
            claim = await world.claim()
    hold = claim.hold
    finish = extend(claim.mark)
    finish.effects = claim.end_effects
    assert await world.twice(lambda: world.backend.finish_run(hold, finish, status="failed", payload=b"")) is Verdict.OK
    third = await start_twice(world, rule)
    assert isinstance(third, Started)
    assert not third.existing


async def test_a_key_is_free_when_its_run_was_canceled(world: World):
    made = await start(world, unique("reject"))
    assert await start(world, unique("reject")) == Active(made.run_id)
    await world.backend.cancel_run(made.run_id)
    assert isinstance(await start(world, unique("reject")), Started)


async def test_of_64_starts_at_once_each_key_gets_one_active_run(world: World):
    keys = [f"key-{number}" for number in range(10)]

    async def one(key: str, on_conflict: str) -> None:
        new = world.new()
        made = await world.backend.starts.start_run(new, [unique(on_conflict, key)])
        assert isinstance(made, Started | Active)
        # Many starts travel in one call, and each hears of its own run.
        assert (made.run_id == new.run_id) == (isinstance(made, Started) and not made.existing)
        # Half of them are canceled in the midst of it.
        if isinstance(made, Started) and not made.existing and secrets.randbelow(2):
            await world.backend.cancel_run(made.run_id)

    policies = ["existing", "reject", "cancel_older"]
    await asyncio.gather(*(one(key, policies[number % 3]) for number in range(64) for key in keys))
    made = [await start(world, unique("existing", key)) for key in keys]
    active = Counter(world.field(claim.hold.run_id, "uq") for claim in (await world.batch(limit=1000)).claims)
    assert active == Counter(key.encode() for key in keys)
    assert len({answer.run_id for answer in made}) == len(keys)


async def test_debounced_starts_make_one_run_with_the_last_input(world: World):
    world.at(T0)
    first = await start_twice(world, DEBOUNCE, input=b"\x01")
    assert first == Started(run_id=first.run_id, existing=False, available_at_ms=T0 + 1_000)
    for number in (2, 3, 4):
        world.later(800)
        pushed = await start_twice(world, DEBOUNCE, input=bytes([number]))
        due = min(world.now_ms + 1_000, T0 + 3_000)
        assert pushed == Started(run_id=first.run_id, existing=True, available_at_ms=due)
    assert (await world.batch()).claims == []
    world.at(T0 + 3_000)
    claim = await world.claim()
    assert (claim.hold.run_id, claim.input, claim.mark.bytes) == (first.run_id, b"\x04", 1)
    assert not (await start(world, DEBOUNCE)).existing  # type: ignore[union-attr]  # it was started


async def test_a_large_input_may_replace_a_small_one(world: World):
    world.at(T0)
    first = await start(world, DEBOUNCE)
    await start_twice(world, DEBOUNCE, input=b"x" * 500_000)
    world.later(1_000)
    claim = await world.claim()
    assert (claim.hold.run_id, claim.input) == (first.run_id, b"x" * 500_000)


async def test_many_starts_at_once_are_debounced_into_one(world: World):
    made = await asyncio.gather(*(start(world, DEBOUNCE) for _ in range(64)))
    assert len({answer.run_id for answer in made}) == 1
    assert sum(isinstance(answer, Started) and not answer.existing for answer in made) == 1


@pytest.mark.parametrize("on_excess", ["delay", "existing", "reject"])
async def test_a_throttle_lets_so_many_start_in_any_window(world: World, on_excess: Any):
    world.at(T0)
    rule = ThrottleRule(key_hash="k", limit=2, per_ms=1_000, on_excess=on_excess)
    first, second, third, fourth = [await start_twice(world, rule) for _ in range(4)]
    assert [isinstance(made, Started) and made.available_at_ms for made in (first, second)] == [None, None]
    match on_excess:
        case "delay":
            assert third == Started(run_id=third.run_id, existing=False, available_at_ms=T0 + 1_000)
            assert fourth == Started(run_id=fourth.run_id, existing=False, available_at_ms=T0 + 1_000)
            assert len((await world.batch()).claims) == 2
            world.later(1_000)
            assert {c.hold.run_id for c in (await world.batch()).claims} == {third.run_id, fourth.run_id}
        case "existing":
            assert third == fourth == Started(run_id=second.run_id, existing=True, available_at_ms=None)
        case _:
            assert third == fourth == Throttled(second.run_id, T0 + 1_000)


async def test_64_starts_at_once_are_throttled_one_after_the_other(world: World):
    world.at(T0)
    rule = ThrottleRule(key_hash="k", limit=8, per_ms=1_000, on_excess="delay")
    made = await asyncio.gather(*(start(world, rule) for _ in range(64)))
    begins = Counter(answer.available_at_ms for answer in made if isinstance(answer, Started))
    assert begins == Counter({None if n == 0 else T0 + 1_000 * n: 8 for n in range(8)})


async def test_an_idempotency_key_with_another_input_is_a_conflict_here_too(world: World):
    def keyed(fingerprint: str) -> Idempotency:
        return Idempotency(key_hash="i", fingerprint=fingerprint, keep_ms=60_000)

    first = await start(world, unique("existing"), idempotency=keyed("a"))
    assert await start_twice(world, unique("existing"), idempotency=keyed("b")) == Conflict(first.run_id)
    assert await world.backend.create_run(world.new(idempotency=keyed("b"))) == Conflict(first.run_id)


async def test_a_run_that_is_not_taken_up_in_time_is_canceled_as_expired(world: World):
    world.at(T0)
    new = world.new(run_id=new_run_id(0), expires=When(1_000, relative=True))
    assert await world.twice(lambda: world.backend.create_run(new)) == Created(new.run_id, existing=False)
    taken = await world.create(expires=When(T0 + 1_000, relative=False), queue="other")
    claim = await world.claim(queues=("other",))
    world.later(1_000)
    assert await world.backend.wake_runs(0, 100) == (1, None)
    assert await end_of(world, new.run_id) == RunEnd("order", "canceled", None, None, "expired")
    run = await world.backend.get_workflow_run(new.run_id)
    assert run is not None
    assert run.expires_at is not None
    assert run.error is not None
    assert (await world.batch()).claims == []
    assert (claim.hold.run_id, await world.finish(claim)) == (taken, Verdict.OK)


async def test_the_end_of_a_run_races_with_starts_and_one_of_them_wins(world: World):
    rule = unique("existing")
    for _ in range(20):
        first = await start(world, rule)
        claim = await world.claim()
        finish = extend(claim.mark)
        finish.effects = claim.end_effects
        verdict = world.backend.finish_run(claim.hold, finish, status="succeeded", payload=b"\xc0")
        made = await asyncio.gather(*(start(world, rule) for _ in range(8)))
        assert await verdict is Verdict.OK
        others = {answer.run_id for answer in made} - {first.run_id}
        assert len(others) <= 1
        for run_id in others:
            await world.backend.cancel_run(run_id)
