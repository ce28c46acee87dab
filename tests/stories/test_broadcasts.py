"""Broadcasts: one signal for everybody who waits, in all partitions, and for those who come a little later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel

from redisflow import Broadcast, MailboxFull, RedisFlow, Step
from redisflow.run_id import partition_of
from tests.stories.world import until


class Price(BaseModel):
    item: str
    cents: int


@pytest.fixture
async def wide_flow(server_url: str, namespace: str) -> AsyncIterator[RedisFlow]:
    """Return a flow with four partitions."""
    async with RedisFlow(server_url, namespace=namespace, partitions=4) as made:
        yield made


def parked(run: Any) -> bool:
    return bool(run.waiting_for == "signal")


def define_watcher(flow: RedisFlow) -> Any:
    @flow.define_workflow("watcher")
    async def watcher(step: Step) -> int:
        price = await step.wait_for_signal("price", Price)
        return price.cents

    return watcher


async def test_a_broadcast_reaches_every_run_that_waits_wherever_it_lives(wide_flow: RedisFlow):
    watcher = define_watcher(wide_flow)
    async with wide_flow.new_worker():
        handles = [await watcher.run() for _ in range(20)]
        assert len({partition_of(handle.id) for handle in handles}) > 1
        for handle in handles:
            await until(wide_flow, handle.id, parked)
        reached = await wide_flow.send_signal("price", Price(item="tea", cents=310))
        assert (sorted(reached.run_ids), reached.count) == (sorted(handle.id for handle in handles), 20)
        assert [await handle.result(timeout="1m") for handle in handles] == [310] * 20
        assert await wide_flow.send_signal("price", Price(item="tea", cents=320)) == Broadcast((), 0)


async def test_a_retained_broadcast_is_given_to_whoever_starts_to_wait_in_time_and_once(wide_flow: RedisFlow):
    @wide_flow.define_workflow("twice")
    async def twice(step: Step) -> list[Any]:
        return [await step.wait_for_signal("open", str, timeout=limit) for limit in ("1m", "50ms")]

    await wide_flow.send_signal("open", "come in", retain="1m")
    async with wide_flow.new_worker():
        for _ in range(4):
            assert await (await twice.run()).result(timeout="1m") == ["come in", None]


async def test_with_a_key_a_broadcast_is_sent_once_and_answered_the_same(flow: RedisFlow):
    watcher = define_watcher(flow)
    async with flow.new_worker():
        first = await watcher.run()
        await until(flow, first.id, parked)
        reached = await flow.send_signal("price", Price(item="tea", cents=1), idempotency_key="monday")
        assert reached.run_ids == (first.id,)
        second = await watcher.run()
        await until(flow, second.id, parked)
        assert await flow.send_signal("price", Price(item="tea", cents=1), idempotency_key="monday") == reached
        assert (await second.get()).waiting_for == "signal"
        await second.cancel()
        assert await flow.send_signal("price", Price(item="tea", cents=2)) == Broadcast((), 0)


async def test_a_workflow_broadcasts_as_a_step_and_learns_whom_it_reached(wide_flow: RedisFlow):
    watcher = define_watcher(wide_flow)

    @wide_flow.define_workflow("announcer")
    async def announcer(step: Step) -> Broadcast:
        reached = await step.send_signal("price", Price(item="tea", cents=7), retain="1m")
        await step.sleep("then", "10ms")
        return reached

    async with wide_flow.new_worker():
        waiting = await watcher.run()
        await until(wide_flow, waiting.id, parked)
        handle = await announcer.run()
        assert await handle.result(timeout="1m") == Broadcast((waiting.id,), 1)
        assert await waiting.result(timeout="1m") == 7
        sent = (await wide_flow.get_run(handle.id)).step("broadcast price")
        assert sent is not None
        assert sent.status == "succeeded"
        assert await (await watcher.run()).result(timeout="1m") == 7


async def test_more_than_can_be_retained_is_refused_with_words(flow: RedisFlow):
    for number in range(100):
        await flow.send_signal("news", number, retain="1h")
    with pytest.raises(MailboxFull, match=r"'news'.*100"):
        await flow.send_signal("news", 100, retain="1h")
    assert (await flow.send_signal("news", 100)).count == 0
    assert (await flow.send_signal("other", 1, retain="1h")).run_ids == ()


async def test_each_run_gets_each_retained_broadcast_once_whatever_it_is_doing_when_it_comes(wide_flow: RedisFlow):
    async def work(number: int) -> int:
        await asyncio.sleep(0.001 * (number % 3))  # the work itself: so that runs are caught at different points
        return number

    @wide_flow.define_workflow("ticker")
    async def ticker(step: Step) -> list[int]:
        found: list[int] = []
        for number in range(12):
            found.append(await step.wait_for_signal("tick", int))
            if number % 2:
                found[-1] = await step.run("work", work, found[-1])
        return found

    async with wide_flow.new_worker(), wide_flow.new_worker():
        handles = [await ticker.run() for _ in range(10)]
        for number in range(12):
            await wide_flow.send_signal("tick", number, retain="1h")
            if number % 4 == 0:
                handles.append(await ticker.run())
        assert [await handle.result(timeout="1m") for handle in handles] == [list(range(12))] * 13
