"""Streams of server-sent events, counted: each costs a connection and somebody who looks, in all and for one person."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Generator

from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from redisflow.dashboard.access.roles import ANYBODY, Identity

PING_S = 15
SEND_TIMEOUT_S = 30
"""A client that takes nothing for so long is let go: what is sent to it would be held here."""
LONGEST_S = 600.0
"""Then a stream ends, and the browser comes again by itself, and says again who it is."""


class Streams:
    """At most so many at once, of which nobody has more than half."""

    def __init__(self, most: int) -> None:
        """None is open."""
        self._most = most
        self._most_of_one = max(1, most // 2)
        self._open: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """How many are open."""
        return self._open.total()

    def are_full_for(self, who: str) -> bool:
        """Whether no more may be opened by this person."""
        return self.count >= self._most or self._open[who] >= self._most_of_one

    @contextlib.contextmanager
    def opened(self, who: str) -> Generator[None]:
        """One more, until this ends."""
        self._open[who] += 1
        try:
            yield
        finally:
            self._open[who] -= 1
            self._open += Counter()  # forgets those who have none


def who_asks(request: Request) -> str:
    """By name, wherever they come from; where nobody says who they are, by address."""
    identity: Identity = getattr(request.state, "identity", ANYBODY)
    if identity.name != ANYBODY.name:
        return f"name {identity.name}"
    return f"address {request.client.host if request.client else ''}"


class CountedStream(EventSourceResponse):
    """A stream that counts while it is sent."""

    def __init__(self, events: AsyncIterator[ServerSentEvent], streams: Streams, who: str) -> None:
        """Of these events, for this person."""
        super().__init__(events, ping=PING_S, send_timeout=SEND_TIMEOUT_S)  # pyright: ignore[reportUnknownMemberType]  # its content may be any dict
        self._streams = streams
        self._who = who

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; whoever takes nothing has left, and is no defect."""
        with self._streams.opened(self._who), contextlib.suppress(SendTimeoutError):
            await super().__call__(scope, receive, send)
