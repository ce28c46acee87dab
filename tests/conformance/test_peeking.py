"""What comes next in a queue, over all partitions."""

from __future__ import annotations

from redisflow.run_id import new_run_id
from tests.conformance.world import T0, World


async def test_the_next_runs_come_by_urgency_and_then_by_age(any_world: World) -> None:
    world, peek = any_world, any_world.backend.listings.peek_queue
    assert await peek("default", 10) == []
    world.at(T0)
    woken = (await world.running()).hold
    await world.backend.release_run(woken)
    partitions = [number % world.backend.partitions for number in range(4)]
    plain = [await world.create(run_id=new_run_id(partition)) for partition in partitions]
    urgent = await world.create(run_id=new_run_id(partitions[1]), fields={"pr": "5"})
    before = world.snapshot()
    peeked = await peek("default", 10)
    assert world.snapshot() == before
    assert [each.run.id for each in peeked[:2]] == [woken.run_id, urgent]
    assert {each.run.id for each in peeked[2:]} == set(plain)
    assert [each.priority for each in peeked] == [None, 5, 0, 0, 0, 0]
    came = [each.queued_at for each in peeked]
    assert came[2:] == sorted(came[2:])
    assert [each.run.id for each in await peek("default", 3)] == [each.run.id for each in peeked[:3]]


async def test_what_a_worker_holds_is_not_next(world: World) -> None:
    claim = await world.running()
    assert await world.backend.listings.peek_queue("default", 10) == []
    waiting = await world.create()
    assert [each.run.id for each in await world.backend.listings.peek_queue("default", 10)] == [waiting]
    await world.finish(claim)
