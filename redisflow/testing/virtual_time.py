"""The time that a test gives its runs: it stands still until it is moved, and then whoever waits for it is called.

Workers ask it for the clock of each claim (`read_clock`), in place of the one that counts from the server's. Leases,
turns and the bodies of steps go by real time all the same. Several event loops and threads may ask it at once.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from redisflow.contract import Alarm


class VirtualTime:
    """See the module."""

    def __init__(self, start_ms: int) -> None:
        """It is `start_ms`, and always was."""
        self._lock = threading.Lock()
        self._moved_s = [0.0]
        """The monotonic instants at which it was moved, and before them one that was before everything."""
        self._was_ms = [start_ms]
        self._alarms: list[tuple[int, int, _Alarm]] = []
        self._numbers = itertools.count()

    @property
    def now_ms(self) -> int:
        """What time it is."""
        return self._was_ms[-1]

    def at_ms(self, now_s: float) -> int:
        """What time it was at a monotonic instant of this process."""
        with self._lock:
            return self._was_ms[max(1, bisect_right(self._moved_s, now_s)) - 1]

    def move_to(self, now_ms: int) -> None:
        """Let it be this time; what is due is called by the loops that asked for it."""
        with self._lock:
            self._moved_s.append(time.monotonic())
            self._was_ms.append(now_ms)
            while self._alarms and self._alarms[0][0] <= now_ms:
                heapq.heappop(self._alarms)[2].ring()

    def call_at(self, due_at_ms: int, act: Callable[[], None]) -> Alarm:
        """Let the running loop call `act` when it is that time."""
        alarm = _Alarm(asyncio.get_running_loop(), act)
        with self._lock:
            if due_at_ms <= self.now_ms:
                alarm.ring()
            else:
                heapq.heappush(self._alarms, (due_at_ms, next(self._numbers), alarm))
        return alarm

    def read_clock(self, server_ms: int, sent_s: float, seen_s: float) -> VirtualClaimClock:
        """The clock of the runs of a claim. Nothing lags, so `sent_s` is the only slack: for the lease."""
        del seen_s
        return VirtualClaimClock(self, server_ms, sent_s)


class _Alarm:
    """A call that will be made in its loop, unless it is cancelled before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, act: Callable[[], None]) -> None:
        self._loop = loop
        self._act = act
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True

    def ring(self) -> None:
        if not self._cancelled and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._call)

    def _call(self) -> None:
        if not self._cancelled:
            self._act()


@dataclass(frozen=True, slots=True)
class VirtualClaimClock:
    """See `RunClock`."""

    time: VirtualTime
    server_ms: int
    """In the claim's reply: the server is told of a move before this process is."""
    seen_s: float
    slack_ms: int = 0

    def now_ms(self) -> int:
        """What time it is."""
        return max(self.server_ms, self.time.now_ms)

    def at_ms(self, now_s: float) -> int:
        """What time it was."""
        return max(self.server_ms, self.time.at_ms(now_s))

    def call_at(self, due_at_ms: int, act: Callable[[], None]) -> Alarm:
        """Let the running loop call `act` when it is that time."""
        return self.time.call_at(due_at_ms, act)
