"""What stories share: waiting for something to become true, and taking over the workflows of the examples."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redisflow import RedisFlow, RetryPolicy, Workflow

T = TypeVar("T")

QUICK = RetryPolicy(initial_interval="20ms", jitter=0)
"""The default number of attempts, without the waiting."""


async def eventually(look: Callable[[], Awaitable[T]], *, within: float = 5.0) -> T:
    """Look again and again until what is seen is true, and return it; the deadline fails the test."""
    deadline_s = time.monotonic() + within
    while True:
        seen = await look()
        if seen:
            return seen
        assert time.monotonic() < deadline_s, f"not within {within} s; last seen: {seen!r}"
        await asyncio.sleep(0.01)


async def until(flow: RedisFlow, run_id: str, holds: Callable[[Any], object], *, within: float = 5.0) -> Any:
    """Look at a run until it is as it should be; Any, since a story knows which fields are set."""
    deadline_s = time.monotonic() + within
    while True:
        run = await flow.get_run(run_id)
        if holds(run):
            return run
        assert time.monotonic() < deadline_s, f"not within {within} s; last seen: {run!r}"
        await asyncio.sleep(0.01)


def adopt(flow: RedisFlow, workflow: Workflow[Any, Any]) -> Any:
    """Register the workflow of an example with the flow of a test; tests/typing looks at the types."""
    assert workflow.definition is not None
    return flow.implement_workflow(workflow.spec, retry=workflow.definition.retry)(workflow.fn)
