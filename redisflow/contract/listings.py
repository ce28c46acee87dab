"""Finding runs: lists in pieces, and counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from redisflow.tags import Tags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redisflow.durations import When
    from redisflow.summaries import QueuedRun, RunCounts, RunPage

Order = Literal["newest", "oldest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs are wanted, and in which order. A relative time lies so long before the first page."""

    statuses: frozenset[str] = frozenset()
    """`waiting:<reason>` is one, too; empty: all."""
    workflow: str | None = None
    version: str | None = None
    tags: Tags = field(default_factory=dict[str, str])
    created_after: When | None = None
    created_before: When | None = None
    finished_after: When | None = None
    finished_before: When | None = None
    order: Order = "newest"


class Listings(Protocol):
    """What is listed; it changes nothing."""

    async def list_page(self, wanted: RunFilter, size: int, cursor: str | None) -> RunPage:
        """Up to `size` runs: from the first, or from where another page ended (InvalidCursor where it is none).

        A page may hold fewer, or none, where many had to be looked at; only a cursor of None is the end.
        """
        ...

    async def count_runs(self, *, detailed: bool) -> RunCounts:
        """How many runs there are; `detailed` looks at each unfinished one where sizes alone do not tell."""
        ...

    async def count_statuses(self, workflow: str) -> Mapping[str, int]:
        """How many of a workflow's runs are `pending`, `running` and `waiting`; each of them is looked at."""
        ...

    async def peek_queue(self, queue: str, limit: int) -> list[QueuedRun]:
        """Up to `limit` runs that are to be claimed from the queue, the next one first.

        Between partitions, and while another priority has its turn, workers may take them in another order.
        """
        ...
