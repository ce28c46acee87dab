"""The queues of a namespace, as they are now: what lies in them, and which of them are paused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from operator import attrgetter

from redisflow.client.controls import Controls
from redisflow.contract import Backend
from redisflow.durations import from_ms
from redisflow.fleet import QueueInfo


async def list_queues(connect: Callable[[], Awaitable[Backend]]) -> list[QueueInfo]:
    """See `RedisFlow.queues`."""
    backend = await connect()
    depths, controls = await asyncio.gather(backend.fleet.list_queues(), Controls(connect).list())
    paused = {control.name for control in controls if control.kind == "queue"}
    empty = paused - {depth.queue for depth in depths}
    found = [
        QueueInfo(
            name=depth.queue,
            ready=max(0, depth.runs - depth.held),
            held=depth.held,
            oldest_at=None if depth.oldest_ms is None else from_ms(depth.oldest_ms),
            is_paused=depth.queue in paused,
        )
        for depth in depths
    ]
    # One in which nothing lies is shown where it is paused, perhaps by a name that was mistyped.
    found += [QueueInfo(name=name, ready=0, held=0, oldest_at=None, is_paused=True) for name in empty]
    return sorted(found, key=attrgetter("name"))
