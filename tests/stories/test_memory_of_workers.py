"""What a run leaves behind in its worker: nothing, at once, without the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter

import pytest

from redisflow import RetryPolicy, Step, StepError, StepOptions
from tests.stories.world import eventually

RUNS = 20


async def double(number: int) -> int:
    return number * 2


def double_in_a_thread(number: int) -> int:
    return number * 2


async def fail(number: int) -> int:
    raise ValueError(number)


@pytest.mark.parametrize(
    "ways",
    [
        "success",
        pytest.param(
            "failures and waits",
            marks=pytest.mark.skipif(
                sys.version_info >= (3, 12),
                reason="a coroutine's frame knows its caller from 3.12: tracebacks are rings for the collector",
            ),
        ),
    ],
)
async def test_runs_that_ended_leave_no_garbage(valkey_flow, ways):
    flow = valkey_flow

    @flow.define_workflow("many-ways")
    async def many_ways(number: int, step: Step) -> int:
        both = await asyncio.gather(step.run("one", double, number), step.run("two", double_in_a_thread, number))
        if ways == "success":
            return sum(both)
        await step.sleep("nap", "10ms")
        try:
            await step.run(StepOptions("bad", timeout="5s", retry=RetryPolicy(maximum_attempts=1)), fail, number)
        except StepError:
            return sum(both)
        return 0

    async with flow.new_worker(lease="2s") as worker:
        await (await many_ways.run(1)).result(timeout="20s")
        await eventually(lambda: asyncio.sleep(0, not worker._held))
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            handles = [await many_ways.run(number) for number in range(RUNS)]
            assert [await handle.result(timeout="20s") for handle in handles] == [4 * n for n in range(RUNS)]
            await eventually(lambda: asyncio.sleep(0, not worker._held))
            gc.collect()
            left = Counter(type(one).__qualname__ for one in gc.garbage if type(one).__module__.startswith("redisflow"))
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    # Failures are told with tracebacks, which are rings of their own.
    assert {kind: count for kind, count in left.items() if count >= RUNS} == {}
