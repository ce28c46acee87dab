"""Traps of bodies: those that outlive their timeout, leave in odd ways, queue, or are still there at the end."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import AsyncIterator

import pytest

from redisflow import RedisFlow, RetryPolicy, Step, StepError, StepOptions
from redisflow.authoring.body import current_body
from tests.crash.harness import Crew

SOON = RetryPolicy(initial_interval="10ms", backoff_coefficient=1, maximum_attempts=3, jitter=0)
ONCE = RetryPolicy(maximum_attempts=1)
WITHIN_S = 10.0


async def seen(event: asyncio.Event) -> None:
    async with asyncio.timeout(WITHIN_S):
        await event.wait()


async def test_a_retry_that_is_due_beside_a_body_of_minutes_acts_on_the_worker_that_holds_the_run(
    flow: RedisFlow, crew: Crew
) -> None:
    over, tried_again = asyncio.Event(), asyncio.Event()

    async def body_of_minutes() -> str:
        await over.wait()
        return "long"

    async def flaky() -> str:
        if crew.journal.body_starts() == 1:
            raise ConnectionError
        tried_again.set()
        return "flaky"

    @flow.define_workflow("beside")
    async def beside(step: Step) -> list[str]:
        flaky_call = step.run(StepOptions("flaky", retry=SOON), flaky)
        return list(await asyncio.gather(step.run("long", body_of_minutes), flaky_call))

    crew.know(beside.definition)
    _, backend = await crew.hire()
    handle = await beside.run()
    await seen(tried_again)
    run = await handle.get()
    assert (run.status, run.claims) == ("running", 1)
    over.set()
    assert await handle.result(timeout=WITHIN_S) == ["long", "flaky"]
    assert "park_run" not in backend.calls


@pytest.mark.parametrize("beside_another", [False, True], ids=["alone", "beside-another-body"])
async def test_a_sync_body_that_outlives_its_timeout_is_not_tried_again_before_it_ends(
    flow: RedisFlow, crew: Crew, beside_another: bool
) -> None:
    may_end, other_over = threading.Event(), asyncio.Event()
    alive: list[int] = []
    together: list[int] = []

    def stubborn() -> str:
        alive.append(1)
        together.append(len(alive))
        if len(together) == 1:
            may_end.wait(WITHIN_S)
        alive.pop()
        return "at last"

    async def other() -> None:
        await other_over.wait()

    @flow.define_workflow("stubborn")
    async def workflow(step: Step) -> str:
        options = StepOptions("stubborn", retry=SOON, timeout="30ms")
        if not beside_another:
            return await step.run(options, stubborn)
        found, _ = await step.gather(step.run(options, stubborn), step.run("other", other))
        return found

    crew.know(workflow.definition)
    _, backend = await crew.hire()
    handle = await workflow.run()
    await asyncio.sleep(0.3)  # the timeout and several backoffs: nothing is to come of them
    assert together == [1]
    assert "park_run" not in backend.calls
    assert (await handle.get()).status == "running"
    may_end.set()
    other_over.set()
    assert await handle.result(timeout=WITHIN_S) == "at last"
    assert together == [1, 1]


async def test_bodies_beyond_the_limit_of_a_worker_queue(flow: RedisFlow, crew: Crew) -> None:
    running: set[int] = set()
    most: list[int] = []

    async def work(number: int) -> int:
        running.add(number)
        most.append(len(running))
        await asyncio.sleep(0.002)  # the work itself
        running.remove(number)
        return number

    @flow.define_workflow("wide")
    async def wide(step: Step) -> list[int]:
        return list(await step.gather(*(step.run(f"work-{number}", work, number) for number in range(40))))

    crew.know(wide.definition)
    await crew.hire(max_bodies=3)
    handle = await wide.run()
    assert await handle.result(timeout=WITHIN_S) == list(range(40))
    assert max(most) == 3


async def test_a_timeout_counts_from_when_the_thread_is_there(flow: RedisFlow, crew: Crew) -> None:
    def work(number: int) -> int:
        time.sleep(0.04)  # the work itself
        return number

    @flow.define_workflow("threads")
    async def threads(step: Step) -> list[int]:
        calls = (step.run(StepOptions(f"t-{n}", retry=ONCE, timeout="400ms"), work, n) for n in range(24))
        return list(await step.gather(*calls))

    crew.know(threads.definition)
    await crew.hire(concurrency=2)
    # Two threads, 24 bodies of 40 ms: the last one starts after more than its timeout.
    handle = await threads.run()
    assert await handle.result(timeout=WITHIN_S) == list(range(24))


def leave() -> None:
    sys.exit(3)


async def leave_async() -> None:
    sys.exit(3)


def stop_iteration() -> None:
    next(iter(()))


async def needs_two(one: int, two: int) -> int:
    return one + two


def needs_two_sync(one: int, two: int) -> int:
    return one + two


@pytest.mark.parametrize(
    ("body", "arguments", "kind"),
    [
        (leave, (), "SystemExit"),
        (leave_async, (), "SystemExit"),
        (stop_iteration, (), "RuntimeError"),
        (needs_two, (1,), "TypeError"),
        (needs_two_sync, (1,), "TypeError"),
    ],
    ids=["sys-exit-in-a-thread", "sys-exit", "stop-iteration", "arguments", "arguments-in-a-thread"],
)
async def test_whatever_a_body_does_is_its_steps_failure_and_the_worker_lives(
    flow: RedisFlow, crew: Crew, body, arguments: tuple[int, ...], kind: str
) -> None:
    @flow.define_workflow("odd")
    async def odd(step: Step) -> str:
        try:
            await step.run(StepOptions("odd", retry=ONCE), body, *arguments)
        except StepError as error:
            return error.error_type
        return "no failure"

    crew.know(odd.definition)
    await crew.hire()
    for _ in range(2):
        handle = await odd.run()
        assert await handle.result(timeout=WITHIN_S) == kind


async def test_what_a_body_told_of_its_progress_may_change_afterwards(flow: RedisFlow, crew: Crew) -> None:
    async def progressing() -> str:
        body = current_body.get()
        assert body is not None
        details: dict[str, object] = {"done": 1}
        body.heartbeat(details)
        details["done"] = object()
        await asyncio.sleep(1.4)  # the worker shows what runs for longer than a second
        return "done"

    @flow.define_workflow("progressing")
    async def workflow(step: Step) -> str:
        return await step.run("progressing", progressing)

    crew.know(workflow.definition)
    worker, backend = await crew.hire(lease="1s")
    handle = await workflow.run()
    assert await handle.result(timeout=WITHIN_S) == "done"
    assert "note_progress" in backend.calls
    again = await workflow.run()
    assert await again.result(timeout=WITHIN_S) == "done"
    assert worker.bodies.running == set()


async def test_bodies_clean_up_before_what_they_use_is_closed(flow: RedisFlow, crew: Crew) -> None:
    events: list[str] = []
    started = asyncio.Event()

    @contextlib.asynccontextmanager
    async def resources() -> AsyncIterator[str]:
        yield "pool"
        events.append("closed")

    async def work() -> None:
        started.set()
        try:
            await asyncio.sleep(60)  # it is cancelled
        finally:
            await asyncio.sleep(0.05)  # it gives something back, with I/O
            events.append("cleaned up")

    @flow.define_workflow("cleans-up")
    async def cleans_up(step: Step) -> None:
        await step.run("work", work)

    crew.know(cleans_up.definition)
    worker, _ = await crew.hire(resources=resources)
    handle = await cleans_up.run()
    await seen(started)
    await worker.stop(grace=0)
    assert events == ["cleaned up", "closed"]
    assert (await handle.get()).status == "pending"
    await handle.cancel()
