"""Where the engine may run: in callbacks of asyncio's and uvloop's loops, with no loop at all, many runs at once."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable
from typing import Any

import pytest

from redisflow.authoring.step import Step
from tests.engine.director import Chance
from tests.engine.stage import Stage, define

WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


def echo(value: Any = None) -> Any:
    return value


async def workflow(step: Step) -> Any:
    async def branch(number: int) -> Any:
        await asyncio.sleep(0)
        await step.sleep("pause", number)
        return await step.run("one", echo, number)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(branch(number)) for number in range(3)]
    before = WHO.get()
    WHO.set("the workflow")
    task = asyncio.current_task()
    return [before, task is not None and task.get_name(), *[one.result() for one in tasks]]


EXPECTED = ["nobody", "workflow", 0, 1, 2]


def new_asyncio_loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def new_uvloop() -> asyncio.AbstractEventLoop:
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed: redisflow[fast]")
    return uvloop.new_event_loop()


@pytest.mark.parametrize("new_loop", [new_asyncio_loop, new_uvloop])
def test_it_runs_in_callbacks_of_another_loop_and_leaves_that_loop_as_it_was(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
):
    loop = new_loop()
    stages = [Stage(define(workflow), director=Chance(seed), run_id=f"run-{seed}") for seed in range(5)]
    hooks: list[Any] = []

    def go_on() -> None:
        hooks.append(sys.get_asyncgen_hooks())
        for stage in stages:
            if stage.is_held:
                stage.director.choose(stage)
            elif not stage.has_ended:
                stage.now_ms = max(stage.now_ms, stage.store.due_at_ms or 0)
                stage.claim()
        if all(stage.has_ended and not stage.is_held for stage in stages):
            loop.stop()
        else:
            loop.call_soon(go_on)
        assert asyncio.get_running_loop() is loop
        assert WHO.get() == "nobody"
        hooks.append(sys.get_asyncgen_hooks())

    loop.call_soon(go_on)
    try:
        loop.run_forever()
        assert asyncio.all_tasks(loop) == set()
    finally:
        loop.close()
    assert [stage.output for stage in stages] == [EXPECTED] * 5
    assert len(set(hooks)) == 1


def test_it_needs_no_loop_around_it():
    assert asyncio._get_running_loop() is None
    assert Stage(define(workflow)).play().output == EXPECTED
    assert asyncio._get_running_loop() is None


def test_an_async_generator_of_the_loop_around_is_not_taken_for_one_of_the_workflow():
    async def outer() -> list[int]:
        async def numbers() -> Any:
            for number in range(3):
                yield number

        seen = []
        async for number in numbers():
            played = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(_play_into, played)
            assert await played == EXPECTED
            seen.append(number)
        return seen

    assert asyncio.run(outer()) == [0, 1, 2]


def _play_into(played: asyncio.Future[Any]) -> None:
    played.set_result(Stage(define(workflow)).play().output)
