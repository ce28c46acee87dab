"""Live updates: a page's inner part, sent again whenever it is not what was sent last.

A page is made at most once a second, however many watch it: who watches the same page with the same role is sent the
same. The engine writes nothing for this (decision 0044): a page that nobody watches costs nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from sse_starlette import ServerSentEvent
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from redisflow.dashboard.streams import LONGEST_S, CountedStream, Streams, who_asks
from redisflow.errors import BackendError

AWAY = "away"
"""The event that says so, once; what was shown last stays."""
Key: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """How often, how long, how many."""

    interval_s: float = 1.0
    """Between two looks."""
    longest_s: float = LONGEST_S
    most_watchers: int = 200
    """Of one process: the next one is told to come again later."""


@dataclass(slots=True)
class _Made:
    """A page that was made."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    watchers: int = 0
    at_s: float = float("-inf")
    html: str = ""
    digest: str = ""


class Live:
    """The pages that are watched now."""

    def __init__(self, options: LiveOptions | None = None) -> None:
        """None, yet."""
        self._options = options or LiveOptions()
        self._pages: dict[Key, _Made] = {}
        self._watchers = Streams(self._options.most_watchers)

    def respond(self, request: Request, make: Callable[[], Awaitable[str]]) -> Response:
        """Send what `make` makes, each time that it has changed."""
        if self._watchers.are_full_for(who := who_asks(request)):
            return PlainTextResponse("too many pages are watched", 503, {"Retry-After": "30"})
        role = str(getattr(getattr(request.state, "identity", None), "role", None))
        stream = self._follow((str(request.url), role), request.headers.get("last-event-id"), make)
        return CountedStream(stream, self._watchers, who)

    async def _follow(
        self, key: Key, seen: str | None, make: Callable[[], Awaitable[str]]
    ) -> AsyncGenerator[ServerSentEvent]:
        page = self._pages.setdefault(key, _Made())
        page.watchers += 1
        until_s = time.monotonic() + self._options.longest_s
        try:
            while time.monotonic() < until_s:
                try:
                    await self._make(page, make)
                except BackendError:
                    if seen != AWAY:
                        seen = AWAY
                        yield ServerSentEvent(event=AWAY, data="the server is away")
                else:
                    if page.digest != seen:
                        seen = page.digest
                        yield ServerSentEvent(data=page.html, id=seen)
                await asyncio.sleep(self._options.interval_s)
        finally:
            page.watchers -= 1
            if not page.watchers:
                self._pages.pop(key, None)

    async def _make(self, page: _Made, make: Callable[[], Awaitable[str]]) -> None:
        async with page.lock:
            if time.monotonic() - page.at_s < self._options.interval_s * 0.9:
                return
            page.html = await make()
            page.digest = hashlib.sha256(page.html.encode()).hexdigest()[:16]
            page.at_s = time.monotonic()
