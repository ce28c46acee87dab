"""`Burst`: a worker that ends when nothing is left to do, for jobs that are started by a clock, and in CI.

It may be the only worker that there ever is. So what other workers do from time to time it does once, before it looks
whether there is anything to do: runs of dead workers are taken up, and what is due is deleted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import TypeAlias

from redisflow.contract import Backend
from redisflow.errors import BackendUnavailable
from redisflow.worker.timers import WAKE_AT_ONCE

LOOK_S = 0.2
"""Between two looks: a claim that is under way is seen by one of them, among the runs that lie there or as held."""
CALM = 3
"""Looks in a row that find nothing."""

Service: TypeAlias = Callable[[], Awaitable[None]]

_log = logging.getLogger("redisflow.worker")


class Burst:
    """Of one worker."""

    def __init__(
        self,
        backend: Backend,
        queues: Collection[str],
        *,
        count_held: Callable[[], int],
        count_taken: Callable[[], int],
    ) -> None:
        """How many runs the worker holds, and how many it has taken up until now."""
        self._backend = backend
        self._queues = queues
        self._count_held = count_held
        self._count_taken = count_taken
        self._first_rounds: list[asyncio.Event] = []

    def begin_with(self, once: Callable[[], Awaitable[object]], then: Service) -> Service:
        """A service that does `once` before anything else; the burst waits for that.

        Where it is refused, that is told as for any service, and what it was to do is left to `then`.
        """
        is_over = asyncio.Event()
        self._first_rounds.append(is_over)

        async def work() -> None:
            if not is_over.is_set():
                try:
                    await once()
                finally:
                    is_over.set()
            await then()

        return work

    async def wait_until_calm(self) -> int:
        """Return when no run is ready in its queues, and this worker holds none; how many are held by other workers.

        Runs that wait for something (a timer, a retry, a signal) are in no queue, and not waited for. What another
        worker holds is left to it, or where that one has died to a worker that is there when the lease is over.
        """
        for each in self._first_rounds:
            await each.wait()
        calm = held = seen = 0
        while calm < CALM:
            await asyncio.sleep(LOOK_S)
            try:
                if calm == 0 and not self._count_held():
                    await asyncio.gather(*map(self._move_on, range(self._backend.partitions)))
                depths = await self._backend.fleet.list_queues()
            except BackendUnavailable as error:  # such a look has the patience of a client
                _log.debug("looked at later: %s", error)
                calm = 0
                continue
            own = [depth for depth in depths if depth.queue in self._queues]
            held = sum(depth.held for depth in own)
            ready = sum(depth.runs for depth in own) - held
            # What was taken up and has ended between two looks may have posted something since `_move_on`.
            before, seen = seen, self._count_taken()
            calm = 0 if ready > 0 or self._count_held() or seen != before else calm + 1
        return held

    async def _move_on(self, partition: int) -> None:
        """Bring what is due to its queue, and what was posted to where it is for.

        The watcher of the partition does the same, but may be another worker's, which has died a moment ago.
        """
        woken = WAKE_AT_ONCE
        while woken == WAKE_AT_ONCE:
            woken, _ = await self._backend.wake_runs(partition, WAKE_AT_ONCE)
        while await self._backend.outbox.deliver(partition):
            pass
