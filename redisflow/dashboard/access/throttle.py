"""How often somebody may guess: failures are counted by address, for a minute, in this process."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable


class Throttle:
    """Failed attempts by client address. What it remembers is bounded: the addresses that failed longest ago go first.

    Behind a proxy all clients have its address, unless the server is told to trust what the proxy says
    (uvicorn: `--forwarded-allow-ips`), and are then locked out together.
    """

    def __init__(
        self,
        most: int = 10,
        window_s: float = 60,
        *,
        remembered: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """At most so many failures in a window, which begins with the first of them."""
        self._most = most
        self._window_s = window_s
        self._remembered = remembered
        self._clock = clock
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait_s(self, address: str) -> int:
        """How many seconds (rounded up) until this address may try again; 0: now."""
        since, count = self._failures.get(address, (0.0, 0))
        left_s = since + self._window_s - self._clock()
        if left_s <= 0:
            self._failures.pop(address, None)
            return 0
        return math.ceil(left_s) if count >= self._most else 0

    def count(self, address: str) -> None:
        """One more that failed."""
        since, count = self._failures.pop(address, (self._clock(), 0))
        self._failures[address] = since, count + 1
        while len(self._failures) > self._remembered:
            self._failures.popitem(last=False)
