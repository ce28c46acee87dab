"""Durable sleep: it survives workers, holds none, and is never early."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from examples import sleep
from redisflow import Step
from tests.stories.world import PUNCTUAL, adopt, at_best, until

pytestmark = pytest.mark.usefixtures("no_key_left")


async def test_a_sleep_takes_as_long_as_it_says(flow):
    workflow = adopt(flow, sleep.trial)

    async def slept():
        handle = await workflow.run("200ms")
        assert await handle.result(timeout="1m") == ["sent a welcome", "sent a reminder"]
        run = await handle.get()
        period = run.step("trial-period")
        assert run.step("reminder").started_at >= period.next_attempt_at, "never early"
        return period.finished_at - period.started_at

    async with flow.new_worker(lease="30s"):
        long = await workflow.run("14d")
        run = await until(flow, long.id, lambda run: run.waiting_for == "timer")
        assert run.status == "waiting"
        assert (run.step("trial-period").kind, run.step("trial-period").status) == ("sleep", "waiting")
        asked = timedelta(milliseconds=200)
        assert asked <= await at_best(slept, asked + PUNCTUAL) < asked + PUNCTUAL


async def test_sleep_until_an_instant(flow):
    workflow = adopt(flow, sleep.launch)

    async def lateness():
        asked = datetime.now(UTC) + timedelta(milliseconds=200)
        handle = await workflow.run(asked)
        assert await handle.result(timeout="1m") == "sent the announcement"
        announced_at = (await handle.get()).step("announce").started_at
        assert announced_at >= asked, "never early"
        return announced_at - asked

    async with flow.new_worker(lease="30s"):
        past = await workflow.run(datetime(2020, 1, 1, tzinfo=UTC))
        assert await past.result(timeout="1m") == "sent the announcement"
        assert await at_best(lateness, PUNCTUAL) < PUNCTUAL


async def test_a_sleep_beside_a_running_sibling(flow):
    order: list[str] = []
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()
        order.append("body")

    async def after() -> None:
        order.append("after the sleep")
        gate.set()

    @flow.define_workflow("siblings")
    async def siblings(step: Step) -> None:
        async def nap() -> None:
            await step.sleep("nap", "50ms")
            await step.run("after", after)

        await asyncio.gather(step.run("wait", wait), nap())

    async with flow.new_worker(lease="30s"):
        handle = await siblings.run()
        await handle.result(timeout="1m")
    assert order == ["after the sleep", "body"]
    assert (await handle.get()).claims == 1, "the holder kept the run, and woke the sleep itself"


async def test_a_sleeping_run_holds_no_place_in_a_worker(flow):
    @flow.define_workflow("sleepy")
    async def sleepy(step: Step) -> str:
        await step.sleep("long", "1h")
        return "never"

    @flow.define_workflow("awake")
    async def awake(step: Step) -> str:
        return "done"

    async with flow.new_worker(lease="30s", concurrency=1):
        sleeping = await sleepy.run_many([None] * 5)
        assert await (await awake.run()).result(timeout="1m") == "done"
        for handle in sleeping:
            await until(flow, handle.id, lambda run: run.waiting_for == "timer")


async def test_a_sleep_keeps_its_due_time_over_workers(flow, clock):
    workflow = adopt(flow, sleep.trial)
    async with flow.new_worker():
        handle = await workflow.run("14d")
        await clock.advance("1d")
        before = await handle.get()
    async with flow.new_worker():
        await clock.advance("12d")
        assert (await handle.get()).waiting_for == "timer"
        await handle.result(timeout="1m")
    after = await handle.get()
    due_at = before.created_at + timedelta(days=14)
    assert after.step("trial-period").next_attempt_at == before.step("trial-period").next_attempt_at == due_at
    assert after.step("reminder").started_at == due_at


async def test_many_sleeps_of_one_run(flow):
    @flow.define_workflow("naps")
    async def naps(step: Step) -> int:
        await asyncio.gather(*(step.sleep("nap", f"{10 + number}ms") for number in range(50)))
        for _ in range(5):
            await step.sleep("short", "1ms")
        return 55

    async with flow.new_worker(lease="30s"):
        handle = await naps.run()
        assert await handle.result(timeout="1m") == 55
    assert len((await handle.get()).steps) == 55
