"""Keeps a worker's leases, from an OS thread with a connection of its own, so that a blocked loop loses none.

The loop and the thread share three things: the holds to renew, the last time the loop was seen, and the last time a
renewal succeeded. A loop that has not been seen for minutes is hung: then the leases are let go.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from redisflow.contract import Backend, Hold
from redisflow.errors import RedisflowError
from redisflow.run_id import partition_of

HUNG_S = 120.0
"""A loop blocked for so long will not come back: another worker should have its runs."""

_log = logging.getLogger("redisflow.worker")


class HeartbeatThread:
    """`holds` is called in the thread; `lost` too, with the ids of runs that are no longer held."""

    def __init__(
        self,
        backend: Backend,
        worker: str,
        *,
        every_s: float,
        presence_ms: int,
        about: bytes,
        holds: Callable[[], Sequence[Hold]],
        lost: Callable[[Sequence[str]], None],
    ) -> None:
        """`presence_ms` is how long the worker counts as alive after a beat."""
        self._backend = backend
        self._worker = worker
        self._every_s = every_s
        self._presence_ms = presence_ms
        self._about = about
        self._holds = holds
        self._lost = lost
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="redisflow-heartbeat", daemon=True)
        self.renewed_s = time.monotonic()
        """When the last successful beat was begun; leases last from then."""
        self.loop_seen_s = time.monotonic()
        """The worker's loop writes this as long as it turns."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, without waiting for a beat that is under way for longer than a moment."""
        self._stop.set()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        heartbeat = self._backend.open_heartbeat()
        failing = False
        try:
            while True:
                began_s = time.monotonic()
                hung = began_s - self.loop_seen_s > HUNG_S
                try:
                    if not hung:
                        self._beat(heartbeat.renew)
                        self.renewed_s = began_s
                        failing = False
                except RedisflowError as error:
                    if not failing:
                        _log.warning("heartbeat failed, trying again: %s", error)
                    failing = True
                # Sooner after a failure: a lease leaves time for three more.
                if self._stop.wait(self._every_s / 4 if failing else self._every_s):
                    return
        finally:
            heartbeat.close()

    def _beat(self, renew: Callable[[int, str, int, bytes, Sequence[Hold]], Sequence[str]]) -> None:
        by_partition: dict[int, list[Hold]] = {number: [] for number in range(self._backend.partitions)}
        for hold in self._holds():
            by_partition[partition_of(hold.run_id)].append(hold)
        for partition, holds in by_partition.items():
            lost = renew(partition, self._worker, self._presence_ms, self._about, holds)
            if lost:
                self._lost(lost)
