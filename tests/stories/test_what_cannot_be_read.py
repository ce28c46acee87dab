"""One thing that cannot be read, damaged or of a later version, stops neither its worker nor its neighbours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from redisflow import BackendError, RedisFlow, Rule, Step, codec
from redisflow.mail import encode_signal
from redisflow.run_id import new_run_id
from redisflow.worker.retention import RetentionService
from redisflow.worker.stranded import StrandedAlarm
from redisflow.worker.upkeep import UpkeepService
from tests.keyspace import Raw, prefix_of, raw_calls
from tests.stories.world import eventually, until

LATER = b"z\nsomething new\npayload"


@pytest.fixture
def raw(server_url: str) -> Iterator[Raw]:
    """Return bare commands to the server."""
    call, close = raw_calls(server_url)
    yield call
    close()


@pytest.fixture
def prefix(namespace: str, one_partition: None) -> str:
    """How the keys of the only partition begin."""
    return prefix_of(namespace)


def damage_mail(raw: Raw, prefix: str, run_id: str, how: str) -> None:
    """Of a run that has one item there."""
    mailbox = f"{prefix}mail:{run_id}"
    match how:
        case "of a later version":
            raw("HSET", mailbox, "1", LATER)
        case "damaged":
            raw("HSET", mailbox, "1", b"s")
        case _:  # of another type
            raw("DEL", mailbox)
            raw("SET", mailbox, "no mailbox")


def is_stranded(run) -> bool:
    return (run.status, run.waiting_for) == ("waiting", "stranded")


def define_two(flow: RedisFlow):
    @flow.define_workflow("asking")
    async def asking(step: Step) -> str:
        return await step.wait_for_signal("go", str)

    @flow.define_workflow("plain")
    async def plain(step: Step) -> str:
        return "fine"

    return asking, plain


@pytest.mark.parametrize("how", ["of a later version", "damaged", "of another type"])
async def test_a_run_whose_mail_cannot_be_read_waits_and_all_others_go_on(flow, raw, prefix, caplog, how):
    asking, plain = define_two(flow)
    handle = await asking.run()
    await handle.signal("go", "a secret")
    damage_mail(raw, prefix, handle.id, how)
    neighbours = [await plain.run() for _ in range(5)]
    for _ in range(4):  # each of them finds it, and the last one would find it poisoned
        async with flow.new_worker(lease="1s"):
            await until(flow, handle.id, is_stranded)
            neighbours.append(await plain.run())
            assert [await one.result(timeout="1m") for one in neighbours] == ["fine"] * len(neighbours)
    run = await handle.get()
    assert (is_stranded(run), run.crashes) == (True, 0)
    assert [(await one.get()).claims for one in neighbours] == [1] * len(neighbours)
    assert f"run.stranded {handle.id}: what is stored for it cannot be read here" in caplog.text
    assert "failed, the worker stops" not in caplog.text
    assert not any(secret in caplog.text for secret in ("a secret", "something new", "payload"))


async def test_mail_of_a_later_version_is_read_when_that_is_deployed(flow, raw, prefix):
    asking, _ = define_two(flow)
    handle = await asking.run()
    await handle.signal("go", "yes")
    damage_mail(raw, prefix, handle.id, "of a later version")
    async with flow.new_worker():
        await until(flow, handle.id, is_stranded)
    # What the later version reads there.
    raw("HSET", f"{prefix}mail:{handle.id}", "1", encode_signal("go", codec.encode("yes")))
    async with flow.new_worker():
        assert await handle.result(timeout="1m") == "yes"


async def test_mail_that_cannot_be_read_while_its_run_is_held_strands_it_and_no_other(flow, raw, prefix, caplog):
    _, plain = define_two(flow)
    begun, gate = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        begun.set()
        await gate.wait()

    @flow.define_workflow("both")
    async def both(step: Step) -> str:
        held = asyncio.create_task(step.run("hold", hold))
        answer = await step.wait_for_signal("go", str)
        await held
        return answer

    async with flow.new_worker(lease="1s"):
        handle = await both.run()
        await asyncio.wait_for(begun.wait(), 60)
        raw("HSET", f"{prefix}mail:{handle.id}", "1", LATER)
        raw("HSET", f"{prefix}run:{handle.id}", "m", 1)
        run = await until(flow, handle.id, is_stranded)
        assert run.crashes == 0
        assert await (await plain.run()).result(timeout="1m") == "fine"
    assert f"run.stranded {handle.id}: what is stored for it cannot be read here" in caplog.text
    # Readable again, it goes on from its record.
    raw("HSET", f"{prefix}mail:{handle.id}", "1", encode_signal("go", codec.encode("yes")))
    gate.set()
    async with flow.new_worker():
        assert await handle.result(timeout="1m") == "yes"


@pytest.mark.parametrize(("field", "value"), [("c", "yesterday"), ("m", "some"), ("vd", "broken"), ("tg", b"\xff")])
async def test_a_run_whose_hash_cannot_be_read_waits_until_it_can(flow, raw, prefix, caplog, field, value):
    _, plain = define_two(flow)
    handle, neighbour = await plain.run(), await plain.run()
    was = raw("HGET", f"{prefix}run:{handle.id}", field)
    raw("HSET", f"{prefix}run:{handle.id}", field, value)
    for _ in range(4):
        async with flow.new_worker(lease="1s"):
            assert await neighbour.result(timeout="1m") == "fine"
            await eventually(lambda: _status(raw, prefix, handle.id, b"waiting:stranded"))
    assert raw("HGET", f"{prefix}run:{handle.id}", "x") is None
    assert f"run.stranded {handle.id}: what is stored for it cannot be read here" in caplog.text
    if was is None:
        raw("HDEL", f"{prefix}run:{handle.id}", field)
    else:
        raw("HSET", f"{prefix}run:{handle.id}", field, was)
    async with flow.new_worker():
        assert await handle.result(timeout="1m") == "fine"


async def _status(raw: Raw, prefix: str, run_id: str, status: bytes) -> bool:
    return bool(raw("HGET", f"{prefix}run:{run_id}", "s") == status)


# Each field: conformance/test_schedules.py.
SCHEDULES = {"c": b"9" * 40, "ev": b"often", "w": b"\xff"}


@pytest.mark.parametrize("field", SCHEDULES)
async def test_a_schedule_that_cannot_be_read_is_told_once_and_the_others_are_fired(flow, raw, prefix, caplog, field):
    _, plain = define_two(flow)
    for name in ("damaged", "sound"):
        await flow.schedules.create(name, plain, every="100ms")
    key = f"{prefix}schedule:damaged"
    raw("HSET", key, field, SCHEDULES[field])
    fired: set[str | None] = {None}

    async def thrice() -> bool:
        fired.add((await flow.schedules.get("sound")).last_run_id)
        return len(fired) > 3

    async with flow.new_worker():
        await eventually(thrice)
        assert await (await plain.run()).result(timeout="1m") == "fine"
    assert caplog.text.count("schedule.unreadable here, left to other workers: schedule 'damaged' is not as") == 1
    assert "failed, the worker stops" not in caplog.text
    assert raw("HMGET", key, field, "lr") == [SCHEDULES[field], None]
    damage = [each.key for each in (await flow.audit(repair=True)).breaches if each.rule is Rule.DAMAGE]
    assert damage == ([key] if field != "w" else [])
    with pytest.raises(BackendError, match="Delete it, and create it again"):
        await flow.schedules.get("damaged")
    await flow.schedules.delete("damaged")
    assert (await flow.schedules.create("damaged", plain, every="100ms")).revision == 1


ENTRIES: dict[str, dict[str, Any]] = {
    "for what is no run": {"do": "cancel", "run": "nobody"},
    "for what is no text": {"do": "cancel", "run": b"\xff"},
    "without its child": {"do": "give_end", "run": new_run_id(0)},
    "without what to do": {"run": new_run_id(0)},
    "to no number": {"do": "return_permit", "run": new_run_id(0), "to": "x", "hash": "aa", "permit": "a"},
    "a broadcast without its name": {"do": "broadcast", "item": "a secret"},
}


@pytest.mark.parametrize("entry", ENTRIES)
async def test_an_entry_of_the_outbox_that_cannot_be_read_is_told_once_and_left(
    server_url, namespace, raw, caplog, entry
):
    async with RedisFlow(server_url, namespace=namespace, partitions=2) as flow:
        _, plain = define_two(flow)
        await flow.open()
        outbox = f"{prefix_of(namespace)}outbox"

        def post(fields: dict[str, Any]) -> None:
            raw("XADD", outbox, "*", *(part for field in fields.items() for part in field))

        post(ENTRIES[entry])
        async with flow.new_worker():
            for partition in (0, 1):
                post({"do": "cancel", "run": new_run_id(partition)})
                await eventually(lambda: _length(raw, outbox, 1))
            assert await (await plain.run()).result(timeout="1m") == "fine"
        assert caplog.text.count("cannot be read, and is left") == 1
        assert "failed, the worker stops" not in caplog.text
        assert "a secret" not in caplog.text
        assert any(each.key == outbox for each in (await flow.audit(repair=True)).breaches)
        assert await _length(raw, outbox, 1)
        raw("DEL", outbox)


async def _length(raw: Raw, stream: str, wanted: int) -> bool:
    return bool(raw("XLEN", stream) == wanted)


CHORES = {
    "a name among the workflows": ("SADD", "workflows", b"\xff"),
    "a name among the queues": ("SADD", "queues", b"\xff"),
    "the lanes of a queue": ("HSET", "lanes", "default", b"\xff"),
    "a policy": ("HSET", "meta", "keep:plain", "succeeded=for ever"),
    "what a worker says of itself": ("HSET", "worker:other", "about", b"\xc1"),
    "what a worker says of itself, by a later version": ("HSET", "worker:other", "about", codec.encode({"at": "home"})),
}


@pytest.mark.parametrize("what", CHORES)
async def test_what_a_worker_does_for_all_goes_on_past_what_it_cannot_read(flow, raw, prefix, caplog, what):
    _, plain = define_two(flow)

    @flow.define_workflow("short")
    async def short(step: Step) -> str:
        return "gone soon"

    kept, gone, backend = await plain.run(), await short.run(), await flow.open()
    async with flow.new_worker(lease="30s"):
        assert [await one.result(timeout="1m") for one in (kept, gone)] == ["fine", "gone soon"]
        await backend.retention.set_retention({"short": "succeeded=0", "plain": "succeeded=0"})
        command, key, *rest = CHORES[what]
        raw(command, prefix + key, *rest)
        raw("ZADD", f"{prefix}workers", 2**52, "other")
        for _ in range(2):
            await UpkeepService(backend, 0, "w1", ["default"], 30_000, 3, 1).run_once()
            await RetentionService(backend, 0, "w1", 1).run_once()
            await StrandedAlarm(backend, "w1", 1).run_once()
        assert len(await flow.workers()) == 1
    left = [run.id async for run in flow.list_runs(workflow="plain")]
    assert [run.id async for run in flow.list_runs(workflow="short")] == []
    if what == "a policy":
        assert left == [kept.id]
        assert caplog.text.count("retention: the policy of plain cannot be read") == 1
