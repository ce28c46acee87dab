"""Stores what a worker has counted, every few seconds and at its end; and once a minute how much waits in each queue.

A worker that crashes loses what it has counted since its last flush. The depths of queues are looked at by one worker
of the namespace.
"""

from __future__ import annotations

import asyncio
import contextlib
import random

from redisflow.contract import Backend
from redisflow.errors import BackendError
from redisflow.telemetry.counting import MinuteCounts

FLUSH_S = 3.0
SAMPLE_S = 30.0
"""Twice a minute, so that none is left out."""


class CountingService:
    """Of one worker."""

    def __init__(self, backend: Backend, worker: str, counts: MinuteCounts) -> None:
        """`counts` is told what happens."""
        self._backend = backend
        self._worker = worker
        self._counts = counts
        self._calls = 0

    async def flush_forever(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(FLUSH_S * random.uniform(0.8, 1.0))  # noqa: S311  # jitter
            await self.flush()

    async def flush(self) -> None:
        """Store what was counted. What the server refuses is kept for the next time."""
        left = self._counts.take()
        try:
            for minute in sorted(left):
                fields = {
                    name: number for workflow, tally in left[minute].items() for name, number in tally.fields(workflow)
                }
                self._calls += 1
                await self._backend.metrics.add(self._worker, self._calls, minute, fields)
                del left[minute]
        finally:
            self._counts.put_back(left)

    async def flush_at_end(self, within_s: float) -> None:
        """The last ones, where the server takes them soon."""
        with contextlib.suppress(TimeoutError, BackendError):
            await asyncio.wait_for(self.flush(), within_s)

    async def sample_forever(self) -> None:
        """Until it is cancelled, as long as this worker has the turn."""
        while True:
            if await self._backend.take_turn(0, "queues", self._worker, int(SAMPLE_S * 1500)):
                queues = await self._backend.fleet.list_queues()
                await self._backend.metrics.sample_queues(
                    {each.queue: max(0, each.runs - each.held) for each in queues}
                )
            await asyncio.sleep(SAMPLE_S * random.uniform(0.8, 1.0))  # noqa: S311  # jitter
