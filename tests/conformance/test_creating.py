from __future__ import annotations

import asyncio

from redisflow.contract import Conflict, Created, Idempotency
from redisflow.durations import When
from redisflow.run_id import new_run_id
from tests.conformance.world import T0, World


async def test_a_new_run_is_pending_and_can_be_claimed(world: World):
    run_id = await world.create(version="v2", input=b"\xc4\x02in")
    assert await world.status(run_id) == "pending"
    claim = await world.claim()
    assert (claim.hold.run_id, claim.hold.queue, claim.workflow, claim.version) == (run_id, "default", "order", "v2")
    assert (claim.input, list(claim.records), claim.crashes) == (b"\xc4\x02in", [], 0)
    assert claim.created_at_ms <= claim.started_at_ms


async def test_creating_again_after_a_lost_reply_changes_nothing(world: World):
    new = world.new(deadline=When(60_000, relative=True))
    assert await world.twice(lambda: world.backend.create_run(new)) == Created(new.run_id, existing=False)


async def test_creating_again_does_not_bring_a_finished_run_back(world: World):
    new = world.new()
    await world.backend.create_run(new)
    await world.finish(await world.claim())
    assert await world.unchanged(lambda: world.backend.create_run(new)) == Created(new.run_id, existing=False)
    assert (await world.batch()).claims == []


async def test_a_run_goes_to_its_queue_only(world: World):
    await world.create(queue="mail")
    assert (await world.batch(queues=("default",))).claims == []
    assert (await world.claim(queues=("mail",))).hold.queue == "mail"


async def test_a_delayed_run_waits_for_its_start(world: World):
    world.at(T0)
    relative = await world.create(available=When(5_000, relative=True))
    absolute = await world.create(available=When(T0 + 7_000, relative=False))
    run = await world.backend.get_workflow_run(relative)
    assert run is not None
    assert (run.status, run.waiting_for) == ("waiting", "start")
    batch = await world.batch()
    assert (batch.claims, batch.next_due_in_ms) == ([], 5_000)
    world.later(5_000)
    assert (await world.claim()).hold.run_id == relative
    world.later(2_000)
    assert (await world.claim()).hold.run_id == absolute


async def test_a_start_in_the_past_is_now(world: World):
    world.at(T0)
    await world.create(available=When(T0 - 1, relative=False))
    assert len((await world.batch()).claims) == 1


async def test_an_idempotency_key_names_one_run_for_as_long_as_it_is_kept(world: World):
    first, again, other = world.new(), world.new(), world.new()

    def keyed(fingerprint: str) -> Idempotency:
        return Idempotency(key_hash="k1", fingerprint=fingerprint, keep_ms=60_000)

    create = world.backend.create_run
    assert await create(world.new(run_id=first.run_id, idempotency=keyed("a"))) == Created(first.run_id, existing=False)
    same = world.new(run_id=again.run_id, idempotency=keyed("a"))
    assert await world.twice(lambda: create(same)) == Created(first.run_id, existing=True)
    different = world.new(run_id=other.run_id, idempotency=keyed("b"))
    assert await world.unchanged(lambda: create(different)) == Conflict(first.run_id)
    await world.finish(await world.claim())
    assert await create(same) == Created(first.run_id, existing=True)
    world.raw("DEL", f"{world.prefix}idem:k1")  # what the server does when its time is over
    assert await create(different) == Created(other.run_id, existing=False)


async def test_many_starts_with_one_key_make_one_run(world: World):
    key = Idempotency(key_hash="k", fingerprint="f", keep_ms=60_000)
    runs = [world.new(run_id=new_run_id(0), idempotency=key) for _ in range(64)]
    made = await asyncio.gather(*(world.backend.create_run(run) for run in runs))
    assert {answer.run_id for answer in made} == {made[0].run_id}
    assert sum(isinstance(answer, Created) and not answer.existing for answer in made) == 1
    assert len((await world.batch()).claims) == 1


async def test_inputs_of_any_size_come_back_as_they_were(world: World):
    inputs = {await world.create(input=data): data for data in (b"", b"\x00\xff" * 30, b"x" * 65_537, b"y" * (1 << 20))}
    claims = (await world.batch()).claims
    assert {claim.hold.run_id: claim.input for claim in claims} == inputs
    assert [claim.hold.run_id for claim in claims] == list(inputs)
