"""`burst`: a worker that ends when nothing is left to do, for jobs that are started by a clock, and in CI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from redisflow.contract import Backend

LOOK_S = 0.2
"""Between two looks: a claim that is under way is seen by one of them, among the runs that lie there or as held."""
CALM = 3
"""Looks in a row that find nothing."""


async def wait_until_calm(backend: Backend, queues: Collection[str], count_held: Callable[[], int]) -> None:
    """Return when no run is ready in these queues, and this worker holds none.

    Runs that wait for something (a timer, a retry, a signal) are in no queue, and not waited for.
    """
    calm = 0
    while calm < CALM:
        await asyncio.sleep(LOOK_S)
        depths = await backend.fleet.list_queues()
        ready = sum(depth.runs - depth.held for depth in depths if depth.queue in queues)
        calm = 0 if ready > 0 or count_held() else calm + 1
