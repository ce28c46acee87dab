"""Continuing as new: a run that lives for ever, with a history that does not grow for ever."""

from __future__ import annotations

import asyncio

import pytest

from redisflow import InvalidWorkflow, RedisFlow, Step, WorkflowCanceled, WorkflowFailed
from tests.stories.world import until


async def add(x: int, y: int) -> int:
    return x + y


async def test_a_run_goes_on_with_what_it_needs_and_its_handle_follows(flow: RedisFlow):
    @flow.define_workflow("sum-up")
    async def sum_up(so_far: int, step: Step) -> int:
        while True:
            for _ in range(3):
                number = await step.wait_for_signal("number", int)
                if not number:
                    return so_far
                so_far = await step.run("add", add, so_far, number)
            step.emit(so_far)
            step.continue_as_new(so_far)

    async with flow.new_worker():
        handle = await sum_up.run(0, unique_key="sum", deadline_at="1h")
        result = asyncio.create_task(handle.result(timeout="1m"))
        # Those that were sent before a new beginning are there after it.
        for number in range(1, 11):
            await handle.signal("number", number)
        run = await until(flow, handle.id, lambda run: run.continued == 3 and run.waiting_for == "signal")
        assert (run.input, [step.key for step in run.steps]) == (45, ["number", "add", "number#1"])
        assert run.deadline_at - run.created_at
        assert (await sum_up.run(0, unique_key="sum")).id == handle.id
        await handle.signal("number", 0)
        assert await result == 55
        assert [event.data async for event in handle.events()] == [6, 21, 45]


async def test_children_that_are_waited_for_are_given_up_and_begin_anew(flow: RedisFlow):
    @flow.define_workflow("child")
    async def child(number: int, step: Step) -> int:
        return number if number < 0 else await step.wait_for_signal("never", int)

    @flow.define_workflow("parent")
    async def parent(number: int, step: Step) -> int:
        waiting = asyncio.create_task(step.run_workflow(child, number))
        if number < 0:
            return await waiting
        await step.run("add", add, 1, 2)
        await step.wait_for_signal("go")
        return step.continue_as_new(-1)

    async with flow.new_worker():
        handle = await parent.run(1)
        run = await until(flow, handle.id, lambda run: any(step.key == "go" for step in run.steps))
        first = next(step.child_id for step in run.steps if step.key == "child")
        await until(flow, first, lambda run: run.waiting_for == "signal")
        await handle.signal("go")
        assert await handle.result(timeout="1m") == -1
        with pytest.raises(WorkflowCanceled):
            await (await flow.get_handle(first, child)).result(timeout="1m")


async def test_a_history_that_grows_too_long_fails_and_says_what_to_do(flow: RedisFlow):
    @flow.define_workflow("grows", max_steps=5, warn_steps=3)
    async def grows(step: Step) -> None:
        while True:
            await step.run("add", add, 1, 2)

    async with flow.new_worker():
        with pytest.raises(WorkflowFailed, match=r"has made 5 calls.*step\.continue_as_new"):
            await (await grows.run()).result(timeout="1m")
    with pytest.raises(InvalidWorkflow, match="max_steps"):
        flow.define_workflow("none", max_steps=0)(grows.fn)
