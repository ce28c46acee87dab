"""What is posted to an outbox reaches the runs that it is for, and what cannot be carried out keeps nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from redisflow.backend import outbox as outbox_module
from redisflow.backend.outbox import Outbox
from redisflow.backend.redis_backend import RedisBackend
from redisflow.run_id import new_run_id
from tests.conformance.world import T0, World, extend


@pytest.fixture
async def two(server_url: str, namespace: str) -> AsyncIterator[World]:
    """Return a namespace of two partitions."""
    backend = RedisBackend(server_url, namespace=namespace, partitions=2, clock="test")
    await backend.open()
    world = World(backend, server_url)
    world.at(T0)
    yield world
    world.raw("DEL", *world.keys(), f"{world.prefix_of(0)}clock", f"{world.prefix_of(1)}clock")
    world.close()
    await backend.close()


class Away:
    """A transport to servers one of which does not answer."""

    def __init__(self, transport: Any, prefix: str) -> None:
        self._transport = transport
        self._prefix = prefix

    def send(self, prefix: str, *what: Any, **how: Any) -> asyncio.Future[Any]:
        if prefix == self._prefix:
            return asyncio.get_running_loop().create_future()
        future: asyncio.Future[Any] = self._transport.send(prefix, *what, **how)
        return future


def post(world: World, verb: str, run_id: str) -> None:
    world.raw("XADD", f"{world.prefix}outbox", "*", "do", verb, "run", run_id)


def left(world: World) -> int:
    return int(world.raw("XLEN", f"{world.prefix}outbox"))


async def deliver_all(outbox: Outbox) -> None:
    while await outbox.deliver(0):
        pass


async def test_many_entries_of_a_later_version_do_not_keep_the_others_waiting(two: World):
    for _ in range(60):
        post(two, "of a later version", new_run_id(0))
    run_id = await two.create(run_id=new_run_id(1))
    post(two, "cancel", run_id)
    await deliver_all(two.backend.outbox)
    assert (await two.status(run_id), left(two)) == ("canceled", 60)
    # The way begins anew: an entry that comes later is seen as well.
    other = await two.create(run_id=new_run_id(1))
    post(two, "cancel", other)
    await deliver_all(two.backend.outbox)
    assert (await two.status(other), left(two)) == ("canceled", 60)


async def test_a_partition_that_is_away_keeps_neither_the_others_nor_the_watcher(
    two: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(outbox_module, "PATIENCE_S", 0.05, raising=False)
    backend = two.backend
    here, there = await two.create(run_id=new_run_id(0)), await two.create(run_id=new_run_id(1))
    post(two, "cancel", there)
    post(two, "cancel", here)
    prefixes = [two.prefix_of(0), two.prefix_of(1)]
    away = Away(backend._transport, prefixes[1])
    outbox = Outbox(away, backend._scripts, prefixes, backend._prefix_of, backend._broadcasts)  # type: ignore[arg-type]  # a server away
    async with asyncio.timeout(5):
        await deliver_all(outbox)
    assert [await two.status(run_id) for run_id in (here, there)] == ["canceled", "pending"]
    assert left(two) == 1
    await deliver_all(backend.outbox)
    assert (await two.status(there), left(two)) == ("canceled", 0)


async def test_a_run_is_lent_the_slot_of_a_limit_that_is_decided_elsewhere(two: World):
    first, second = [await two.create(run_id=new_run_id(1), fields={"lk": "aa:1:0@0"}) for _ in range(2)]
    assert (await two.batch(partition=1)).claims == []
    await deliver_everywhere(two)
    held = (await two.batch(partition=1)).claims[0]
    assert held.hold.run_id == first
    assert [await two.status(run_id) for run_id in (first, second)] == ["running", "waiting"]
    extension = extend(held.mark)
    extension.effects = ("free",)
    await two.backend.finish_run(held.hold, extension, status="succeeded", payload=b"")
    await deliver_everywhere(two)
    other = (await two.batch(partition=1)).claims[0]
    assert other.hold.run_id == second
    await two.backend.cancel_run(second)
    await deliver_everywhere(two)
    left_behind = (*two.keys(),)
    assert not [key for key in left_behind if any(part in key for part in ("limit:", "blocked:", "outbox"))]


async def test_a_word_to_a_partition_that_does_not_exist_keeps_no_other_waiting(two: World):
    run_id = await two.create(run_id=new_run_id(1))
    damaged = {"do": "return_permit", "run": run_id, "to": "9", "hash": "aa", "permit": f"{run_id}/1:1:0"}
    two.raw("XADD", f"{two.prefix}outbox", "*", *(part for item in damaged.items() for part in item))
    post(two, "cancel", run_id)
    await two.backend.outbox.deliver(0)
    assert (await two.status(run_id), left(two)) == ("canceled", 1)


DAMAGED: dict[str, dict[str, Any]] = {
    "for what is no run": {"do": "cancel", "run": "nobody"},
    "for what is no text": {"do": "cancel", "run": b"\xff"},
    "for nobody": {"do": "cancel"},
    "without its child": {"do": "give_end", "run": new_run_id(1), "item": "a secret"},
    "without what to do": {"run": new_run_id(1)},
    "to no number": {"do": "return_permit", "run": new_run_id(1), "to": "x", "hash": "aa", "permit": "a"},
    "a broadcast without its name": {"do": "broadcast", "item": "a secret", "ms": "1"},
}


@pytest.mark.parametrize("what", DAMAGED)
async def test_an_entry_that_cannot_be_read_is_told_once_left_and_keeps_no_other_waiting(
    two: World, caplog: pytest.LogCaptureFixture, what: str
):
    outbox = f"{two.prefix}outbox"
    entry = two.raw("XADD", outbox, "*", *(part for item in DAMAGED[what].items() for part in item))
    for _ in range(3):
        run_id = await two.create(run_id=new_run_id(1))
        post(two, "cancel", run_id)
        await deliver_all(two.backend.outbox)
        assert await two.status(run_id) == "canceled"
    assert [name for name, _ in two.raw("XRANGE", outbox, "-", "+")] == [entry]
    (told,) = [record.getMessage() for record in caplog.records if "outbox" in record.getMessage()]
    assert f"cannot be read, and is left (entry {entry.decode()} of {outbox})" in told
    assert "secret" not in told


async def test_a_word_to_a_partition_before_the_first_reaches_none(two: World):
    damaged = {"do": "return_permit", "run": new_run_id(1), "to": "-1", "hash": "aa", "permit": "a"}
    two.raw("XADD", f"{two.prefix}outbox", "*", *(part for item in damaged.items() for part in item))
    await two.backend.outbox.deliver(0)
    assert left(two) == 1


async def deliver_everywhere(world: World) -> None:
    """Until nothing is on its way any more."""
    while any(world.raw("XLEN", f"{world.prefix_of(partition)}outbox") for partition in range(2)):
        for partition in range(2):
            await world.backend.outbox.deliver(partition)
