"""The clock key of each partition of a namespace, and whether anything is going on there: what a test's clock needs.

It is a connection of its own beside those of the flow, so that the flow's backends stay what they are in production.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from redisflow.backend import replies
from redisflow.backend.redis_backend import RedisBackend
from redisflow.worker.schedules import ScheduleService

NAMED = 5
"""Ids of runs in a message."""
WAKE_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Survey:
    """What was seen in all partitions, one after another."""

    now_ms: int
    next_due_ms: int | None
    """When the first of what waits for a time is due."""
    posted: int
    """What is to be done across partitions."""
    entries: int
    """Runs that are to be claimed, or are held."""
    run_ids: tuple[str, ...]
    """Some of these."""

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing happens before the time is moved, or somebody does something."""
        return not self.entries and not self.posted and (self.next_due_ms is None or self.next_due_ms > self.now_ms)


class ClockKeys(RedisBackend):
    """One namespace, as the clock of a test sees it."""

    async def set_clock(self, now_ms: int) -> None:
        """Let it be this time in every partition, and tell those who watch what is due."""
        await asyncio.gather(*(self._send(prefix, "SET", f"{prefix}clock", now_ms) for prefix in self._prefixes))
        for prefix in self._prefixes:
            await self._send(prefix, "LPUSH", f"{prefix}alarm", "1")
            await self._send(prefix, "LTRIM", f"{prefix}alarm", 0, 0)

    async def clear_clock(self) -> None:
        """Let every partition go by its server's clock again."""
        for prefix in self._prefixes:
            await self._send(prefix, "DEL", f"{prefix}clock")

    async def survey(self) -> Survey:
        """Look into every partition. Twice at rest is at rest: what is carried across is in one of two looks."""
        looks = await asyncio.gather(*(self._survey(prefix) for prefix in self._prefixes))
        dues = [look.next_due_ms for look in looks if look.next_due_ms is not None]
        return Survey(
            now_ms=looks[0].now_ms,
            next_due_ms=min(dues, default=None),
            posted=sum(look.posted for look in looks),
            entries=sum(look.entries for look in looks),
            run_ids=tuple(run_id for look in looks for run_id in look.run_ids)[:NAMED],
        )

    async def _survey(self, prefix: str) -> Survey:
        command = self._scripts.survey_partition.call(prefix, named=NAMED)
        now_ms, due, posted, entries, *run_ids = replies.expect_ok(await self._server().send(prefix, command))
        return Survey(now_ms, int(due) if due else None, posted, entries, tuple(name.decode() for name in run_ids))

    async def go_on(self) -> None:
        """Do at once what workers do within a second or two: wake what is due, fire schedules, deliver what was posted.

        Each of these is done once, whoever else does it at the same time.
        """
        for partition in range(self.partitions):
            await self.wake_runs(partition, WAKE_AT_ONCE)
            await ScheduleService(self, partition, "clock").run_once()
            await self.outbox.deliver(partition)

    async def is_awaited(self) -> bool:
        """Whether anybody waits for the end of a run."""
        found = await asyncio.gather(
            *(self._send(prefix, "PUBSUB", "SHARDCHANNELS", f"{prefix}done:*") for prefix in self._prefixes)
        )
        return any(found)

    async def delete_everything(self) -> None:
        """Leave no key of the namespace."""
        for prefix in self._prefixes:
            cursor: Any = 0
            while True:
                cursor, names = await self._send(prefix, "SCAN", cursor, "MATCH", f"{prefix}*", "COUNT", 1000)
                if names:
                    await self._send(prefix, "UNLINK", *names)
                if int(cursor) == 0:
                    break

    async def _send(self, prefix: str, *command: Any) -> Any:
        return await self._patience.give(self._server().send(prefix, command))
