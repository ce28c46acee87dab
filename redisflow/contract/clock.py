"""What time it is for the runs of a claim, as far as their holder can know without asking.

A claim's reply carries the server's clock. Counted from when the reply was seen, the estimate can only lag behind the
server, so nothing that waits for it is early; by how much at most is known from the claim's round trip, and what is
asked for (a sleep, a retry) is due later by that. A backend whose time is a test's own has another kind of clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias


class Alarm(Protocol):
    """Something that will be called at its time."""

    def cancel(self) -> None:
        """It will not."""
        ...


class RunClock(Protocol):
    """The time of runs as of one claim. Instants of this process are monotonic seconds, whosever time runs go by."""

    @property
    def seen_s(self) -> float:
        """When the claim's reply was seen; less `slack_ms`, it had not been made."""
        ...

    @property
    def slack_ms(self) -> int:
        """How far it may lag."""
        ...

    def now_ms(self) -> int:
        """The server's time, or a little before it."""
        ...

    def at_ms(self, now_s: float) -> int:
        """The same, of a monotonic instant."""
        ...

    def call_at(self, due_at_ms: int, act: Callable[[], None]) -> Alarm:
        """Let the running loop call `act` when it is that time."""
        ...


ReadClock: TypeAlias = Callable[[int, float, float], RunClock]
"""From a claim: the server's clock in its reply, and the monotonic instants at which it was sent and seen."""


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
        return self.server_ms + int((time.monotonic() - self.seen_s) * 1000)

    def at_ms(self, now_s: float) -> int:
        """The same, of a monotonic instant."""
        return self.server_ms + int((now_s - self.seen_s) * 1000)

    def call_at(self, due_at_ms: int, act: Callable[[], None]) -> Alarm:
        """Let the running loop call `act` when it is that time."""
        return asyncio.get_running_loop().call_later(max(0, due_at_ms - self.now_ms()) / 1000, act)
