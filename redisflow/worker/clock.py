"""What time it is on the server, as far as a worker can know without asking.

A claim's reply carries the server's clock. Counted from when the reply was seen, the estimate can only lag behind the
server, so nothing that waits for it is early; by how much at most is known from the claim's round trip, and what is
asked for (a sleep, a retry) is due later by that.
"""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClaimClock:
    """The server's clock as of one claim."""

    server_ms: int
    seen_s: float
    slack_ms: int

    @classmethod
    def of(cls, server_ms: int, sent_s: float, seen_s: float) -> ClaimClock:
        """From the monotonic instants at which the claim was sent and its reply was seen."""
        return cls(server_ms, seen_s, int((seen_s - sent_s) * 1000) + 1)

    def now_ms(self) -> int:
        """The server's time, or a little before it."""
        return self.at_ms(time.monotonic())

    def at_ms(self, now_s: float) -> int:
        """The same, of a monotonic instant."""
        return self.server_ms + int((now_s - self.seen_s) * 1000)
