"""Several step calls at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from redisflow.authoring.step_call import close_all


async def gather_calls(calls: list[Awaitable[Any]]) -> tuple[Any, ...]:
    """All of them; the first failure is raised, and the others are given up."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return tuple(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


async def map_calls(calls: list[Awaitable[Any]], *, limit: int) -> list[Any]:
    """All of them in order, at most `limit` at once; after a failure those that have not begun do not begin."""
    results: list[Any] = [None] * len(calls)
    places = iter(range(len(calls)))

    async def work() -> None:
        for place in places:
            results[place] = await calls[place]

    try:
        await gather_calls([work() for _ in range(min(limit, len(calls)))])
    finally:
        close_all(calls)
    return results
