"""The calls about events and state, on every kind of server."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from redisflow import codec
from redisflow.contract import EVENTS_KEPT, Claim, Emission, EventBatch, Extension, NewEvent, Saying, Verdict
from redisflow.run_id import new_run_id
from tests.conformance.world import T0, World, extend


def token(number: int) -> NewEvent:
    return NewEvent("token", codec.encode(number), "answer", 1)


def saying(claim: Claim, place: str, *events: str) -> Extension:
    after, _, count = place.partition(":")
    extension = extend(claim.mark)
    said = [("data", codec.encode(data)) for data in events]
    extension.saying = Saying((int(after), int(count)), said, {"phase": codec.encode(place)})
    return extension


async def read(world: World, run_id: str, after: str | None = None) -> EventBatch:
    batch = await world.backend.events.read_events(run_id, after)
    assert batch is not None
    return batch


async def test_what_bodies_and_code_say_is_read_in_the_order_in_which_it_was_said(world: World):
    world.at(T0)
    claim = await world.running()
    calls, hold = world.backend.events, claim.hold
    commit: dict[str, Any] = {"renew_for": None, "forget_crashes": False}
    assert await world.backend.commit_run(hold, saying(claim, "-1:1", "begin"), **commit) is Verdict.OK
    sent = await world.twice(
        lambda: calls.emit_events(hold.run_id, hold.fence, 1, [token(1), token(2)], {"n": b"\x02"})
    )
    assert sent is Emission.OK
    assert (
        await world.backend.finish_run(hold, saying(claim, "-1:2", "end"), status="succeeded", payload=b"\x02")
        is Verdict.OK
    )
    batch = await read(world, hold.run_id)
    assert [(codec.decode(e.data), e.kind, e.step, e.attempt) for e in batch.events] == [
        ("begin", "data", None, None),
        (1, "token", "answer", 1),
        (2, "token", "answer", 1),
        ("end", "data", None, None),
    ]
    assert (batch.more, batch.is_over, batch.has_gap) == (False, True, False)
    rest = await read(world, hold.run_id, batch.events[1].id)
    assert rest.events == batch.events[2:]
    assert await calls.read_state(hold.run_id) == {"n": b"\x02", "phase": codec.encode("-1:2")}


async def test_the_next_claim_knows_what_was_said(world: World):
    world.at(T0)
    claim = await world.running()
    assert claim.said == (-1, 0)
    park: dict[str, Any] = {"reason": "timer", "due_at_ms": T0 + 5}
    assert await world.backend.park_run(claim.hold, saying(claim, "-1:7", "a"), **park) is Verdict.OK
    world.later(5)
    claim = await world.claim()
    assert claim.said == (-1, 7)
    assert await world.backend.release_run(claim.hold) is Verdict.OK


async def test_a_large_run_knows_it_too(world: World):
    world.at(T0)
    claim = await world.running(input=codec.encode("x" * 300_000))
    park: dict[str, Any] = {"reason": "timer", "due_at_ms": T0 + 5}
    assert await world.backend.park_run(claim.hold, saying(claim, "-1:1", "a"), **park) is Verdict.OK
    world.later(5)
    assert (await world.claim()).said == (-1, 1)


async def test_who_does_not_hold_the_run_says_nothing(world: World):
    world.at(T0)
    claim = await world.running()
    calls, hold = world.backend.events, claim.hold
    other = replace(hold, fence="7:other")
    assert (
        await world.unchanged(lambda: calls.emit_events(other.run_id, other.fence, 1, [token(1)], {}))
        is Emission.FENCED
    )
    await world.backend.cancel_run(hold.run_id)
    assert (
        await world.unchanged(lambda: calls.emit_events(hold.run_id, hold.fence, 1, [token(1)], {})) is Emission.FENCED
    )


async def test_a_run_that_is_not_stored_has_no_events_and_one_that_says_nothing_has_none_yet(world: World):
    stranger = new_run_id(0)
    assert await world.backend.events.read_events(stranger, None) is None
    assert await world.backend.events.read_state(stranger) is None
    claim = await world.running()
    assert await read(world, claim.hold.run_id) == EventBatch([], more=False, is_over=False, has_gap=False)
    assert await world.backend.events.read_state(claim.hold.run_id) == {}


async def test_many_events_are_read_in_pieces_and_the_oldest_go(world: World):
    claim = await world.running()
    calls, hold = world.backend.events, claim.hold
    said = EVENTS_KEPT + 1_000
    for first in range(0, said, 500):
        tokens = [token(number) for number in range(first, first + 500)]
        await calls.emit_events(hold.run_id, hold.fence, first + 1, tokens, {})
    found: list[int] = []
    batch = await read(world, hold.run_id)
    assert batch.has_gap
    while True:
        found += [codec.decode(event.data) for event in batch.events]
        if not batch.more:
            break
        batch = await read(world, hold.run_id, batch.events[-1].id)
        assert not batch.has_gap
    assert found == list(range(found[0], said))
    assert EVENTS_KEPT <= len(found) < said


async def test_a_watcher_is_told_of_events_and_of_the_end(world: World):
    claim = await world.running()
    calls, hold = world.backend.events, claim.hold
    async with calls.watch_events(hold.run_id) as ticks, asyncio.timeout(30):
        await calls.emit_events(hold.run_id, hold.fence, 1, [token(1)], {})
        await anext(ticks)
        await world.backend.get_end(hold.run_id)
        await world.finish(claim)
        await anext(ticks)
