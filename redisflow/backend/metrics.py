"""Counters by the minute, on Redis: one hash for each minute and partition, gone a day later.

A worker adds to one partition, whichever its runs are of: readers add up all of them, and a flush is one call. Which
one follows from its name, so many workers share the work of many servers.
"""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import TYPE_CHECKING, Any
from zlib import crc32

from redisflow.backend import replies
from redisflow.minutes import KEPT_MS, Minute, queue_field, view_minute

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redisflow.backend.patience import Patience
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport

AT_ONCE = 30
"""Minutes that one call reads: of ten busy workflows some 10,000 fields, which takes the server a few ms."""


class MetricsOnRedis:
    """See `MetricCalls`. One object per backend."""

    def __init__(self, transport: Transport, scripts: Scripts, prefixes: Sequence[str], patience: Patience) -> None:
        """All that it needs to call."""
        self._transport = transport
        self._scripts = scripts
        self._prefixes = prefixes
        self._patience = patience

    async def add(self, worker: str, number: int, minute: int, counts: Mapping[str, int]) -> None:
        """See `MetricCalls`."""
        prefix = self._prefixes[crc32(worker.encode()) % len(self._prefixes)]
        command = self._scripts.add_minute.call(
            prefix,
            chain.from_iterable(counts.items()),
            minute=minute,
            # The end of a worker's name is chance, and short: it stands in every minute.
            worker=worker[-8:],
            number=number,
            keep_ms=KEPT_MS,
        )
        replies.expect_ok(await self._patience.give(self._transport.send(prefix, command)))

    async def sample_queues(self, depths: Mapping[str, int]) -> None:
        """See `MetricCalls`."""
        prefix = self._prefixes[0]
        fields = chain.from_iterable((queue_field(queue), depth) for queue, depth in depths.items())
        command = self._scripts.sample_queues.call(prefix, fields, keep_ms=KEPT_MS)
        replies.expect_ok(await self._patience.give(self._transport.send(prefix, command)))

    async def count_delayed(self) -> tuple[int, int]:
        """See `MetricCalls`."""
        calls = [(prefix, self._scripts.count_delayed.call(prefix)) for prefix in self._prefixes]
        sent = [self._patience.give(self._transport.send(prefix, command)) for prefix, command in calls]
        found = [replies.expect_ok(reply) for reply in await asyncio.gather(*sent)]
        return max(now_ms for now_ms, _ in found), sum(count for _, count in found)

    async def read(self, since_ms: int) -> Sequence[Minute]:
        """See `MetricCalls`."""
        found: dict[int, list[tuple[str, int]]] = {}
        for minutes in await asyncio.gather(*(self._read(prefix, since_ms) for prefix in self._prefixes)):
            for minute, fields in minutes.items():
                found.setdefault(minute, []).extend(fields)
        return [view_minute(minute, found[minute]) for minute in sorted(found)]

    async def _read(self, prefix: str, since_ms: int) -> dict[int, list[tuple[str, int]]]:
        found: dict[int, list[tuple[str, int]]] = {}
        at: Any = ""
        while True:
            command = self._scripts.read_minutes.call(prefix, at=at, since_ms=min(since_ms, KEPT_MS), limit=AT_ONCE)
            first, more, *hashes = replies.expect_ok(await self._patience.give(self._transport.send(prefix, command)))
            for place, flat in enumerate(hashes):
                found[first + place] = _counts(flat)
            if not more:
                return found
            at = first + len(hashes)


def _counts(flat: list[bytes]) -> list[tuple[str, int]]:
    """What is no number was not written here, and must not hide the others."""
    pairs = ((replies.shown(name), value) for name, value in zip(flat[::2], flat[1::2], strict=True))
    return [(name, int(value)) for name, value in pairs if value.isdigit()]
