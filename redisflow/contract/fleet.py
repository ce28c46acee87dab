"""Who works here, what nobody serves, and sending a worker home."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redisflow.fleet import HeldRun, StrandedReport, WorkerInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDepth:
    """What lies in a queue, over all partitions."""

    queue: str
    runs: int
    """Those that are to be claimed, and those that workers hold."""
    held: int
    oldest_ms: int | None
    """When the oldest of them came; None where there is none."""


class FleetCalls(Protocol):
    """See the module."""

    async def list_workers(self) -> list[WorkerInfo]:
        """Those that live, and those of the last hour that did not say good-bye."""
        ...

    async def drain_worker(self, worker: str) -> bool:
        """Tell a worker to claim nothing more and to stop, as its next heartbeat reads; whether it is alive."""
        ...

    async def find_holder(self, run_id: str) -> HeldRun | None:
        """Who holds this run now; None where nobody does, or it is not stored."""
        ...

    async def list_held(self, most: int) -> list[HeldRun]:
        """Runs that workers hold, of each worker at most so many: by worker, in the order of their creation."""
        ...

    async def find_stranded(self, *, detailed: bool, look_at: int | None) -> StrandedReport:
        """What no live worker serves; `detailed` tells versions apart where only some of a workflow are served.

        Of the runs of a workflow that wait for code, `look_at` are looked at in each partition (None: all); counts are
        then of these.
        """
        ...

    async def list_queues(self) -> list[QueueDepth]:
        """Each queue that was ever used, sorted by name."""
        ...

    async def count_versions(self, workflow: str) -> Mapping[str, int]:
        """By version (empty: none), how many runs of the workflow have not ended; each of them is looked at."""
        ...
