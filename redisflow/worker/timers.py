"""Fires timers: one watcher per partition sleeps until the next due time and brings what is due back to its stream.

It carries out what was posted to the partition's outbox, too: whoever posts tells it by the same alarm.

Whichever worker has the turn watches; it is told when an earlier due time comes. Claims wake what is due as well, so
a watcher that has just died makes timers late by the length of its turn at most, and only for idle workers. The same
watcher lets held runs go, at the pace that was asked for.
"""

from __future__ import annotations

import asyncio
import random

from redisflow.contract import Backend
from redisflow.worker.releases import drive_releases

TURN_MS = 3_000
WATCH_S = 1.0
"""A watcher looks at least so often: it renews its turn, and it is the net under a lost alarm."""
WAKE_AT_ONCE = 200


async def watch_forever(backend: Backend, partition: int, worker: str) -> None:
    """Until it is cancelled."""
    alarm: asyncio.Task[bool] | None = None
    outbox = OutboxCarrier(backend, partition)
    try:
        while True:
            if not await backend.take_turn(partition, "timers", worker, TURN_MS):
                await asyncio.sleep(random.uniform(1.0, 2.0))  # noqa: S311  # jitter
                continue
            outbox.look()
            woken, next_in_ms = await backend.wake_runs(partition, WAKE_AT_ONCE)
            release_in_ms = await drive_releases(backend, partition)
            if woken == WAKE_AT_ONCE:
                continue
            wait_s = min([WATCH_S, *(ms / 1000 for ms in (next_in_ms, release_in_ms) if ms is not None)])
            if alarm is not None and alarm.done():
                alarm.result()  # raises a refusal: the next look is then not at once, and not in silence
                alarm = None
            if alarm is None:
                # It stays pending over several rounds: blocking pops are too coarse to time anything.
                alarm = asyncio.create_task(backend.wait_alarm(partition, 5.0))
            await asyncio.wait({alarm}, timeout=wait_s)
    finally:
        outbox.stop()
        if alarm is not None:
            alarm.cancel()
            if alarm.done() and not alarm.cancelled():
                alarm.exception()  # this look ends: nobody asks for it any more


class OutboxCarrier:
    """Carries out what was posted in a partition, beside its watcher: one that is away must not make timers late."""

    def __init__(self, backend: Backend, partition: int) -> None:
        """Nothing is carried out yet."""
        self._backend = backend
        self._partition = partition
        self._task: asyncio.Task[None] | None = None
        self._look_again = False

    def look(self) -> None:
        """There may be something. What a look under way raises is raised by the next one: the worker tries again."""
        if self._task is not None and not self._task.done():
            self._look_again = True
            return
        done, self._task = self._task, None
        if done is not None and not done.cancelled():
            done.result()
        self._task = asyncio.create_task(self._carry_out())

    def stop(self) -> None:
        """What is under way is done again by whoever has the turn next."""
        if self._task is None:
            return
        self._task.cancel()
        if self._task.done() and not self._task.cancelled():
            self._task.exception()  # the worker ends: nobody asks for it any more

    async def _carry_out(self) -> None:
        while True:
            self._look_again = False
            while await self._backend.outbox.deliver(self._partition):
                pass
            if not self._look_again:
                return
