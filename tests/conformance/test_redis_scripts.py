"""Scripts of `step.redis` over the contract: in memory, on Valkey and on Redis they run once and say the same."""

from __future__ import annotations

from typing import Any

import pytest

from redisflow import codec
from redisflow.contract import Extension, Verdict
from tests.conformance.world import T0, World, extend

COUNT = "return redis.call('INCRBY', KEYS[1], ARGV[1])"


def asking(world: World, extension: Extension, script: str, *, keys: list[str], args: list[Any]) -> Extension:
    extension.effects = ["redis", "step", script, len(keys), *keys, len(args), *args]
    return extension


@pytest.mark.parametrize("then", ["commit", "park"])
async def test_a_script_runs_once_however_often_its_commit_is_sent(world: World, then: str):
    world.at(T0)
    claim = await world.running()
    extension = asking(world, extend(claim.mark, b"asked"), COUNT, keys=["count"], args=[7])
    backend = world.backend

    async def send() -> Verdict:
        if then == "commit":
            return await backend.commit_run(claim.hold, extension, renew_for=None, forget_crashes=False, seen=0)
        wants = "\nr:step\n"
        return await backend.park_run(claim.hold, extension, reason="signal", due_at_ms=None, seen=0, wants=wants)

    assert await world.twice(send) is Verdict.MAIL
    assert world.raw("GET", f"{world.prefix}u:count") == b"7"
    (mail,) = (await backend.mail.read_mail(claim.hold.run_id, 0)).mail
    assert (mail.kind, mail.name, mail.status, codec.decode(mail.payload)) == ("redis", "step", "succeeded", 7)


@pytest.mark.parametrize(
    ("script", "reply"),
    [
        ("return {redis.call('SET', KEYS[1], ARGV[1]), redis.call('GET', KEYS[1])}", [b"OK", b"\xff\r\n"]),
        ("return {-3, {false}, true}", [-3, [None], 1]),
        ("return redis.call('HGETALL', KEYS[1])", []),
        ("return redis.call('GET', KEYS[1])", None),
    ],
)
async def test_replies_are_plain_values(world: World, script: str, reply: Any):
    world.at(T0)
    claim = await world.running()
    extension = asking(world, extend(claim.mark, b"asked"), script, keys=["value"], args=[b"\xff\r\n"])
    await world.backend.commit_run(claim.hold, extension, renew_for=None, forget_crashes=False, seen=0)
    (mail,) = (await world.backend.mail.read_mail(claim.hold.run_id, 0)).mail
    assert (mail.status, codec.decode(mail.payload)) == ("succeeded", reply)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("return foo(", b"unexpected symbol"),
        ("redis.call('SET', KEYS[1], 'x') return redis.call('LPUSH', KEYS[1], 1)", b"WRONGTYPE"),
        ("error('sold out')", b"sold out"),
        ("stray = 1", b"Attempt to"),
        ("return redis.error_reply('SOLD out')", b"SOLD out"),
    ],
)
async def test_a_script_that_fails_stops_nothing_else(world: World, script: str, why: bytes):
    world.at(T0)
    claim = await world.running()
    extension = asking(world, extend(claim.mark, b"asked"), script, keys=["value"], args=[])
    answer = await world.backend.commit_run(claim.hold, extension, renew_for=None, forget_crashes=False, seen=0)
    assert answer is Verdict.MAIL
    (mail,) = (await world.backend.mail.read_mail(claim.hold.run_id, 0)).mail
    assert mail.status == "failed"
    assert why in mail.payload
    assert world.field(claim.hold.run_id, "0") == b"asked"
