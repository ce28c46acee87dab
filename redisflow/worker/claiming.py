"""Claims runs of one partition while there is room, and sleeps on the bell while there is nothing to claim.

One claim is under way at a time, and each carries an operation id: if its reply is lost, the same runs come again.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from typing import Protocol

from redisflow.contract import Backend, Claim, ClaimBatch, RunClock
from redisflow.worker.options import CLAIM_AT_ONCE

CLAIM_PATIENCE_S = 2.0
"""How long a stopping worker waits for the answer to its last claim."""

AWAY_S = 1.0
"""A claim that is not answered for so long keeps no places from other partitions, whose servers may well be there."""

_operations = itertools.count()


class Taker(Protocol):
    """What claiming needs of its worker."""

    name: str
    backend: Backend

    def reserve(self, most: int) -> int:
        """Set up to `most` free places aside; 0 where there is none."""
        ...

    def give_back(self, places: int) -> None:
        """The places that were set aside; the claim is over."""
        ...

    async def wait_for_room(self) -> None:
        """Sleep until a place is free."""
        ...

    def take(self, claim: Claim, clock: RunClock) -> None:
        """A run was claimed."""
        ...

    def hand_back(self, claim: Claim) -> None:
        """A run was claimed for which there is no place any more."""
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
        claims = _Claims(taker, partition, queues)
        call = asyncio.ensure_future(claims.go_on(places))
        try:
            await asyncio.wait({call})
        except asyncio.CancelledError:
            # Runs that were claimed and dropped here would wait for a lease to end.
            claims.is_last = True
            await asyncio.wait({call}, timeout=CLAIM_PATIENCE_S)
            if call.done() and not call.cancelled():
                call.exception()
            call.cancel()
            raise
        if call.result():
            # Let the runs just taken have the loop before the next claim is sent.
            await asyncio.sleep(0)
        else:
            # The time-out is the net under a token whose taker died; jitter keeps workers from moving in step.
            await taker.backend.wait_bell(partition, queues, random.uniform(1.0, 2.0))  # noqa: S311  # jitter


class _Claims:
    """Claims that follow each other while there is more to be had."""

    def __init__(self, taker: Taker, partition: int, queues: Sequence[str]) -> None:
        self.is_last = False
        """The one that is under way; nothing is claimed after it."""
        self._taker = taker
        self._partition = partition
        self._queues = queues
        self._places = 0

    async def go_on(self, places: int) -> bool:
        """Claim while claims come back full and there is room; whether there was anything in the last one."""
        taker = self._taker
        loop = asyncio.get_running_loop()
        while True:
            self._places = places
            lending = loop.call_later(AWAY_S, self._lend_places)
            try:
                batch = await self._claim(places)
            finally:
                lending.cancel()
                # What was taken has its place in the list of held runs by now.
                taker.give_back(self._places)
            if batch.broken:
                taker.report_broken(self._partition, batch.broken)
            found = len(batch.claims) + batch.broken
            if found < places or self.is_last:
                return found > 0
            # The next claim leaves before the runs just taken start: the server works on it while they run.
            places = taker.reserve(CLAIM_AT_ONCE)
            if not places:
                return True

    async def _claim(self, places: int) -> ClaimBatch:
        taker = self._taker
        # Unique over all workers: it becomes the nonce of the fences that this claim gives.
        operation = f"{taker.name[-8:]}{next(_operations):x}"
        sent_s = time.monotonic()
        batch = await taker.backend.claim_runs(self._partition, taker.name, operation, places, self._queues)
        clock = taker.backend.read_clock(batch.now_ms, sent_s, time.monotonic())
        if not self._places:
            self._places = taker.reserve(len(batch.claims))
            for claim in batch.claims[self._places :]:
                taker.hand_back(claim)
        for claim in batch.claims[: self._places]:
            taker.take(claim, clock)
        return batch

    def _lend_places(self) -> None:
        """To whoever can use them meanwhile. The claim is still under way: its runs are taken as there is room then."""
        self._taker.give_back(self._places)
        self._places = 0
