"""What workflow code may not do: it is told at the line where it tries, and what to use instead."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest

from redisflow.authoring.options import StepOptions
from redisflow.authoring.step import Step
from redisflow.errors import NotAllowedInWorkflow
from redisflow.retry import NO_RETRY
from tests.engine.stage import Stage, define


def echo(value: Any = None) -> Any:
    return value


async def sleeps() -> None:
    await asyncio.sleep(1)


async def sleeps_with_anyio() -> None:
    await anyio.sleep(1)


async def times_out() -> None:
    async with asyncio.timeout(5):
        pass


async def times_out_with_anyio() -> None:
    with anyio.fail_after(5):
        pass


async def waits_for_a_time() -> None:
    await asyncio.wait_for(asyncio.get_running_loop().create_future(), 1)


async def waits_with_a_timeout() -> None:
    await asyncio.wait([asyncio.create_task(asyncio.Event().wait())], timeout=1)


async def calls_later() -> None:
    asyncio.get_running_loop().call_later(1, print)


async def calls_at() -> None:
    asyncio.get_running_loop().call_at(1, print)


async def uses_a_thread() -> None:
    await asyncio.to_thread(print)


async def uses_an_executor() -> None:
    await asyncio.get_running_loop().run_in_executor(None, print)


async def opens_a_connection() -> None:
    await asyncio.open_connection("localhost", 1)


async def uses_a_socket() -> None:
    with socket.socket() as one:
        await asyncio.get_running_loop().sock_recv(one, 1)


async def serves() -> None:
    await asyncio.start_server(print, "localhost", 0)


async def starts_a_process() -> None:
    await asyncio.create_subprocess_exec("true")


async def looks_up_a_name() -> None:
    await asyncio.get_running_loop().getaddrinfo("localhost", 1)


async def watches_a_file() -> None:
    asyncio.get_running_loop().add_reader(0, print)


async def stops_the_loop() -> None:
    asyncio.get_running_loop().stop()


async def runs_another_loop() -> None:
    asyncio.get_running_loop().run_until_complete(None)  # type: ignore[arg-type]  # it never gets so far


TIME = "`await step.sleep(name, duration)`, or `timeout=` in StepOptions"
STEP = "`await step.run(name, fn)`"


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        *((code, TIME) for code in (sleeps, sleeps_with_anyio, times_out, times_out_with_anyio, waits_for_a_time)),
        *((code, TIME) for code in (waits_with_a_timeout, calls_later, calls_at)),
        *((code, STEP) for code in (uses_a_thread, uses_an_executor, opens_a_connection, uses_a_socket, serves)),
        *((code, STEP) for code in (starts_a_process, looks_up_a_name, watches_a_file, stops_the_loop)),
        (runs_another_loop, STEP),
    ],
)
def test_it_is_refused_at_its_line_with_what_to_use_instead(code: Callable[[], Any], advice: str):
    async def workflow(step: Step) -> None:
        await step.run("before", echo)
        await code()

    stage = Stage(define(workflow)).play()
    assert stage.store.status == "failed"
    assert stage.failure is not None
    assert stage.failure.error_type == "redisflow.errors.NotAllowedInWorkflow"
    assert advice in stage.failure.message
    assert re.search(rf"test_refusals\.py:\d+ in {code.__name__}\)", stage.failure.message)


def test_a_refusal_can_be_caught_and_the_workflow_goes_on():
    async def workflow(step: Step) -> Any:
        try:
            await asyncio.sleep(1)
        except NotAllowedInWorkflow:
            await step.sleep("instead", 1)
        return await step.run("after", echo, 1)

    assert Stage(define(workflow)).play().output == 1


def test_waits_without_time_are_allowed():
    async def workflow(step: Step) -> Any:
        await asyncio.sleep(0)
        async with asyncio.timeout(None):
            return await asyncio.wait_for(step.run("one", echo, 1), None)

    assert Stage(define(workflow)).play().output == 1


def test_a_future_that_nobody_resolves_fails_the_run_and_names_the_line():
    async def helper() -> None:
        await asyncio.get_running_loop().create_future()

    async def workflow(step: Step) -> None:
        await step.run("before", echo)
        await asyncio.gather(helper(), step.run("beside", echo))

    stage = Stage(define(workflow)).play()
    assert stage.store.status == "failed"
    assert stage.failure is not None
    line = helper.__code__.co_firstlineno + 1
    assert f"test_refusals.py:{line} in helper" in stage.failure.message
    assert "nothing can ever wake it" in stage.failure.message


def test_a_thread_that_anyio_starts_cannot_wake_the_workflow():
    async def workflow(step: Step) -> None:
        await anyio.to_thread.run_sync(print)

    stage = Stage(define(workflow)).play()
    assert stage.failure is not None
    assert stage.failure.error_type == "redisflow.errors.NotAllowedInWorkflow"


def test_code_that_never_stops_yielding_is_suspended_and_nothing_is_lost():
    spinning = True

    async def workflow(step: Step) -> str:
        await step.run("one", echo)
        other = asyncio.create_task(step.sleep("pause", "1h"))
        while spinning and not other.done():
            await asyncio.sleep(0)
        return "done"

    seconds = iter(range(10**9))
    stage = Stage(define(workflow), cpu_seconds=lambda: float(next(seconds))).play()
    assert stage.store.status == "suspended"
    assert "without waiting for a step" in stage.store.message
    assert re.search(r"workflow at .*test_refusals\.py:\d+ in workflow", stage.store.message)
    spinning = False
    stage.store.status = "pending"
    assert stage.play().output == "done"
    assert stage.counts == {"one": 1}


def test_asyncio_as_completed_over_coroutines_is_refused_and_over_tasks_and_steps_is_not():
    async def helper(step: Step, number: int) -> int:
        return await step.run("one", echo, number)

    async def over_coroutines(step: Step) -> Any:
        for one in asyncio.as_completed([helper(step, 1), helper(step, 2)]):
            await one

    async def over_tasks(step: Step) -> Any:
        return [await one for one in asyncio.as_completed([asyncio.create_task(helper(step, n)) for n in (1, 2)])]

    async def over_steps(step: Step) -> Any:
        return [await one for one in asyncio.as_completed([step.run("one", echo, n) for n in (1, 2)])]

    stage = Stage(define(over_coroutines)).play()
    assert stage.failure is not None
    assert "step.as_completed(calls)" in stage.failure.message
    assert re.search(r"test_refusals\.py:\d+ in over_coroutines", stage.failure.message)
    assert Stage(define(over_tasks)).play().output == [1, 2]
    assert Stage(define(over_steps)).play().output == [1, 2]


def test_asyncio_wait_for_futures_without_an_order_is_refused():
    async def workflow(step: Step) -> Any:
        groups = [asyncio.gather(step.run("one", echo)), asyncio.gather(step.run("two", echo))]
        await asyncio.wait(groups, return_when=asyncio.FIRST_COMPLETED)

    stage = Stage(define(workflow)).play()
    assert stage.failure is not None
    assert "asyncio.create_task(...)" in stage.failure.message
    assert re.search(r"test_refusals\.py:\d+ in workflow", stage.failure.message)


def test_a_body_cannot_ask_for_steps():
    steps: list[Step] = []

    def body() -> None:
        steps[0].run("inner", echo)

    async def workflow(step: Step) -> None:
        steps[:] = [step]
        await step.run(StepOptions("outer", retry=NO_RETRY), body)

    stage = Stage(define(workflow)).play()
    assert stage.failure is not None
    assert "step.run('inner') was called outside its workflow's code" in stage.failure.message
    assert stage.counts == {"outer": 1}


def test_a_body_cannot_wake_its_workflow_by_an_event():
    events: list[asyncio.Event] = []

    def body() -> None:
        events[0].set()

    async def workflow(step: Step) -> None:
        events[:] = [asyncio.Event()]
        await asyncio.gather(events[0].wait(), step.run(StepOptions("outer", retry=NO_RETRY), body))

    stage = Stage(define(workflow)).play()
    assert stage.failure is not None
    assert "A step's body speaks to its workflow by its return value alone" in stage.failure.message


def test_what_is_for_bodies_is_refused_in_workflow_code_and_the_other_way_round():
    async def workflow(step: Step) -> list[str]:
        refused = []
        for read in (lambda: step.idempotency_key, lambda: step.attempt, lambda: step.resources, step.heartbeat):
            with pytest.raises(NotAllowedInWorkflow) as caught:
                read()
            refused.append(str(caught.value).split(" is for")[0])
        return refused

    assert Stage(define(workflow)).play().output == [
        "step.idempotency_key",
        "step.attempt",
        "step.resources",
        "step.heartbeat",
    ]


def test_a_workflow_function_that_only_looks_async_is_run_all_the_same():
    class Callable:
        async def __call__(self, step: Step) -> Any:
            return await step.run("one", echo, 1)

    stage = Stage(define(Callable()))
    assert stage.play().output == 1
