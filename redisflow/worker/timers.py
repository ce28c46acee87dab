"""Fires timers: one watcher per partition sleeps until the next due time and brings what is due back to its stream.

It carries out what was posted to the partition's outbox, too: whoever posts tells it by the same alarm.

Whichever worker has the turn watches; it is told when an earlier due time comes. Claims wake what is due as well, so
a watcher that has just died makes timers late by the length of its turn at most, and only for idle workers.
"""

from __future__ import annotations

import asyncio
import random

from redisflow.contract import Backend

TURN_MS = 3_000
WATCH_S = 1.0
"""A watcher looks at least so often: it renews its turn, and it is the net under a lost alarm."""
WAKE_AT_ONCE = 200


async def watch_forever(backend: Backend, partition: int, worker: str) -> None:
    """Until it is cancelled."""
    alarm: asyncio.Task[bool] | None = None
    try:
        while True:
            if not await backend.take_turn(partition, "timers", worker, TURN_MS):
                await asyncio.sleep(random.uniform(1.0, 2.0))  # noqa: S311  # jitter
                continue
            woken, next_in_ms = await backend.wake_runs(partition, WAKE_AT_ONCE)
            if await backend.outbox.deliver(partition) or woken == WAKE_AT_ONCE:
                continue
            wait_s = WATCH_S if next_in_ms is None else min(WATCH_S, next_in_ms / 1000)
            if alarm is None or alarm.done():
                # It stays pending over several rounds: blocking pops are too coarse to time anything.
                alarm = asyncio.create_task(backend.wait_alarm(partition, 5.0))
            await asyncio.wait({alarm}, timeout=wait_s)
    finally:
        if alarm is not None:
            alarm.cancel()
