"""Claims runs of one partition while there is room, and sleeps on the bell while there is nothing to claim.

One claim is under way at a time, and each carries an operation id: if its reply is lost, the same runs come again.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from redisflow.contract import Backend, Claim, ClaimBatch
from redisflow.worker.clock import ClaimClock
from redisflow.worker.options import CLAIM_AT_ONCE

CLAIM_PATIENCE_S = 2.0
"""How long a stopping worker waits for the answer to its last claim."""

_operations = itertools.count()


class Taker(Protocol):
    """What claiming needs of its worker."""

    name: str
    backend: Backend

    def reserve(self, most: int) -> int:
        """Set up to `most` free places aside; 0 where there is none."""
        ...

    def give_back(self, places: int) -> None:
        """Places that were set aside and not used."""
        ...

    async def wait_for_room(self) -> None:
        """Sleep until a place is free."""
        ...

    def take(self, claim: Claim, clock: ClaimClock) -> None:
        """A run was claimed; it uses a place that was set aside."""
        ...

    def report_broken(self, partition: int, count: int) -> None:
        """Runs whose hash could not be read."""
        ...


async def claim_forever(taker: Taker, partition: int, queues: Sequence[str]) -> None:
    """Until it is cancelled; a claim that is under way then is still taken, and it is the worker that refuses it."""
    while True:
        places = taker.reserve(CLAIM_AT_ONCE)
        if not places:
            await taker.wait_for_room()
            continue
        # Unique over all workers: it becomes the nonce of the fences that this claim gives.
        operation = f"{taker.name[-8:]}{next(_operations):x}"
        used = 0
        try:
            sent_s = time.monotonic()
            batch = await _see_through(taker.backend.claim_runs(partition, taker.name, operation, places, queues))
            clock = ClaimClock.of(batch.now_ms, sent_s, time.monotonic())
            for claim in batch.claims:
                used += 1
                taker.take(claim, clock)
        finally:
            taker.give_back(places - used)
        if batch.broken:
            taker.report_broken(partition, batch.broken)
        if not batch.claims and not batch.broken:
            # The time-out is the net under a token whose taker died; jitter keeps workers from moving in step.
            await taker.backend.wait_bell(partition, queues, random.uniform(1.0, 2.0))  # noqa: S311  # jitter
        else:
            # Let the runs just taken have the loop before the next claim is sent.
            await asyncio.sleep(0)


async def _see_through(claim: Coroutine[Any, Any, ClaimBatch]) -> ClaimBatch:
    """Runs that were claimed and dropped here would wait for a lease to end, so a cancelled claim is still awaited."""
    task = asyncio.ensure_future(claim)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if current is not None and not task.done():
            await asyncio.wait({task}, timeout=CLAIM_PATIENCE_S)
        if not task.done() or task.cancelled() or task.exception() is not None or not task.result().claims:
            task.cancel()
            raise
        return task.result()
