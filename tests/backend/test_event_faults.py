"""Events over a bad network: what a body says is stored once, and who follows a run misses nothing."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from redisflow import codec
from redisflow.backend.redis_backend import RedisBackend
from redisflow.client.events import follow_events
from redisflow.contract import Emission, Hold, NewEvent
from redisflow.testing.faults import call, open_proxy
from tests.backend.test_faults import new_run


def token(number: int) -> NewEvent:
    return NewEvent("token", codec.encode(number), "answer", 1)


async def hold_a_run(backend: RedisBackend) -> Hold:
    run = new_run()
    await backend.create_run(run)
    [claim] = (await backend.claim_runs(0, "w", f"op-{run.run_id}", 1, ["default"])).claims
    return claim.hold


@pytest.mark.parametrize("fault", ["drop_request", "drop_reply"])
async def test_each_call_of_a_body_is_stored_once(server, valkey_url, namespace, fault):
    chance = random.Random(1)
    async with open_proxy(server) as proxy:
        near, far = RedisBackend(valkey_url, namespace=namespace), RedisBackend(proxy.url, namespace=namespace)
        await near.open()
        await far.open()
        hold = await hold_a_run(near)
        getattr(proxy.on(call(where=lambda _: chance.random() < 0.3)), fault)()
        for number in range(50):
            answer = far.events.emit_events(hold.run_id, hold.fence, number + 1, [token(number)], {"n": b"\x01"})
            assert await answer is Emission.OK
        seen = [event.data async for event in follow_events(far, hold.run_id, None, live=False)]
        assert seen == list(range(50))
        assert proxy.opened > 3
        await far.close()
        await near.close()


async def test_who_follows_a_run_goes_on_after_its_connections_were_lost(server, valkey_url, namespace):
    async with open_proxy(server) as proxy:
        near, far = RedisBackend(valkey_url, namespace=namespace), RedisBackend(proxy.url, namespace=namespace)
        await near.open()
        await far.open()
        hold = await hold_a_run(near)
        events = follow_events(far, hold.run_id, None, live=True)
        seen: list[Any] = []
        async with asyncio.timeout(60):
            for number in range(10):
                if number % 3 == 2:
                    proxy.on(call()).drop_request()
                    proxy.close_all()
                await near.events.emit_events(hold.run_id, hold.fence, number + 1, [token(number)], {})
                proxy.forget_rules()
                seen.append((await anext(events)).data)
            proxy.close_all()
            await near.cancel_run(hold.run_id)
            assert [event async for event in events] == []
        assert seen == list(range(10))
        await far.close()
        await near.close()
