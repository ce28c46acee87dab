"""Calls of steps: keys in the order of the code, begun when they are awaited, once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, cast

import pytest

from redisflow.authoring.options import StepOptions, define_step
from redisflow.authoring.step import Step
from redisflow.errors import InvalidName, InvalidWorkflow, StepError
from redisflow.retry import NO_RETRY
from tests.engine.director import Chance, Director
from tests.engine.stage import Stage, define


def echo(value: Any = None) -> Any:
    return value


def fail_at(value: int, bad: int) -> int:
    if value == bad:
        raise ValueError(f"no {value}")
    return value


def played(workflow: Any, **options: Any) -> Stage:
    return Stage(define(workflow), **options).play()


def test_repeated_names_are_numbered_in_the_order_of_the_calls():
    async def workflow(step: Step) -> Any:
        last, first, middle = (step.run("one", echo, number) for number in range(3))
        await step.sleep("one", 0)
        return [await middle, await first, await last]

    stage = played(workflow)
    assert stage.output == [2, 1, 0]
    assert stage.started == ["one#2", "one#1", "one"]


def test_a_call_begins_when_it_is_awaited_and_not_before():
    async def workflow(step: Step) -> None:
        one = step.run("one", echo)
        await step.run("two", echo)
        await one

    assert played(workflow).started == ["two", "one"]


def test_a_call_cannot_be_awaited_twice():
    async def workflow(step: Step) -> str:
        call = step.run("one", echo, 1)
        assert await call == 1
        with pytest.raises(RuntimeError, match=r"step call 'one' was awaited twice"):
            await call
        again = step.gather(step.run("two", echo), step.run("three", echo))
        await again
        with pytest.raises(RuntimeError, match="awaited twice"):
            await again
        return repr(call)

    assert played(workflow).output == "<step call 'one'>"


def test_a_call_that_is_never_awaited_does_not_run_and_is_told_of_once(caplog: pytest.LogCaptureFixture):
    async def workflow(step: Step) -> None:
        step.run("forgotten", echo)
        await step.sleep("pause", 1)
        step.gather(step.run("forgotten too", echo))

    stage = played(workflow)
    assert stage.started == []
    assert [record.getMessage() for record in caplog.records] == [
        "step calls were never awaited, so they did not run: forgotten, forgotten too"
    ]


def test_a_call_that_was_given_up_before_it_began_is_not_told_of(caplog: pytest.LogCaptureFixture):
    async def workflow(step: Step) -> None:
        step.run("closed", echo).close()
        task = asyncio.create_task(step.run("cancelled", echo))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with contextlib.suppress(StepError):
            await step.map(StepOptions("map", retry=NO_RETRY), lambda value: fail_at(value, 0), range(10), limit=2)
        step.gather(step.run("one", echo), step.run("two", echo)).close()

    stage = played(workflow)
    assert stage.started == ["map", "map#1"]
    assert caplog.records == []


def test_the_failure_of_a_task_that_nobody_waits_for_is_told(caplog: pytest.LogCaptureFixture):
    async def workflow(step: Step) -> None:
        task = asyncio.create_task(step.run(StepOptions("fails", retry=NO_RETRY), fail_at, 1, 1), name="left alone")
        await step.run("other", echo)
        await step.sleep("pause", 1)
        assert task.done()

    played(workflow)
    [record] = caplog.records
    assert record.getMessage() == "workflow code: the failure of left alone (StepError) was never taken"
    assert record.levelno == logging.WARNING


def test_gather_gives_a_tuple_and_gives_up_the_others_at_the_first_failure():
    async def workflow(step: Step) -> Any:
        one = await step.gather(step.run("a", echo, 1), step.sleep("b", 1), step.run("c", echo, "x"))
        with pytest.raises(StepError, match="no 2"):
            await step.gather(
                step.run(StepOptions("fails", retry=NO_RETRY), fail_at, 2, 2),
                step.run("slow", echo),
                step.sleep("long", "10d"),
            )
        await step.run("after", echo)
        return one

    stage = played(workflow)
    assert stage.output == (1, None, "x")
    assert stage.canceled == ["slow"]
    assert stage.now_ms - (stage.store.started_at_ms or 0) < 60_000


def test_asyncio_gather_leaves_the_others_running_until_the_workflow_ends():
    async def workflow(step: Step) -> str:
        fails = step.run(StepOptions("fails", retry=NO_RETRY), fail_at, 1, 1)
        try:
            await asyncio.gather(fails, step.run("slow", echo), step.run("slower", echo))
        except StepError:
            return await step.run("after", echo, "went on")
        return "did not fail"

    stage = played(workflow, director=Director(lambda keys: next(k for k in ("fails", "slow", "after") if k in keys)))
    assert stage.output == "went on"
    assert stage.canceled == ["slower"]
    assert stage.counts == {"fails": 1, "slow": 1, "slower": 1, "after": 1}


def test_map_keeps_the_order_of_its_items_and_its_limit():
    most = 0

    class Watching(Chance):
        def choose(self, stage: Stage) -> None:
            nonlocal most
            most = max(most, len(stage.running()))
            super().choose(stage)

    async def workflow(step: Step) -> Any:
        return await step.map("square", lambda value: value * value, range(20), limit=3)

    for seed in range(10):
        stage = played(workflow, director=Watching(seed))
        assert stage.output == [number * number for number in range(20)]
    assert most == 3


def test_map_of_nothing_is_an_empty_list_and_a_limit_is_at_least_one():
    async def workflow(step: Step) -> Any:
        with pytest.raises(ValueError, match="limit"):
            step.map("square", echo, [1], limit=0)
        return await step.map("square", echo, [])

    assert played(workflow).output == []


def test_as_completed_yields_in_the_order_of_the_ends_on_every_pass():
    async def workflow(step: Step) -> Any:
        order = []
        async for task in step.as_completed([step.run("one", echo, number) for number in range(5)]):
            order.append(task.result())
        await step.sleep("pause", 1)
        return order

    stage = played(workflow, director=Director(lambda keys: keys[-1]))
    assert len(stage.passes) == 2
    assert stage.output == [4, 3, 2, 1, 0]


def test_whoever_leaves_as_completed_by_aclosing_gives_up_the_rest():
    async def workflow(step: Step) -> Any:
        async with contextlib.aclosing(step.as_completed([step.run("one", echo, n) for n in range(3)])) as ended:
            async for task in ended:
                first = task.result()
                break
        await step.run("after", echo)
        return first

    stage = played(workflow)
    assert stage.output == 0
    assert sorted(stage.canceled) == ["one#1", "one#2"]


def test_options_of_the_call_win_over_those_of_the_function():
    @define_step(retry=NO_RETRY, timeout="5s")
    def declared() -> None:
        raise ValueError("no")

    async def workflow(step: Step) -> list[int]:
        attempts = []
        for options in ("as declared", StepOptions("as called", retry=None, timeout="1s")):
            try:
                await step.run(options, declared)
            except StepError as error:
                attempts.append(error.attempts)
        return attempts

    assert played(workflow).output == [1, 1]


def test_bad_names_are_refused_at_the_call_and_claim_nothing():
    async def workflow(step: Step) -> Any:
        for name in ("", "with\nline", "x" * 129, "one#1", 7):
            with pytest.raises(InvalidName):
                step.run(name, echo)  # type: ignore[call-overload]  # wrong on purpose
            with pytest.raises(InvalidName):
                step.sleep(name, 1)  # type: ignore[arg-type]
        return await step.run("one", echo, 1)

    stage = played(workflow)
    assert stage.output == 1
    assert stage.starts[0].key == "one"


def test_steps_can_be_created_as_tasks_and_awaited_in_any_way():
    async def workflow(step: Step) -> Any:
        task = asyncio.create_task(step.run("task", echo, 1))
        future = asyncio.ensure_future(step.run("future", echo, 2))
        async with asyncio.TaskGroup() as group:
            grouped = group.create_task(step.run("group", echo, 3))
        shielded = await asyncio.shield(step.run("shield", echo, 4))
        several = asyncio.create_task(step.gather(step.run("several", echo, 5)))
        return [await task, await future, grouped.result(), shielded, await several]

    assert played(workflow).output == [1, 2, 3, 4, (5,)]


def test_a_function_that_was_called_already_is_told_at_the_call():
    async def body() -> None: ...

    async def workflow(step: Step) -> Any:
        for result in cast("tuple[Any, ...]", (body(), 7, None)):
            with pytest.raises(InvalidWorkflow, match=r"step.run\('one'\) takes a function .* without calling it"):
                step.run("one", result)
        return await step.run("one", echo, 1)

    stage = played(workflow)
    assert stage.output == 1
    assert stage.starts[0].key == "one"
