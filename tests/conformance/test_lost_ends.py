"""The end of a child that its parent has missed is found again by upkeep: nobody waits for ever."""

from __future__ import annotations

from redisflow.mail import decode_mail
from redisflow.run_id import new_run_id
from tests.conformance.world import World, extend


async def waiting_parent(world: World, *children: str) -> str:
    """A run that is parked for its children, none of whose ends has been told."""
    claim = await world.running()
    extension = extend(claim.mark, b"asked")
    extension.effects = [word for child in children for word in ("kid", child, "cancel")]
    parked = await world.backend.park_run(claim.hold, extension, reason="child", due_at_ms=None, seen=0, wants="\nc\n")
    assert parked.value == "ok"
    return claim.hold.run_id


async def ended_child(world: World, partition: int) -> str:
    """A run that has ended without telling anybody."""
    child = await world.create(run_id=new_run_id(partition), workflow="child", queue="children")
    claim = await world.claim(queues=["children"], partition=partition)
    await world.finish(claim)
    return child


async def look(world: World) -> None:
    while not (await world.backend.reconcile_runs(0)).done:
        pass
    while await world.backend.outbox.deliver(0):
        pass


async def test_an_end_that_was_lost_wakes_the_parent_once(wide_world: World):
    world = wide_world
    here, there = await ended_child(world, 0), await ended_child(world, 1)
    going_on = await world.create(run_id=new_run_id(1), workflow="child", queue="children")
    parent = await waiting_parent(world, here, there, going_on)
    await look(world)
    claim = await world.claim()
    assert claim.hold.run_id == parent
    assert {(mail.name, mail.status, mail.payload) for mail in claim.mail} == {
        (here, "succeeded", b"\x02"),
        (there, "succeeded", b"\x02"),
    }
    await look(world)
    batch = await world.backend.mail.read_mail(parent, 0)
    assert len(batch.mail) == 2, "each is told once"
    assert [kid.decode() for kid in world.raw("HKEYS", f"{world.prefix}kids:{parent}")] == [going_on]


async def test_a_verdict_that_was_lost_is_told_as_it_was_given(wide_world: World):
    world = wide_world
    child = await world.create(run_id=new_run_id(1), workflow="child", queue="children")
    await world.backend.cancel_run(child)
    parent = await waiting_parent(world, child)
    await look(world)
    claim = await world.claim()
    assert claim.hold.run_id == parent
    assert decode_mail(1, b"c\n" + child.encode() + b"\ncanceled\ncanceled\n") in claim.mail


async def test_a_child_that_is_not_stored_any_more_fails_in_its_parent(wide_world: World):
    world = wide_world
    here, there = await ended_child(world, 0), await ended_child(world, 1)
    going_on = await world.create(run_id=new_run_id(1), workflow="child", queue="children")
    parent = await waiting_parent(world, here, there, going_on)
    assert await world.backend.retention.delete_run(here) is None
    assert await world.backend.retention.delete_run(there) is None
    await look(world)
    claim = await world.claim()
    assert claim.hold.run_id == parent
    assert {(mail.name, mail.status, mail.cause) for mail in claim.mail} == {
        (here, "failed", "lost"),
        (there, "failed", "lost"),
    }


async def test_a_child_whose_end_is_under_way_is_not_lost_whatever_else_stands_in_its_outbox(wide_world: World):
    world = wide_world
    told, lost = await ended_child(world, 1), await ended_child(world, 1)
    parent = await waiting_parent(world, told, lost)
    outbox = f"{world.prefix_of(1)}outbox"
    end = f"c\n{told}\nsucceeded\n\n\x02"
    world.raw("XADD", outbox, "*", "do", "of a later version", "run", told)
    world.raw("XADD", outbox, "*", "do", "give_end", "run", parent, "child", told, "item", end)
    for child in (told, lost):
        assert await world.backend.retention.delete_run(child) is None
    await look(world)
    assert [(mail.name, mail.cause) for mail in (await world.claim()).mail] == [(lost, "lost")]
    while await world.backend.outbox.deliver(1):
        pass
    mail = (await world.backend.mail.read_mail(parent, 0)).mail
    assert [(each.name, each.status) for each in mail] == [(lost, "failed"), (told, "succeeded")]
    world.raw("DEL", outbox)


async def test_a_child_that_is_still_to_be_started_is_waited_for(wide_world: World):
    world = wide_world
    child = new_run_id(1)
    claim = await world.running()
    extension = extend(claim.mark, b"asked")
    extension.effects = ["kid", child, "cancel"]
    due_at_ms = world.now_ms + 3_600_000
    parked = await world.backend.park_run(
        claim.hold, extension, reason="retry", due_at_ms=due_at_ms, seen=0, wants="\nc\n"
    )
    assert parked.value == "ok"
    await look(world)
    assert not (await world.backend.mail.read_mail(claim.hold.run_id, 0)).mail
