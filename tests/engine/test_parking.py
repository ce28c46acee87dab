"""A parked run leaves memory: its code sees a cancellation, what it does then does not count, and nobody is warned."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import sys
import time
import warnings
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest

from redisflow.authoring.step import Step
from redisflow.engine.execution import Execution
from tests.engine.director import Chance
from tests.engine.stage import T0, Stage, define, saw

WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
happened: list[str] = []


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Nothing is printed, warned of, or left for the garbage collector to complain about."""
    happened.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
        gc.collect()


def echo(value: Any) -> Any:
    return value


def parked(workflow: Any) -> Stage:
    """Play it until it waits for the first time; it is out of memory then."""
    return Stage(define(workflow)).play(until=lambda stage: stage.store.status == "waiting" and not stage.is_held)


def test_finally_and_except_run_at_each_park_and_nothing_that_they_ask_for_is_recorded(caplog):
    async def workflow(step: Step) -> str:
        try:
            await step.sleep("pause", "1h")
        except asyncio.CancelledError:
            happened.append("cancelled")
            raise
        finally:
            happened.append("finally")
            await step.run("clean-up", echo, 1)
            happened.append("never, while parking")
        return "done"

    stage = parked(workflow)
    assert happened == ["cancelled", "finally"]
    assert len(stage.store.records) == 1
    stage.play()
    assert stage.output == "done"
    assert stage.started == ["clean-up"]
    assert happened == ["cancelled", "finally", "finally", "never, while parking"]
    assert caplog.records == []


def test_finally_blocks_may_wait_while_the_run_leaves():
    async def workflow(step: Step) -> None:
        async def other() -> None:
            try:
                await step.sleep("other", "2h")
            finally:
                await asyncio.sleep(0)
                done.set()

        done = asyncio.Event()
        task = asyncio.create_task(other())
        try:
            await step.sleep("pause", "1h")
        finally:
            await done.wait()
            happened.append("the other one is done")
        await task

    parked(workflow)
    assert happened == ["the other one is done"]


def test_async_with_is_left_in_order():
    @contextlib.asynccontextmanager
    async def room(name: str) -> AsyncIterator[str]:
        happened.append(f"into {name}")
        try:
            yield name
        finally:
            await asyncio.sleep(0)
            happened.append(f"out of {name}")

    async def workflow(step: Step) -> None:
        async with room("outer"), room("inner"):
            await step.sleep("pause", "1h")

    parked(workflow)
    assert happened == ["into outer", "into inner", "out of inner", "out of outer"]


def test_context_variables_can_be_reset_where_they_were_set():
    async def workflow(step: Step) -> str:
        token = WHO.set("me")
        try:
            await step.sleep("pause", "1h")
            return WHO.get()
        finally:
            WHO.reset(token)
            happened.append(WHO.get())

    stage = parked(workflow)
    assert happened == ["nobody"]
    assert stage.play().output == "me"
    assert WHO.get() == "nobody"


def test_async_generators_clean_up_whether_they_are_being_read_or_were_left():
    async def numbers(name: str) -> AsyncIterator[int]:
        try:
            for number in range(10):
                await asyncio.sleep(0)
                yield number
        finally:
            await asyncio.sleep(0)
            happened.append(name)

    async def workflow(step: Step) -> int:
        async for _ in numbers("left"):
            break
        total = 0
        async for number in numbers("read"):
            total += await step.run("add", echo, number)
            if number == 3:
                await step.sleep("pause", "1h")
        return total

    stage = parked(workflow)
    assert sorted(happened) == ["left", "read"]
    assert stage.play().output == 45


def test_a_generator_that_was_left_cleans_up_when_the_run_ends_and_not_when_memory_is_collected():
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            happened.append("closed")

    async def workflow(step: Step) -> None:
        async for _ in numbers():
            break
        gc.collect()
        happened.append("before the step")
        await step.run("one", echo, 1)
        happened.append("after the step")

    Stage(define(workflow)).play()
    assert happened == ["before the step", "after the step", "closed"]


def test_anyio_task_groups_and_cancel_scopes_are_left():
    async def workflow(step: Step) -> list[int]:
        results: list[int] = []

        async def work(number: int) -> None:
            with anyio.CancelScope():
                try:
                    await step.sleep("pause", f"{number + 1}h")
                    results.append(await step.run("one", echo, number))
                finally:
                    happened.append(f"left {number}")

        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(work, number)
        return results

    stage = parked(workflow)
    assert happened == ["left 0", "left 1", "left 2"]
    assert stage.play().output == [0, 1, 2]


def test_task_groups_are_left():
    async def workflow(step: Step) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(step.sleep("one", "1h"))
            group.create_task(step.sleep("two", "2h"))

    assert parked(workflow).play().store.status == "succeeded"


def test_code_that_catches_everything_around_its_steps_leaves_too():
    async def workflow(step: Step) -> int:
        failed = 0
        for number in range(5):
            try:
                await step.sleep("pause", number + 1)
            except BaseException:  # what not to write
                failed += 1
        saw(failed)
        return failed

    stage = parked(workflow)
    assert stage.play().output == 0
    assert all(one.saw in ([], [0]) for one in stage.passes)


def test_code_that_catches_everything_in_a_loop_without_end_is_left_behind(caplog, monkeypatch):
    async def workflow(step: Step) -> None:
        while True:
            try:
                await step.sleep("pause", "1h")
            except BaseException:
                happened.append("caught")

    ignored: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: ignored.append(str(unraisable.exc_value)))
    stage = parked(workflow)
    gc.collect()
    assert len(stage.store.records) == 1
    assert 0 < len(happened) < 5_000
    assert [record.getMessage() for record in caplog.records] == [
        (
            f"workflow code: {__file__}:{workflow.__code__.co_firstlineno + 3} in workflow catches its cancellation: "
            "catch Exception instead"
        )
    ]
    # What Python says of such code when it collects it, once.
    assert ignored == ["coroutine ignored GeneratorExit"]


def test_code_that_ignores_its_cancellation_for_ever_is_left_behind():
    async def workflow(step: Step) -> None:
        async def stubborn() -> None:
            while True:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)
                    await asyncio.Event().wait()

        task = asyncio.create_task(stubborn())
        await step.sleep("pause", "1h")
        task.cancel()

    parked(workflow)


def test_coroutines_that_were_made_but_not_begun_are_dropped_without_a_warning():
    async def helper(step: Step, number: int) -> int:
        return await step.run("help", echo, number)

    async def workflow(step: Step) -> Any:
        alone = helper(step, 0)
        listed = [helper(step, 1), helper(step, 2)]
        by_name = {"one": helper(step, 3)}
        steps = (step.run("direct", echo, 4), step.gather(helper(step, 5)), step.map("map", echo, [6]))

        async def inner() -> Any:
            return await alone

        first = await asyncio.gather(helper(step, 7), step.sleep("pause", "1h"))
        return [
            first[0],
            await inner(),
            *[await one for one in listed],
            await by_name["one"],
            *[await one for one in steps],
        ]

    async def in_the_middle_of_a_call(step: Step) -> Any:
        return await step.gather(helper(step, 1), *[helper(step, await step.sleep("pause", "1h") or 2)])  # type: ignore[func-returns-value]  # the call waits in the middle

    assert parked(workflow).play().output == [7, 0, 1, 2, 3, 4, (5,), [6]]
    assert parked(in_the_middle_of_a_call).play().output == (1, 2)


def test_large_variables_are_not_searched_when_a_run_leaves():
    async def workflow(step: Step) -> int:
        numbers = list(range(2_000_000))
        await step.sleep("pause", "1h")
        return len(numbers)

    stage = Stage(define(workflow))
    stage.claim()
    began = time.thread_time()
    stage.leave()
    # To look at each of them would take more than a second.
    assert time.thread_time() - began < 0.4


def test_a_task_that_was_made_in_a_clean_up_does_no_harm():
    async def workflow(step: Step) -> None:
        async def late() -> None:
            happened.append("late")
            await step.sleep("late", 1)

        try:
            await step.sleep("pause", "1h")
        finally:
            asyncio.create_task(late())  # noqa: RUF006  # nobody keeps it: that is the point
            asyncio.get_running_loop().call_soon(happened.append, "called")

    parked(workflow)
    assert sorted(happened) == ["called", "late"]


def test_an_error_in_a_clean_up_is_ignored(caplog):
    async def workflow(step: Step) -> str:
        async def failing() -> None:
            try:
                await step.sleep("other", "2h")
            finally:
                raise ValueError("while leaving")

        task = asyncio.create_task(failing())
        try:
            await step.sleep("pause", "1h")
        except asyncio.CancelledError:
            raise KeyError("while leaving, too") from None
        task.cancel()
        with contextlib.suppress(ValueError):
            await task
        return "done"

    assert parked(workflow).play().output == "done"
    assert caplog.records == []


def test_nothing_of_a_parked_run_stays_in_memory():
    class Thing:
        def __init__(self) -> None:
            things.add(self)

    things: weakref.WeakSet[Any] = weakref.WeakSet()

    async def workflow(step: Step) -> None:
        thing = Thing()

        async def keep(value: Thing) -> None:
            await step.run("fails", echo, value)

        async with asyncio.TaskGroup() as group:
            group.create_task(keep(thing))
            group.create_task(step.sleep("pause", "1h"))

    stage = Stage(define(workflow))
    stage.claim()
    known = weakref.ref(stage.held)
    assert len(things) == 1
    stage.leave()
    stage.starts.clear()
    gc.collect()
    assert known() is None
    assert not things


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="from 3.12 on, a cancellation's traceback holds its task")
def test_a_run_that_only_sleeps_leaves_memory_without_the_garbage_collector():
    async def workflow(step: Step) -> None:
        await step.sleep("pause", "1h")

    stage = Stage(define(workflow))
    gc.disable()
    try:
        stage.claim()
        known = weakref.ref(stage.held)
        stage.leave()
        assert known() is None
    finally:
        gc.enable()


def test_a_finished_run_leaves_memory_at_once_without_the_garbage_collector():
    class Thing:
        def __init__(self) -> None:
            things.add(self)

    things: weakref.WeakSet[Any] = weakref.WeakSet()

    async def workflow(step: Step) -> int:
        thing = Thing()
        await asyncio.gather(step.run("one", echo, 1), step.run("two", echo, 2))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(step.run("three", echo, 3))
        return task.result() if thing is not None else 0

    stage = Stage(define(workflow))
    gc.collect()
    gc.disable()
    try:
        stage.claim()
        known = weakref.ref(stage.held)
        stage.play()
        assert known() is None
        assert not things
    finally:
        gc.enable()


def test_nothing_is_left_in_the_loop_around():
    async def workflow(step: Step) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(step.sleep("one", "1h"))
            group.create_task(step.run("two", echo, 2))

    async def outer() -> None:
        loop = asyncio.get_running_loop()
        before = asyncio.all_tasks()
        ended = loop.create_future()

        def play() -> None:
            Stage(define(workflow), director=Chance(1)).play()
            ended.set_result(None)

        loop.call_soon(play)
        await ended
        assert asyncio.get_running_loop() is loop
        assert asyncio.all_tasks() == before

    asyncio.run(outer())


def test_an_execution_that_never_started_can_leave():
    async def workflow(step: Step) -> None: ...

    stage = Stage(define(workflow))
    execution = Execution(stage.definition, stage.store.claim(T0), stage.around)
    execution.evict()
