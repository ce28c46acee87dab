"""What a worker tells of itself and its runs while it works: counters, whoever listens, and probes over HTTP."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from redisflow.contract import Backend
from redisflow.contract.observer import Backlog, Observer, Vitals
from redisflow.errors import BackendUnavailable
from redisflow.telemetry.counting import MinuteCounts
from redisflow.telemetry.observers import Observers
from redisflow.worker.counting import CountingService
from redisflow.worker.options import WorkerOptions

if TYPE_CHECKING:
    from redisflow.worker.probes import ProbeServer

LOOK_S = 15.0
"""How often it looks what the namespace has to do: as often as metrics are scraped, as a rule."""
AGAIN_S = 1.0
Serve = Callable[[str, Callable[[], Awaitable[None]]], object]


_log = logging.getLogger("redisflow.worker.telling")


class Teller(Protocol):
    """What this needs of its worker."""

    name: str
    backend: Backend
    options: WorkerOptions

    def vitals(self) -> Vitals:
        """How it is; asked from any thread."""
        ...

    def is_ready(self) -> bool:
        """Whether it claims runs; asked from any thread."""
        ...


class Telling:
    """Of one worker."""

    def __init__(self) -> None:
        """Until it begins only minutes are counted."""
        self._counts = MinuteCounts()
        self._counting: CountingService | None = None
        self._probes: ProbeServer | None = None
        self._worker = ""
        self.observer: Observer = self._counts

    def begin(self, worker: Teller, serve: Serve) -> None:
        """The worker has connected; `serve` keeps a service going. RedisflowError where its port is taken."""
        backend, options = worker.backend, worker.options
        self._worker = worker.name
        if backend.observer is not None:
            self.observer = Observers([self._counts, backend.observer])
        if options.http is not None:
            # Few listen, and the server takes some 15 ms to import.
            from redisflow.worker.probes import ProbeServer  # noqa: PLC0415  # as measured

            lease_s = options.lease_ms / 1000
            self._probes = ProbeServer(options.http, lease_s, worker.vitals, worker.is_ready, backend.observer)
        self.observer.worker_began(worker.name, worker.vitals)
        self._counting = CountingService(backend, worker.name, self._counts)
        serve("minutes", partial(through_outages, self._counting.flush_forever))
        serve("queue-depths", partial(through_outages, self._counting.sample_forever))
        if self.observer.wants_backlog:
            serve("backlog", partial(through_outages, partial(look_forever, backend, self.observer)))

    async def end(self, within_s: float) -> None:
        """The worker's runs are out of its hands."""
        if self._counting is None:
            return
        self.observer.worker_ended(self._worker)
        if self._probes is not None:
            await asyncio.to_thread(self._probes.close)
        await self._counting.flush_at_end(within_s)


async def through_outages(work: Callable[[], Awaitable[None]]) -> None:
    """Until it is cancelled, beginning anew where the server is away: what is told of a worker must not end it.

    Its calls are those of a client, which do not wait for longer than `call_timeout`.
    """
    while True:
        try:
            await work()
        except BackendUnavailable as error:
            _log.debug("told later: %s", error)
            await asyncio.sleep(AGAIN_S)


async def look_forever(backend: Backend, observer: Observer) -> None:
    """Until it is cancelled: tell what the namespace has to do. Each look costs the same, however much that is."""
    while True:
        observer.backlog_seen(await look(backend))
        await asyncio.sleep(LOOK_S * random.uniform(0.8, 1.0))  # noqa: S311  # jitter


async def look(backend: Backend) -> Backlog:
    """From sizes alone: no run is looked at."""
    queues, (now_ms, delayed), counts = await asyncio.gather(
        backend.fleet.list_queues(), backend.metrics.count_delayed(), backend.listings.count_runs(detailed=False)
    )
    statuses = ("pending", "running", "waiting", "succeeded", "failed", "canceled")
    runs = {status: int(getattr(counts, status)) for status in statuses}
    return Backlog(now_ms=now_ms, queues=queues, delayed=delayed, runs=runs)
