"""The loop for workflow code, alone: the same order of everything on every pass, and an end to what never rests."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import weakref
from typing import Any

import pytest

from redisflow.engine.loop import RunawayError, WorkflowLoop
from redisflow.errors import NotAllowedInWorkflow

MARK: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="unset")


class Reports(list[dict[str, Any]]):
    def __call__(self, context: dict[str, Any]) -> None:
        self.append(context)


def make_loop(reports: Reports | None = None, *, salt: int = 0, cpu_seconds: Any = lambda: 0.0) -> WorkflowLoop:
    return WorkflowLoop(cpu_seconds, Reports() if reports is None else reports, salt=salt)


def run(main: Any, loop: WorkflowLoop | None = None) -> Any:
    """Run workflow code that waits for nothing outside."""
    loop = loop or make_loop()
    tasks = []
    loop.run(lambda: tasks.append(loop.begin(main)))
    try:
        return tasks[0].result()
    finally:
        loop.evict()


def test_callbacks_run_in_the_order_in_which_they_were_asked_for():
    order: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(order.append, "first")
        loop.call_soon(lambda: loop.call_soon(order.append, "asked for by the second"))
        loop.call_soon(order.append, "third")

    run(main())
    assert order == ["first", "third", "asked for by the second"]


def test_a_cancelled_callback_does_not_run():
    order: list[str] = []

    async def main() -> bool:
        handle = asyncio.get_running_loop().call_soon(order.append, "cancelled")
        before = handle.cancelled()
        handle.cancel()
        return not before and handle.cancelled()

    assert run(main())
    assert order == []


def test_the_main_task_sees_nothing_of_the_context_around_it_and_leaves_nothing_there():
    async def main() -> str:
        seen = MARK.get()
        MARK.set("inner")
        return seen

    token = MARK.set("outer")
    try:
        assert run(main()) == "unset"
        assert MARK.get() == "outer"
    finally:
        MARK.reset(token)


def test_tasks_and_callbacks_have_the_context_of_those_who_asked_for_them():
    seen: list[str] = []

    async def child() -> None:
        seen.append(MARK.get())

    async def main() -> None:
        MARK.set("mine")
        await asyncio.create_task(child())
        asyncio.get_running_loop().call_soon(lambda: seen.append(MARK.get()))
        asyncio.get_running_loop().call_soon(lambda: seen.append(MARK.get()), context=contextvars.Context())

    run(main())
    assert seen == ["mine", "mine", "unset"]


async def numbers_of_tasks() -> list[int]:
    async def nothing() -> None: ...

    tasks = [asyncio.create_task(nothing()) for _ in range(100)]
    futures = [asyncio.get_running_loop().create_future() for _ in range(100)]
    await asyncio.gather(*tasks)
    return [hash(one) for one in {*tasks, *futures}]


def test_sets_of_tasks_and_futures_iterate_alike_on_every_pass():
    first = run(numbers_of_tasks(), make_loop(salt=12345))
    assert first == run(numbers_of_tasks(), make_loop(salt=12345))
    assert sorted(first) == sorted(set(first))


def test_tasks_of_different_runs_hash_differently():
    one, other = (set(run(numbers_of_tasks(), make_loop(salt=salt))) for salt in (10**6, 2 * 10**6))
    assert not one & other


def test_tasks_are_named_alike_on_every_pass():
    async def main() -> list[str]:
        async def name() -> str:
            task = asyncio.current_task()
            assert task is not None
            return task.get_name()

        own = await name()
        return [own, *await asyncio.gather(name(), name(), asyncio.create_task(name(), name="given"))]

    first = run(main())
    assert first == run(main())
    assert (first[0], first[-1]) == ("workflow", "given")
    assert len(set(first)) == 4


def test_asyncios_own_tools_work():
    async def main() -> list[Any]:
        event, lock, queue = asyncio.Event(), asyncio.Lock(), asyncio.Queue[int]()
        condition, barrier = asyncio.Condition(), asyncio.Barrier(2)
        order: list[Any] = []

        async def first() -> None:
            async with lock:
                await asyncio.sleep(0)
                order.append("first")
            await event.wait()
            await queue.put(1)
            await barrier.wait()
            async with condition:
                condition.notify_all()

        async def second() -> None:
            async with lock:
                order.append("second")
            event.set()
            order.append(await queue.get())
            async with condition:
                await barrier.wait()
                await condition.wait()
            order.append("notified")

        async with asyncio.TaskGroup() as group:
            group.create_task(first())
            group.create_task(second())
        return order

    assert run(main()) == ["first", "second", 1, "notified"]


def test_code_that_never_rests_is_stopped_by_the_number_of_its_callbacks():
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    loop = make_loop()
    with pytest.raises(RunawayError, match=r"workflow at .*test_loop\.py:\d+ in spin"):
        loop.run(lambda: loop.begin(spin()), share=0.001)
    loop.evict()


def test_code_that_never_rests_is_stopped_by_the_time_that_it_takes():
    seconds = iter(range(1_000_000))
    callbacks = 0

    async def spin() -> None:
        nonlocal callbacks
        while True:
            callbacks += 1
            await asyncio.sleep(0)

    loop = make_loop(cpu_seconds=lambda: float(next(seconds)))
    with pytest.raises(RunawayError):
        loop.run(lambda: loop.begin(spin()))
    assert callbacks < 1_000
    loop.evict()


def test_time_that_passes_between_two_runs_of_the_loop_does_not_count():
    async def rest() -> None:
        for _ in range(100):
            await asyncio.sleep(0)

    seconds = iter(range(0, 10**9, 3_600))
    loop = make_loop(cpu_seconds=lambda: float(next(seconds) // 3_600))
    for _ in range(50):
        loop.run(lambda: loop.begin(rest()))
    assert loop.unfinished() == []
    loop.evict()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_an_exit_in_a_task_stays_in_the_task(kind: type[BaseException]):
    async def main() -> None:
        raise kind("out")

    loop = make_loop()
    tasks: list[asyncio.Task[None]] = []
    loop.run(lambda: tasks.append(loop.begin(main())))
    assert isinstance(tasks[0].exception(), kind)
    loop.evict()


def test_a_callback_that_fails_is_reported_and_the_others_run():
    reports = Reports()
    ran: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: 1 // 0)
        loop.call_soon(ran.append, "after")

    run(main(), make_loop(reports))
    assert ran == ["after"]
    assert isinstance(reports[0]["exception"], ZeroDivisionError)


def test_the_running_loop_and_the_hooks_of_generators_are_put_back():
    async def main() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def outer() -> None:
        around, hooks = asyncio.get_running_loop(), sys.get_asyncgen_hooks()
        seen = asyncio.get_running_loop().create_future()

        def from_a_callback() -> None:
            seen.set_result(run(main()))

        around.call_soon(from_a_callback)
        assert isinstance(await seen, WorkflowLoop)
        assert asyncio.get_running_loop() is around
        assert sys.get_asyncgen_hooks() == hooks

    asyncio.run(outer())


def test_they_are_put_back_after_an_error_too():
    def fail() -> None:
        raise ZeroDivisionError

    hooks = sys.get_asyncgen_hooks()
    with pytest.raises(ZeroDivisionError):
        make_loop().run(fail)
    assert asyncio._get_running_loop() is None
    assert sys.get_asyncgen_hooks() == hooks


def test_a_future_that_is_touched_while_the_code_does_not_run_refuses():
    futures: list[asyncio.Future[None]] = []

    async def main() -> None:
        futures.append(asyncio.get_running_loop().create_future())
        await futures[0]

    loop = make_loop()
    loop.run(lambda: loop.begin(main()))
    with pytest.raises(NotAllowedInWorkflow, match="return value alone"):
        futures[0].set_result(None)
    loop.evict()


def test_a_loop_and_its_tasks_leave_memory_when_the_run_is_dropped():
    class Thing:
        pass

    async def main() -> None:
        thing = Thing()
        things.add(thing)
        await asyncio.get_running_loop().create_future()

    things: weakref.WeakSet[Thing] = weakref.WeakSet()
    loop = make_loop()
    loop.run(lambda: loop.begin(main()))  # noqa: F821  # it is dropped further down
    known = weakref.ref(loop)
    assert len(things) == 1
    loop.evict()
    del loop
    gc.collect()
    assert not things
    assert known() is None
