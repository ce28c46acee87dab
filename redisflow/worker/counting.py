"""Stores what a worker has counted, every few seconds and at its end; and once a minute how much waits in each queue.

A worker that crashes loses what it has counted since its last flush. The depths of queues are looked at by one worker
of the namespace.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping
from dataclasses import dataclass

from redisflow.contract import Backend
from redisflow.errors import BackendError, BackendUnavailable
from redisflow.telemetry.counting import HELD_MINUTES, MinuteCounts

FLUSH_S = 3.0
SAMPLE_S = 30.0
"""Twice a minute, so that none is left out."""
MOST_QUEUES = 100
"""The deepest: whoever names a queue for each customer has many, and each minute of a day would hold them all."""


@dataclass(frozen=True, slots=True)
class _Call:
    """What is to be added to a minute: sent again as it is, by its number, until it is answered."""

    number: int
    fields: Mapping[str, int]


class CountingService:
    """Of one worker."""

    def __init__(self, backend: Backend, worker: str, counts: MinuteCounts) -> None:
        """`counts` is told what happens."""
        self._backend = backend
        self._worker = worker
        self._counts = counts
        self._number = 0
        self._unanswered: dict[int, _Call] = {}
        """By minute: what comes meanwhile for the same minute is counted on, and sent after it."""

    async def flush_forever(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(FLUSH_S * random.uniform(0.8, 1.0))  # noqa: S311  # jitter
            await self.flush()

    async def flush(self) -> None:
        """Store what was counted. A minute that is refused keeps back no other, and is tried again the next time."""
        self._make_calls()
        refusal: BackendError | None = None
        for minute, call in list(self._unanswered.items()):
            try:
                await self._backend.metrics.add(self._worker, call.number, minute, call.fields)
            except BackendUnavailable:
                raise
            except BackendError as error:
                refusal = refusal or error
            else:
                del self._unanswered[minute]
        if refusal is not None:
            raise refusal

    def _make_calls(self) -> None:
        counts = self._counts.take()
        for minute in sorted(counts.keys() - self._unanswered.keys()):
            self._number += 1
            workflows = counts.pop(minute)
            fields = {name: number for workflow, tally in workflows.items() for name, number in tally.fields(workflow)}
            self._unanswered[minute] = _Call(self._number, fields)
        self._counts.put_back(counts)
        for minute in sorted(self._unanswered)[:-HELD_MINUTES]:
            del self._unanswered[minute]

    async def flush_at_end(self, within_s: float) -> None:
        """The last ones, where the server takes them soon."""
        with contextlib.suppress(TimeoutError, BackendError):
            async with asyncio.timeout(within_s):
                await self.flush()
                # What has come for a minute whose call was still to be answered.
                await self.flush()

    async def sample_forever(self) -> None:
        """Until it is cancelled, as long as this worker has the turn."""
        while True:
            if await self._backend.take_turn(0, "queues", self._worker, int(SAMPLE_S * 1500)):
                depths = {each.queue: max(0, each.runs - each.held) for each in await self._backend.fleet.list_queues()}
                deepest = sorted(depths, key=lambda queue: (-depths[queue], queue))[:MOST_QUEUES]
                await self._backend.metrics.sample_queues({queue: depths[queue] for queue in deepest})
            await asyncio.sleep(SAMPLE_S * random.uniform(0.8, 1.0))  # noqa: S311  # jitter
