"""Retention: finished runs whose time is over are deleted, in bounded steps.

One worker does it per partition and interval. It leaves the server to others for most of the time: however many runs
have gathered, what is deleted at once is what a single script may.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass

from redisflow.contract import Backend

SHARE = 4
"""Pauses are so many times as long as the steps: the server spends a fifth of its time on this, and deletes some 10,000
runs a second all the same."""

_log = logging.getLogger("redisflow.worker")


@dataclass(slots=True)
class RetentionService:
    """Retention in one partition, as one of its workers looks after it."""

    backend: Backend
    partition: int
    worker: str
    every_s: float

    async def run_forever(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(self.every_s * random.uniform(0.8, 1.0))  # noqa: S311  # jitter
            purged = await self.run_once()
            if purged:
                _log.info("retention: %d finished runs of partition %d deleted", purged, self.partition)

    async def run_once(self) -> int:
        """Delete what is due, as long as this worker has the turn; returns how many runs."""
        purged, pause_s = 0, 0.0
        while await self.backend.take_turn(self.partition, "retention", self.worker, int(self.every_s * 1500)):
            await asyncio.sleep(pause_s)
            began_s = time.monotonic()
            step = await self.backend.retention.purge_runs(self.partition)
            purged += step.runs
            if step.done:
                break
            pause_s = SHARE * (time.monotonic() - began_s)
        return purged
