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

STEPS_AT_START = 100
"""Of rebuilding lost hints, 100 runs each: half a second of the server's time for each partition at most."""

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
            has_turn, is_late = await self._ask_for_turn()
            if has_turn and not is_late:
                await self.run_once()

    async def run_at_start(self) -> None:
        """A round now, for a worker that may not be there for long enough for the next one.

        Where another has the turn it still takes runs from dead workers: that one may have died itself, a moment ago.
        """
        has_turn, is_late = await self._ask_for_turn()
        while is_late:
            await asyncio.sleep(self.every_s)
            has_turn, is_late = await self._ask_for_turn()
        if has_turn:
            await self.run_once(STEPS_AT_START)
        else:
            for queue in self.queues:
                await self._reclaim(queue)

    async def _ask_for_turn(self) -> tuple[bool, bool]:
        """Whether this worker has it, and whether the answer was late.

        After an outage whoever is alive is to be heard from first, or a worker that could not renew its presence would
        be taken for one that has crashed, and its runs, after some outages in a row, for poisoned.
        """
        asked_s = time.monotonic()
        has_turn = await self.backend.take_turn(self.partition, "upkeep", self.worker, int(self.every_s * 1500))
        return has_turn, time.monotonic() - asked_s >= self.every_s

    async def run_once(self, steps: int = 1) -> int:
        """One round, with so many steps of rebuilding lost hints at most; returns how many runs were given back."""
        reclaimed = 0
        for queue in self.queues:
            reclaimed += await self._reclaim(queue)
            # Both change slowly: every eighth round is soon enough.
            if self.rounds % 8 == 0:
                await self.backend.sweep_workers(self.partition, queue)
        if self.rounds % 8 == 0:
            await self._reconcile(steps)
        self.rounds += 1
        return reclaimed

    async def _reclaim(self, queue: str) -> int:
        reclaimed, done = 0, False
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
        return reclaimed

    async def _reconcile(self, steps: int) -> None:
        """So many steps at most, until all runs have been looked at."""
        for _ in range(steps):
            step = await self.backend.reconcile_runs(self.partition)
            if step.lost:
                _log.warning("upkeep: %d lost entries or timers rebuilt", step.lost)
            if step.done:
                return
