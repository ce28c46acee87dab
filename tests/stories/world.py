"""What stories share: waiting for something to become true, and taking over the workflows of the examples."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from redisflow import RedisFlow, RetryPolicy, Workflow

T = TypeVar("T")

QUICK = RetryPolicy(initial_interval="20ms", jitter=0)
"""The default number of attempts, without the waiting."""


WITHIN_S = 60.0
"""For what takes milliseconds: so long that only what never comes is late, on a busy machine too."""


PUNCTUAL = timedelta(milliseconds=500)
"""Milliseconds, as a rule. What is found at the next regular look, and not when it is due, is later (a second)."""


async def eventually(look: Callable[[], Awaitable[T]], *, within: float = WITHIN_S) -> T:
    """Look again and again until what is seen is true, and return it; the deadline fails the test."""
    deadline_s = time.monotonic() + within
    while True:
        seen = await look()
        if seen:
            return seen
        assert time.monotonic() < deadline_s, f"not within {within} s; last seen: {seen!r}"
        await asyncio.sleep(0.01)


async def until(flow: RedisFlow, run_id: str, holds: Callable[[Any], object], *, within: float = WITHIN_S) -> Any:
    """Look at a run until it is as it should be; Any, since a story knows which fields are set.

    What it waits for must stay true until it is seen: a busy machine looks late.
    """
    deadline_s = time.monotonic() + within
    while True:
        run = await flow.get_run(run_id)
        if holds(run):
            return run
        assert time.monotonic() < deadline_s, f"not within {within} s; last seen: {run!r}"
        await asyncio.sleep(0.01)


async def at_best(measure: Callable[[], Awaitable[timedelta]], enough: timedelta, *, attempts: int = 10) -> timedelta:
    """Measure again and again until it is less than enough; return the least. A busy machine makes some measurements
    large, and a defect all of them."""
    least = await measure()
    for _ in range(attempts - 1):
        if least < enough:
            break
        least = min(least, await measure())
    return least


def adopt(flow: RedisFlow, workflow: Workflow[Any, Any]) -> Any:
    """Register the workflow of an example with the flow of a test; tests/typing looks at the types."""
    assert workflow.definition is not None
    return flow.implement_workflow(workflow.spec, retry=workflow.definition.retry)(workflow.fn)
