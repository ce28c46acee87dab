"""Keeps a worker's leases, from an OS thread with a connection of its own, so that a blocked loop loses none.

The loop and the thread share three things: the holds to renew, the last time the loop was seen, and the last time a
renewal succeeded. A loop that has not been seen for minutes is hung: then the leases are let go.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from redisflow.contract import About, Backend, Heartbeat, Hold
from redisflow.errors import RedisflowError
from redisflow.run_id import partition_of

HUNG_S = 120.0
"""A loop blocked for so long will not come back: another worker should have its runs."""

_log = logging.getLogger("redisflow.worker")


class HeartbeatThread:
    """`holds` is called in the thread; `lost` too, with those that hold no longer, and `mail`, with counts by run."""

    def __init__(
        self,
        backend: Backend,
        worker: str,
        *,
        every_s: float,
        presence_ms: int,
        about: About,
        holds: Callable[[], Sequence[Hold]],
        lost: Callable[[Sequence[Hold]], None],
        mail: Callable[[Mapping[str, int]], None],
    ) -> None:
        """`presence_ms` is how long the worker counts as alive after a beat."""
        self._backend = backend
        self._worker = worker
        self._every_s = every_s
        self._presence_ms = presence_ms
        self._about = about
        self._holds = holds
        self._lost = lost
        self._mail = mail
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="redisflow-heartbeat", daemon=True)
        self._failing: set[int] = set()
        self.renewed_s = dict.fromkeys(range(backend.partitions), time.monotonic())
        """By partition, when the last successful beat looked for what is held; the leases of that last from then."""
        self.loop_seen_s = time.monotonic()
        """The worker's loop writes this as long as it turns."""
        self.present: Callable[[], object] | None = None
        """Called once, in the thread, when a beat has reached every partition; set before the start."""
        self.drained: Callable[[], object] | None = None
        """Called once, in the thread, when a beat has found that the worker is to drain; set before the start."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, without waiting for a beat that is under way for longer than a moment."""
        self._stop.set()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        heartbeat: Heartbeat | None = None
        while True:
            try:
                heartbeat = heartbeat or self._backend.open_heartbeat()
                # A hung loop's leases are let go.
                if time.monotonic() - self.loop_seen_s <= HUNG_S:
                    self._beat(heartbeat)
            except Exception:  # noqa: BLE001  # logged, and tried again
                # Whatever it is, a worker whose heartbeat has ended would claim runs and lose them, one after another.
                _log.exception("heartbeat failed, trying again")
                self._failing.add(-1)
            else:
                self._failing.discard(-1)
            # Sooner after a failure: a lease leaves time for three more.
            if self._stop.wait(self._every_s / 4 if self._failing else self._every_s):
                break
        if heartbeat is not None:
            heartbeat.close()

    def _beat(self, heartbeat: Heartbeat) -> None:
        by_partition: dict[int, dict[str, Hold]] = {number: {} for number in self.renewed_s}
        looked_s = time.monotonic()
        for hold in self._holds():
            by_partition[partition_of(hold.run_id)][hold.run_id] = hold
        # A partition whose server is away costs seconds: those that answer are not to wait for it.
        for partition in sorted(by_partition, key=self._failing.__contains__):
            if not self._stop.is_set():
                self._renew(heartbeat, partition, by_partition[partition], looked_s)
        if self.present is not None and not self._failing and not self._stop.is_set():
            self.present()
            self.present = None

    def _renew(self, heartbeat: Heartbeat, partition: int, holds: dict[str, Hold], looked_s: float) -> None:
        about = self._about
        try:
            beat = heartbeat.renew(
                partition, self._worker, self._presence_ms, about.said, list(holds.values()), about.serves
            )
        except RedisflowError as error:
            if partition not in self._failing:
                _log.warning("heartbeat of partition %d failed, trying again: %s", partition, error)
            self._failing.add(partition)
            return
        self._failing.discard(partition)
        # In this order: a body that the loop starts because of the time below is behind this call in its queue.
        if beat.lost:
            self._lost([holds[run_id] for run_id in beat.lost if run_id in holds])
        if beat.mail:
            self._mail(beat.mail)
        if beat.drain and self.drained is not None:
            self.drained()
            self.drained = None
        self.renewed_s[partition] = looked_s
