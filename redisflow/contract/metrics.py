"""What is counted by the minute, for charts: see `redisflow.minutes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from redisflow.minutes import Minute


class MetricCalls(Protocol):
    """Counters of the whole namespace, kept for a day. A minute goes by its number, as the server counts time."""

    async def add(self, worker: str, number: int, minute: int, counts: Mapping[str, int]) -> None:
        """Add what a worker has counted, by field. Its calls are numbered upwards: one that is repeated counts once."""
        ...

    async def sample_queues(self, depths: Mapping[str, int]) -> None:
        """How many runs wait in each queue, for the minute that it is now; a later sample replaces an earlier one."""
        ...

    async def count_delayed(self) -> tuple[int, int]:
        """The server's time, and how many runs have a due time or a deadline."""
        ...

    async def read(self, since_ms: int) -> Sequence[Minute]:
        """Every minute from so long ago until now, oldest first; those of which nothing is kept are empty."""
        ...
