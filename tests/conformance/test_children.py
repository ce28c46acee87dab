"""Children through the contract, beside their parent and in another partition: told once, canceled once, never lost."""

from __future__ import annotations

import asyncio

import pytest

from redisflow.contract import Claim, Extension, NewRun, Saying, Verdict
from redisflow.errors import BackendError
from redisflow.run_id import new_run_id, partition_of
from tests.conformance.world import World, extend


async def claim(world: World, run_id: str) -> Claim:
    found = await world.batch(partition=partition_of(run_id))
    return next(claim for claim in found.claims if claim.hold.run_id == run_id)


def doing(claim: Claim, *effects: str, records: tuple[bytes, ...] = ()) -> Extension:
    extension = extend(claim.mark, *records)
    return Extension(extension.before, extension.after, extension.records, effects)


async def parent_of(world: World, *children: str, policy: str = "cancel") -> str:
    """A parent, parked until these have ended."""
    run_id = await world.create(run_id=new_run_id(0))
    held = await claim(world, run_id)
    effects = [part for child in children for part in ("kid", child, policy)]
    parked = await world.backend.park_run(
        held.hold, doing(held, *effects, records=(b"asked",)), reason="child", due_at_ms=None, seen=0, wants="\nc\n"
    )
    assert parked is Verdict.OK
    return run_id


async def child_of(world: World, run_id: str, parent: str) -> Claim:
    await world.create(run_id=run_id, parent=parent)
    held = await claim(world, run_id)
    assert held.parent == parent
    return held


async def finish(world: World, child: Claim, parent: str) -> None:
    answer = await world.backend.finish_run(
        child.hold, doing(child, "tell", parent), status="succeeded", payload=b"\x07"
    )
    assert answer is Verdict.OK


async def told(world: World, run_id: str) -> list[tuple[str, str, str]]:
    return [(item.name, item.status, item.cause) for item in (await world.backend.mail.read_mail(run_id, 0)).mail]


def elsewhere(world: World) -> str:
    """A run id as far from partition 0 as this world is wide."""
    return new_run_id(world.backend.partitions - 1)


async def deliver_all(world: World) -> None:
    for partition in range(world.backend.partitions):
        while await world.backend.outbox.deliver(partition):
            pass
        assert not world.raw("EXISTS", f"{world.prefix_of(partition)}outbox")


async def test_the_end_of_a_child_reaches_its_parent_and_wakes_it_wherever_it_lives(any_world: World):
    world, child_id = any_world, elsewhere(any_world)
    parent = await parent_of(world, child_id)
    child = await child_of(world, child_id, parent)
    await finish(world, child, parent)
    await deliver_all(world)
    assert await told(world, parent) == [(child_id, "succeeded", "")]
    assert await world.status(parent) == "pending"
    assert (await claim(world, parent)).mail_count == 1


async def test_what_was_posted_is_carried_out_by_two_at_once_and_again_after_a_crash_and_counts_once(wide_world: World):
    world, child_id = wide_world, elsewhere(wide_world)
    parent = await parent_of(world, child_id)
    await finish(world, await child_of(world, child_id, parent), parent)
    outbox = f"{world.prefix_of(3)}outbox"
    ((_, fields),) = world.raw("XRANGE", outbox, "-", "+")
    await asyncio.gather(world.backend.outbox.deliver(3), world.backend.outbox.deliver(3))
    # Somebody had carried it out, and died before it was taken out.
    world.raw("XADD", outbox, "*", *fields)
    before = {key: value for key, value in world.snapshot().items() if key != outbox}
    await deliver_all(world)
    assert world.snapshot() == before
    assert await told(world, parent) == [(child_id, "succeeded", "")]


async def test_children_of_a_parent_that_ends_are_canceled_or_left_wherever_they_live(any_world: World):
    world = any_world
    doomed = [new_run_id(at % world.backend.partitions) for at in range(6)]
    left, late = elsewhere(world), elsewhere(world)
    parent = await parent_of(world, *doomed, late)
    for run_id in doomed:
        await world.create(run_id=run_id, parent=parent)
    await world.create(run_id=left)
    await world.backend.cancel_run(parent)
    await deliver_all(world)
    assert [await world.status(run_id) for run_id in doomed] == ["canceled"] * 6
    assert await world.status(left) == "pending"
    # The order of the last one comes only now: it is answered as if it had been created, and is not.
    await world.backend.create_run(world.new(run_id=late, parent=parent))
    assert await world.backend.get_end(late) is None
    assert not world.raw("EXISTS", f"{world.prefix}kids:{parent}")


async def test_children_that_are_to_be_left_live_on(any_world: World):
    world, child_id = any_world, elsewhere(any_world)
    parent = await parent_of(world, child_id, policy="leave")
    await world.create(run_id=child_id, parent=parent)
    await world.backend.cancel_run(parent)
    await deliver_all(world)
    assert await world.status(child_id) == "pending"
    await finish(world, await claim(world, child_id), parent)
    await deliver_all(world)
    assert await told(world, parent) == []


async def test_a_parent_leaves_hundreds_of_children_which_end_piece_by_piece(wide_world: World):
    world = wide_world
    children = [new_run_id(number % 4) for number in range(450)]
    parent = await parent_of(world, *children)
    news = [world.new(run_id=run_id, parent=parent) for run_id in children]
    await asyncio.gather(*(create(world, new) for new in news))
    await world.backend.cancel_run(parent)
    await deliver_all(world)
    assert {await world.status(run_id) for run_id in children} == {"canceled"}


async def create(world: World, new: NewRun) -> None:
    await world.backend.create_run(new)


async def test_an_entry_that_cannot_be_carried_out_holds_up_no_other(wide_world: World):
    world, child_id = wide_world, elsewhere(wide_world)
    outbox = f"{world.prefix_of(3)}outbox"
    # One of a later version, one for a partition that there is not, and more of them than are read at once.
    world.raw("XADD", outbox, "*", "do", "sing", "run", child_id)
    for _ in range(150):
        world.raw("XADD", outbox, "*", "do", "cancel", "run", new_run_id(9))
    parent = await parent_of(world, child_id)
    await finish(world, await child_of(world, child_id, parent), parent)
    looks = 1
    while await world.backend.outbox.deliver(3):
        looks += 1
    assert looks == 4, "152 entries, 50 at once; what is left is looked at again later"
    assert await told(world, parent) == [(child_id, "succeeded", "")]
    assert world.raw("XLEN", outbox) == 151


async def test_a_parent_is_not_told_of_an_end_that_is_refused_because_its_words_cannot_be_written(world: World):
    child_id = new_run_id(0)
    parent = await parent_of(world, child_id)
    child = await child_of(world, child_id, parent)
    extension = doing(child, "tell", parent)
    extension.saying = Saying((-1, 1), [("data", b"\x01")], {})
    events = f"{world.prefix_of(0)}events:{child_id}"
    world.raw("SET", events, "of another type")
    with pytest.raises(BackendError, match="broken"):
        await world.backend.finish_run(child.hold, extension, status="succeeded", payload=b"\x07")
    assert await told(world, parent) == []
    world.raw("DEL", events)
    answer = await world.backend.finish_run(child.hold, extension, status="succeeded", payload=b"\x07")
    assert (answer, await told(world, parent)) == (Verdict.OK, [(child_id, "succeeded", "")])
