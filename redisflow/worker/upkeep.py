"""Upkeep: runs with an expired lease go back to their stream, lost hints are rebuilt, dead consumers are deleted.

One worker does it per partition and interval, in bounded steps; two doing it at once would only do double work.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from redisflow.contract import Backend

_log = logging.getLogger("redisflow.worker")


@dataclass(slots=True)
class UpkeepService:
    """Upkeep of one partition, as one of its workers does it."""

    backend: Backend
    partition: int
    worker: str
    queues: Sequence[str]
    lease_ms: int
    crash_limit: int
    every_s: float
    rounds: int = 0
    reclaimed: Callable[[int], object] = int
    """Is told how many runs were taken from others, where there are any."""

    async def run_forever(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(self.every_s * random.uniform(0.8, 1.0))  # noqa: S311  # jitter
            asked_s = time.monotonic()
            has_turn = await self.backend.take_turn(self.partition, "upkeep", self.worker, int(self.every_s * 1500))
            # After an outage whoever is alive is to be heard from first, or a worker that could not renew its presence
            # would be taken for one that has crashed, and its runs, after some outages in a row, for poisoned.
            if has_turn and time.monotonic() - asked_s < self.every_s:
                await self.run_once()

    async def run_once(self) -> int:
        """One round; returns how many runs were given back."""
        reclaimed = 0
        for queue in self.queues:
            done = False
            while not done:
                step = await self.backend.reclaim_runs(self.partition, queue, self.lease_ms, self.crash_limit)
                done = step.done
                reclaimed += step.reclaimed
                if step.reclaimed or step.poisoned:
                    self.reclaimed(step.reclaimed + step.poisoned)
                if step.reclaimed or step.poisoned or step.lost:
                    _log.warning(
                        "upkeep: %d runs taken from dead workers, %d poisoned, %d entries lost (queue %s)",
                        step.reclaimed,
                        step.poisoned,
                        step.lost,
                        queue,
                    )
            # Both change slowly: every eighth round is soon enough.
            if self.rounds % 8 == 0:
                await self.backend.sweep_workers(self.partition, queue)
        if self.rounds % 8 == 0:
            step = await self.backend.reconcile_runs(self.partition)
            if step.lost:
                _log.warning("upkeep: %d lost entries or timers rebuilt", step.lost)
        self.rounds += 1
        return reclaimed
