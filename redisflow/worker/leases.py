"""Looks after what a worker holds: drops the runs whose lease could not be renewed, shows what their bodies do.

A body must have been told to stop before another worker may start it: between the two lie a fifth of the lease, and at
least half of that is left when this looks late.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from redisflow.contract import About, Backend, Hold
from redisflow.run_id import partition_of
from redisflow.worker.ends import fields_of
from redisflow.worker.heartbeat import HeartbeatThread
from redisflow.worker.held_run import HeldRun
from redisflow.worker.options import WorkerOptions

LAG_S = 1.0
"""A loop that stood still for longer is worth a warning: something in it blocks."""

_log = logging.getLogger("redisflow.worker")


class LeaseWatch:
    """Of one worker."""

    def __init__(self, options: WorkerOptions, held: Callable[[], Collection[HeldRun]]) -> None:
        """`held` gives the runs that are held right now, in one step: it is called from the heartbeat's thread, too."""
        self._options = options
        self._held = held
        # Asked for each step: an option is worked out anew each time that it is read.
        self._give_up_s = options.give_up_s
        self._stale_s = options.beat_s * 2
        self._heartbeat: HeartbeatThread | None = None
        self._present = asyncio.Event()

    def begin(self, backend: Backend, worker: str, about: About, drain: Callable[[], object]) -> None:
        """Start the heartbeat; `about` is what the worker says of itself, `drain` is called when it is told to."""
        loop = asyncio.get_running_loop()

        def lost(holds: Sequence[Hold]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nothing is held any more
                loop.call_soon_threadsafe(self._lost, holds)

        def mail(counts: Mapping[str, int]) -> None:
            with contextlib.suppress(RuntimeError):  # the same
                loop.call_soon_threadsafe(self._found_mail, counts)

        def present() -> None:
            with contextlib.suppress(RuntimeError):  # the same
                loop.call_soon_threadsafe(self._present.set)

        def drained() -> None:
            with contextlib.suppress(RuntimeError):  # the same
                loop.call_soon_threadsafe(drain)

        self._heartbeat = HeartbeatThread(
            backend,
            worker,
            every_s=self._options.beat_s,
            presence_ms=self._options.lease_ms,
            about=about,
            # Called in the heartbeat's thread: `held` gives a list made in one step.
            holds=lambda: [held.claim.hold for held in self._held()],
            lost=lost,
            mail=mail,
        )
        self._heartbeat.present = present
        self._heartbeat.drained = drained
        self._heartbeat.start()

    async def wait_for_presence(self) -> None:
        """Until every partition knows that this worker is there, and what it serves."""
        await self._present.wait()

    def ages_s(self) -> tuple[float, float]:
        """Since its leases were renewed, and since the event loop was seen; asked from any thread."""
        heartbeat, now_s = self._heartbeat, time.monotonic()
        if heartbeat is None:
            return 0.0, 0.0
        return now_s - min(heartbeat.renewed_s.values()), now_s - heartbeat.loop_seen_s

    async def end(self) -> bool:
        """Stop the heartbeat; whether there was one."""
        heartbeat, self._heartbeat = self._heartbeat, None
        if heartbeat is None:
            return False
        await asyncio.to_thread(heartbeat.stop)
        return True

    def is_stale(self, held: HeldRun, now_s: float) -> bool:
        """Whether a commit should renew it on its way."""
        # Most runs are young: only older ones are worth a look at what the heartbeat did for them.
        return now_s - held.renewed_s > self._stale_s and now_s - self._renewed_s(held) > self._stale_s

    def is_over(self, held: HeldRun, now_s: float) -> bool:
        """Whether another worker may have the run by now."""
        return now_s - held.renewed_s > self._give_up_s and now_s - self._renewed_s(held) > self._give_up_s

    def _renewed_s(self, held: HeldRun) -> float:
        """When, at the earliest, its lease was given or renewed last."""
        renewed_s = held.renewed_s
        if self._heartbeat is not None:
            looked_s = self._heartbeat.renewed_s[partition_of(held.claim.hold.run_id)]
            # A beat renews what it saw: not a run whose claim was answered long ago, and is read only now.
            if held.since_s < looked_s:
                renewed_s = max(renewed_s, looked_s)
        return renewed_s

    def _lost(self, holds: Sequence[Hold]) -> None:
        """The heartbeat found these taken. Those that this worker has claimed again since then are others."""
        by_run = {held.claim.hold.run_id: held for held in self._held()}
        for hold in holds:
            held = by_run.get(hold.run_id)
            if held is not None and held.claim.hold.fence == hold.fence:
                held.drop()

    def _found_mail(self, counts: Mapping[str, int]) -> None:
        for held in self._held():
            count = counts.get(held.claim.hold.run_id)
            if count is not None:
                held.has_mail(count)

    async def run_forever(self) -> None:
        """Until it is cancelled."""
        every_s = self._options.watch_s
        expected_s = time.monotonic()
        while True:
            now_s = time.monotonic()
            if now_s - expected_s > LAG_S:
                _log.warning("the worker's event loop stood still for %.1f s: a step blocks it", now_s - expected_s)
            if self._heartbeat is not None:
                self._heartbeat.loop_seen_s = now_s
            for held in self._held():
                if self.is_over(held, time.monotonic()):
                    _log.warning(
                        "run.lease_lost %s: it could not be renewed; a worker that can takes the run up",
                        held.claim.hold.run_id,
                        extra=fields_of(held.claim),
                    )
                    held.drop()
                else:
                    held.note_progress(now_s)
            expected_s = time.monotonic() + every_s
            await asyncio.sleep(every_s)
