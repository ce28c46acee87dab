"""How a worker works: every number with its unit and its reason, validated once."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict

from redisflow.durations import Duration, to_ms
from redisflow.names import check_name
from redisflow.worker.address import Address

CLAIM_AT_ONCE = 50
"""Runs in one claim: enough to share its cost, few enough for a script of a millisecond."""


Resources: TypeAlias = Callable[[], AbstractAsyncContextManager[Any]]
"""An async context around the life of a worker; what it yields is `step.resources` in bodies."""


class WorkerKeywords(TypedDict, total=False):
    """The keywords of `new_worker`, for workers here or in processes of their own; see `WorkerOptions`."""

    concurrency: int
    queues: tuple[str, ...] | list[str]
    max_bodies: int
    lease: Duration
    grace: Duration
    crash_limit: int
    burst: bool
    http: str | None


class OwnWorkerKeywords(WorkerKeywords, total=False):
    """And of one that works in this process, to which an object can be handed."""

    resources: Resources | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """Options of `new_worker`."""

    concurrency: int = 100
    """Runs held at once. Many for short runs that wait for I/O, few (10) for long or heavy ones."""
    queues: tuple[str, ...] = ()
    """Queues to serve, in this order; empty: those of the registered workflows."""
    max_bodies: int = 1000
    """Step bodies running at once; the rest queue in this process."""
    lease: Duration = 30
    """A run whose worker has not been heard of for so long is given to another."""
    grace: Duration = 25
    """On SIGTERM, how long runs may go on before they are handed back; shorter than an orchestrator's 30 s."""
    crash_limit: int = 3
    """Crashes in a row, with nothing recorded between them, that make a run poisoned."""
    resources: Resources | None = None
    """An async context around the worker's life; what it yields is `step.resources` in bodies."""
    burst: bool = False
    """End when no run is ready in its queues and it holds none, as if it were drained: for jobs that a clock starts,
    and for CI. Runs that wait for something are not waited for."""
    http: Address | None = None
    """Where it answers probes and gives its metrics; nowhere unless given."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, where it is written."""
        for name in ("concurrency", "max_bodies", "crash_limit"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                msg = f"{name} is a whole number from 1, not {value!r}"
                raise ValueError(msg)
        for queue in self.queues:
            check_name("queue", queue)
        if not 500 <= self.lease_ms <= 3_600_000:  # half a second (demos, tests) to an hour
            msg = f"lease lies between 500ms and 1h, not {self.lease!r}"
            raise ValueError(msg)
        to_ms(self.grace, what="grace")

    @property
    def lease_ms(self) -> int:
        """The lease."""
        return to_ms(self.lease, what="lease")

    @property
    def grace_ms(self) -> int:
        """The grace period."""
        return to_ms(self.grace, what="grace")

    @property
    def beat_s(self) -> float:
        """Seconds between heartbeats: four in a lease, so that three may fail."""
        return self.lease_ms / 4000

    @property
    def give_up_s(self) -> float:
        """Seconds without a renewed lease after which bodies are cancelled: well before another worker starts them."""
        return self.lease_ms / 1000 * 0.8

    @property
    def watch_s(self) -> float:
        """Seconds between looks at the leases: bodies are told to stop after 0.9 of a lease at the latest."""
        return min(1.0, self.lease_ms / 10_000)

    @property
    def upkeep_s(self) -> float:
        """Seconds between looks for expired leases: recovery takes at most a lease and this."""
        return min(15.0, math.floor(self.lease_ms / 4) / 1000)
