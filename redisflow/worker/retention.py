"""Retention: finished runs whose time is over are deleted, in bounded steps.

One worker does it per partition and interval. It leaves the server to others for most of the time: however many runs
have gathered, what is deleted at once is what a single script may.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from redisflow.contract import Backend
from redisflow.errors import PayloadStoreUnavailable

SHARE = 4
"""Pauses are so many times as long as the steps: the server spends a fifth of its time on this, and deletes some 10,000
runs a second all the same. What they have in a payload store goes at the pace of the store."""

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
            await self.run_once()

    async def run_once(self) -> int:
        """Delete what is due, as long as this worker has the turn; returns how many runs."""
        purged, pause_s, has_store = 0, 0.0, self.backend.payloads.in_use
        while await self.backend.take_turn(self.partition, "retention", self.worker, int(self.every_s * 1500)):
            await asyncio.sleep(pause_s)
            began_s = time.monotonic()
            step = await self.backend.retention.purge_runs(self.partition, tell_ids=has_store)
            pause_s = SHARE * (time.monotonic() - began_s)
            purged += step.runs
            has_store = has_store and await self._delete_payloads(step.run_ids)
            if step.done:
                break
        if purged:
            _log.info("retention: %d finished runs of partition %d deleted", purged, self.partition)
        return purged

    async def _delete_payloads(self, run_ids: Sequence[str]) -> bool:
        """Delete what they have in the store; whether it can be used. What is left there, its sweep finds."""
        calls = (self.backend.payloads.delete_run_payloads(run_id) for run_id in run_ids)
        for error in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(error, PayloadStoreUnavailable):
                _log.warning("retention: payloads of deleted runs are left to the sweep: %s", error)
                return False
            if error is not None:
                raise error
        return True
