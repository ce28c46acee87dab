"""Signals: never lost, taken once, and held by nobody's worker while they are waited for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from redisflow import InvalidInput, InvalidName, MailboxFull, RedisFlow, RunEnded, RunNotFound, Step
from redisflow.run_id import new_run_id
from tests.stories.world import until

pytestmark = pytest.mark.usefixtures("no_key_left")


class Approval(BaseModel):
    approved: bool
    by: str


def parked(run: Any) -> bool:
    return bool(run.waiting_for == "signal")


async def test_a_parked_run_is_woken_by_its_signal(flow: RedisFlow):
    @flow.define_workflow("expense")
    async def expense(step: Step) -> str:
        decision = await step.wait_for_signal("decision", Approval)
        return f"{decision.approved} by {decision.by}"

    async with flow.new_worker():
        handle = await expense.run()
        run = await until(flow, handle.id, parked)
        assert (run.status, [(step.kind, step.status) for step in run.steps]) == ("waiting", [("signal", "waiting")])
        await handle.signal("decision", Approval(approved=True, by="Ada"))
        assert await handle.result(timeout="1m") == "True by Ada"
        run = await until(flow, handle.id, lambda run: run.is_finished)
        assert run.step("decision").output == {"approved": True, "by": "Ada"}


async def test_signals_that_are_sent_before_anybody_waits_or_works_are_kept_in_order(flow: RedisFlow):
    @flow.define_workflow("collect")
    async def collect(step: Step) -> list[int]:
        return [await step.wait_for_signal("number", int) for _ in range(20)]

    handle = await collect.run()
    for number in range(20):
        await handle.signal("number", number)
    async with flow.new_worker():
        assert await handle.result(timeout="1m") == list(range(20))


async def test_signals_that_were_not_taken_are_listed_until_they_are(flow: RedisFlow):
    @flow.define_workflow("patient")
    async def patient(step: Step) -> str:
        return await step.wait_for_signal("word", str)

    handle = await patient.run()
    await handle.signal("wurd", {"n": 1})
    await handle.signal("other", None)
    listed = await flow.buffered_signals(handle.id)
    assert [(each.name, each.data) for each in listed] == [("wurd", {"n": 1}), ("other", None)]
    assert [each.name for each in await flow.buffered_signals(handle.id, most=1)] == ["wurd"]
    await handle.signal("word", "hello")
    assert [each.name for each in await flow.buffered_signals(handle.id)] == ["wurd", "other", "word"]
    async with flow.new_worker():
        assert await handle.result(timeout="1m") == "hello"
    assert [each.name for each in await flow.buffered_signals(handle.id)] == ["wurd", "other"]
    assert await flow.buffered_signals(new_run_id(0)) == []
    (names,) = (await flow.buffered_names([handle.id, new_run_id(0)])).values()
    assert (names.run_id, dict(names.names), names.unread) == (handle.id, {"wurd": 1, "other": 1}, 0)
    with pytest.raises(InvalidName):
        await flow.buffered_names(["no id"])


async def test_signals_that_come_while_the_run_is_busy_or_parks_are_all_delivered(flow: RedisFlow):
    async def work(number: int) -> int:
        await asyncio.sleep(0)
        return number

    @flow.define_workflow("busy")
    async def busy(step: Step) -> list[int]:
        found = []
        for _ in range(30):
            number = await step.wait_for_signal("number", int)
            found.append(await step.run("work", work, number))
        return found

    async with flow.new_worker():
        handle = await busy.run()
        for number in range(30):
            await handle.signal("number", number)
            if number % 5 == 0:
                await asyncio.sleep(0.01)  # now and then the run gets to park
        assert await handle.result(timeout="1m") == list(range(30))


async def test_a_timeout_gives_none_and_a_held_run_hears_a_signal_beside_its_steps(flow: RedisFlow):
    heard = asyncio.Event()

    async def until_heard() -> None:
        await heard.wait()

    @flow.define_workflow("beside")
    async def beside(step: Step) -> list[Any]:
        async def listen() -> Any:
            said = await step.wait_for_signal("say", str)
            heard.set()
            return said

        nothing = await step.wait_for_signal("nothing", timeout="50ms")
        said, _ = await asyncio.gather(listen(), step.run("long", until_heard))
        return [nothing, said]

    async with flow.new_worker():
        handle = await beside.run()
        await until(flow, handle.id, lambda run: run.step("long") is not None)
        await handle.signal("say", "hello")
        assert await handle.result(timeout="1m") == [None, "hello"]


async def test_a_key_makes_a_signal_come_once(flow: RedisFlow):
    @flow.define_workflow("once")
    async def once(step: Step) -> list[Any]:
        first = await step.wait_for_signal("click", str)
        return [first, await step.wait_for_signal("click", str, timeout="50ms")]

    handle = await once.run()
    for _ in range(3):
        await flow.signal(handle.id, "click", "first", idempotency_key="k")
    async with flow.new_worker():
        assert await handle.result(timeout="1m") == ["first", None]


async def test_what_cannot_be_delivered_is_refused(flow: RedisFlow):
    @flow.define_workflow("deaf")
    async def deaf(step: Step) -> None:
        return None

    handle = await deaf.run()
    with pytest.raises(InvalidName, match=r"the signal name .* printed"):
        await handle.signal("two\nlines")
    with pytest.raises(InvalidInput, match=r"'say'.*stored"):
        await handle.signal("say", object())
    with pytest.raises(RunNotFound):
        await flow.signal(new_run_id(0), "say")
    await asyncio.gather(*(handle.signal("say", number) for number in range(1_000)))
    with pytest.raises(MailboxFull, match="1,000"):
        await handle.signal("say", 1_000)
    async with flow.new_worker():
        await handle.result(timeout="1m")
    with pytest.raises(RunEnded, match=handle.id):
        await handle.signal("say")
