"""What a lost server means to whoever waits for it: when to try again, and one line in the log instead of hundreds."""

from __future__ import annotations

import logging
import random
import time

logger = logging.getLogger("redisflow.backend")

_FIRST_S = 0.05
_LAST_S = 2.0


class Backoff:
    """Full jitter between 50 ms and a limit that doubles up to 2 s, so that a fleet does not come back in step."""

    def __init__(self) -> None:
        """Begin with the shortest one."""
        self._limit_s = _FIRST_S

    def next_s(self) -> float:
        """How long to wait this time."""
        self._limit_s = min(_LAST_S, self._limit_s * 2)
        return random.uniform(_FIRST_S, self._limit_s)  # noqa: S311  # chance without secrets

    def reset(self) -> None:
        """The server answers."""
        self._limit_s = _FIRST_S


class OutageLog:
    """Several connections to one server lose it together: the first says so, and the last one back again."""

    def __init__(self, masked_url: str) -> None:
        """`masked_url` stands in every line."""
        self.masked_url = masked_url
        self.reason = ""
        """Why the server is away; empty while it answers."""
        self._lost: set[object] = set()
        self._since = 0.0

    def begin(self, who: object, reason: str) -> None:
        """This connection has no server."""
        if not self._lost:
            self._since = time.monotonic()
            logger.warning("redis is not answering at %s: %s; trying again until it does", self.masked_url, reason)
        self._lost.add(who)
        self.reason = reason

    def forget(self, who: object) -> None:
        """This connection is closed: whether the server answers again, it will not know."""
        self._lost.discard(who)
        if not self._lost:
            self.reason = ""

    def end(self, who: object) -> None:
        """This connection is served again."""
        if who not in self._lost:
            return
        self._lost.discard(who)
        if not self._lost:
            self.reason = ""
            logger.info("redis answers again at %s after %.1f s", self.masked_url, time.monotonic() - self._since)
