"""Broadcasts through the contract, in one partition and in four: everybody once, whoever carries them out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import pytest

from redisflow.backend.broadcasts import LATE_MS, Broadcasts
from redisflow.backend.outbox import Outbox
from redisflow.backend.scripts import load_scripts
from redisflow.contract import Claim, Extension, Reached, Verdict
from redisflow.mail import encode_signal, hash_signal_name, signal_address
from redisflow.run_id import new_run_id, partition_for_key
from tests.conformance.world import World, extend

GO = hash_signal_name("go")
HOME = partition_for_key("go", 4)
DAY_MS = 86_400_000


async def running(world: World, partition: int = 0) -> Claim:
    run_id = await world.create(run_id=new_run_id(partition))
    return next(c for c in (await world.batch(partition=partition)).claims if c.hold.run_id == run_id)


async def park(world: World, claim: Claim) -> Verdict:
    extension = extend(claim.mark, b"asked")
    waits = Extension(extension.before, extension.after, extension.records, ["wait", GO])
    return await world.backend.park_run(
        claim.hold, waits, reason="signal", due_at_ms=None, seen=claim.mail_count, wants="\ns:go\n"
    )


async def parked(world: World, partition: int = 0) -> str:
    claim = await running(world, partition)
    assert await park(world, claim) is Verdict.OK
    return claim.hold.run_id


async def send(world: World, once: str = "once", **changes: Any) -> Reached | None:
    wanted = {"keep_ms": 60_000, "retain_ms": None, **changes}
    return await world.backend.broadcasts.send("go", b"\x07", once=once, **wanted)


async def mail(world: World, run_id: str) -> list[bytes]:
    return [item.payload for item in (await world.backend.mail.read_mail(run_id, 0)).mail]


def run(world: World, name: str, partition: int, **arguments: Any) -> list[Any]:
    """One script of a broadcast alone, as its sender calls it."""
    told = {"name": signal_address("go"), "hash": GO, "item": encode_signal("go", b"\x07"), "once": "once"}
    script = load_scripts("test", shebang=False).by_name[name]
    command = script.call(world.prefix_of(partition), **told, **arguments, ms=60_000, most=1_000)
    reply: list[Any] = world.raw("EVAL", script.text, *command[2:])
    return reply


def outboxes(world: World) -> int:
    return sum(world.raw("EXISTS", f"{world.prefix_of(at)}outbox") for at in range(world.backend.partitions))


async def test_all_who_wait_are_reached_in_every_partition_and_nothing_is_left_to_do(any_world: World):
    world = any_world
    waiting = [await parked(world, at % world.backend.partitions) for at in range(8)]
    reached = await world.twice(lambda: send(world))
    assert reached is not None
    assert (sorted(reached.run_ids), reached.count) == (sorted(waiting), 8)
    assert [await mail(world, run_id) for run_id in waiting] == [[b"\x07"]] * 8
    assert {await world.status(run_id) for run_id in waiting} == {"pending"}
    assert outboxes(world) == 0


async def test_nobody_waits_and_nobody_is_reached(any_world: World):
    assert await send(any_world) == Reached([], 0)


async def test_more_than_one_piece_holds_is_carried_out_to_the_end(any_world: World):
    world = any_world
    for _ in range(250):
        await world.create()
    claims = [claim for _ in range(3) for claim in (await world.batch()).claims]
    assert {await park(world, claim) for claim in claims} == {Verdict.OK}
    reached = await send(world)
    assert reached is not None
    assert sorted(reached.run_ids) == sorted(claim.hold.run_id for claim in claims)
    again = await send(world)
    assert again is not None
    assert sorted(again.run_ids) == sorted(reached.run_ids)
    assert len(await mail(world, claims[0].hold.run_id)) == 1
    assert outboxes(world) == 0


async def test_what_a_sender_that_died_left_is_carried_out_by_whoever_looks_and_not_twice(wide_world: World):
    world = wide_world
    waiting = [await parked(world, at) for at in range(4)]
    until_ms = run(world, "send_signal", HOME, retain=600_000, elsewhere="yes")[2]
    assert [await mail(world, run_id) != [] for run_id in waiting] == [at == HOME for at in range(4)]
    # It had come to one more partition before it died; then two workers carry out the rest at the same time.
    run(world, "carry_signal", (HOME + 1) % 4, until_ms=until_ms, after=0)
    assert outboxes(world) == 1
    await asyncio.gather(world.backend.outbox.deliver(HOME), world.backend.outbox.deliver(HOME))
    assert [await mail(world, run_id) for run_id in waiting] == [[b"\x07"]] * 4
    assert outboxes(world) == 0
    late = await running(world, (HOME + 2) % 4)
    assert await park(world, late) is Verdict.MAIL
    assert await mail(world, late.hold.run_id) == [b"\x07"]
    # Its sender lives after all, and comes with it again.
    reached = await send(world, retain_ms=600_000)
    assert reached is not None
    assert sorted(reached.run_ids) == sorted(waiting)
    assert [await mail(world, run_id) for run_id in waiting] == [[b"\x07"]] * 4


async def test_while_it_is_in_the_outbox_every_partition_knows_it_for_a_week(
    wide_world: World,
):
    world = wide_world
    waiting = [await parked(world, at) for at in range(4)]
    run(world, "send_signal", HOME, retain="", elsewhere="yes")
    # A worker carries it out, and dies before it has taken it out of the outbox.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            await outbox_that_is_never_cleared(world).deliver(HOME)
    assert [await mail(world, run_id) for run_id in waiting] == [[b"\x07"]] * 4
    assert outboxes(world) == 1
    assert min(known_for_ms(world)) > 6 * DAY_MS
    await world.backend.outbox.deliver(HOME)
    assert outboxes(world) == 0
    assert max(known_for_ms(world)) <= LATE_MS
    assert [await mail(world, run_id) for run_id in waiting] == [[b"\x07"]] * 4


def known_for_ms(world: World) -> list[int]:
    return [world.raw("PTTL", f"{world.prefix_of(at)}cast:once") for at in range(4)]


def outbox_that_is_never_cleared(world: World) -> Outbox:
    backend, prefixes = world.backend, [world.prefix_of(at) for at in range(4)]
    transport: Any = Unanswered(backend._transport, backend._scripts.clear_outbox.sha)
    broadcasts = Broadcasts(transport, backend._scripts, backend._patience, prefixes)
    return Outbox(transport, backend._scripts, prefixes, backend._prefix_of, broadcasts)


class Unanswered:
    """A transport that never answers one script."""

    def __init__(self, transport: Any, sha: str) -> None:
        self._transport = transport
        self._sha = sha

    def send(self, prefix: str, command: Sequence[Any], *what: Any, **how: Any) -> asyncio.Future[Any]:
        if command[1] == self._sha:
            return asyncio.get_running_loop().create_future()
        future: asyncio.Future[Any] = self._transport.send(prefix, command, *what, **how)
        return future


@pytest.mark.parametrize("order", ["sent first", "parked first"])
@pytest.mark.parametrize("retain_ms", [None, 600_000])
async def test_a_broadcast_and_a_run_that_is_being_parked_meet_in_either_order(
    any_world: World, order: str, retain_ms: int | None
):
    world = any_world
    claim = await running(world)
    run_id = claim.hold.run_id
    if order == "parked first":
        assert await park(world, claim) is Verdict.OK
        reached = await send(world, retain_ms=retain_ms)
        assert reached is not None
        assert (reached.run_ids, await world.status(run_id)) == ([run_id], "pending")
        assert await mail(world, run_id) == [b"\x07"]
        return
    assert await send(world, retain_ms=retain_ms) == Reached([], 0)
    # What is kept is given to it, so it is not parked; else it was sent before anybody waited.
    assert await park(world, claim) is (Verdict.OK if retain_ms is None else Verdict.MAIL)
    assert await mail(world, run_id) == ([] if retain_ms is None else [b"\x07"])
    assert await world.status(run_id) == ("waiting" if retain_ms is None else "running")


async def test_a_claim_says_for_which_signals_the_run_is_registered(world: World):
    run_id = await parked(world)
    await send(world)
    claim = await world.claim()
    assert (claim.hold.run_id, list(claim.waits), claim.mail_count) == (run_id, [GO], 1)


async def test_more_than_can_be_retained_is_refused(any_world: World):
    for number in range(100):
        assert await send(any_world, f"{number}", retain_ms=600_000) is not None
    before = any_world.snapshot()
    assert await send(any_world, "one too many", retain_ms=600_000) is None
    assert any_world.snapshot() == before
    any_world.at(4_000_000_000_000)
    assert await send(any_world, "later", retain_ms=600_000) is not None
