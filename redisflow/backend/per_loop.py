"""One backend for each event loop that uses a flow: connections belong to the loop that made them.

A web framework's loop, the portal behind `flow.sync` and a test's loop may all be in one process at once, each in its
thread. The hard thing is not to mix them up, and to let go of loops that ended without a word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from redisflow.backend.redis_backend import RedisBackend


@dataclass(slots=True)
class _Place:
    backend: RedisBackend
    opening: asyncio.Lock | None = field(default_factory=asyncio.Lock)
    """None once it is open."""


class BackendPerLoop:
    """The backends of one flow. Each call is about the running loop, so each entry has one thread that touches it."""

    def __init__(self, make: Callable[[], RedisBackend]) -> None:
        """`make` makes one that is not open."""
        self._make = make
        self._places: dict[asyncio.AbstractEventLoop, _Place] = {}
        # Made at once, so that a wrong URL or name is refused where it is written; it is never opened.
        self._unused = make()

    def __repr__(self) -> str:
        """As each of them shows itself."""
        return repr(self._unused)

    @property
    def current(self) -> RedisBackend:
        """That of the running loop, open or not; outside of loops, one that is never open."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return self._unused
        return self._place(loop).backend

    async def open(self) -> RedisBackend:
        """That of the running loop, connected."""
        place = self._places.get(loop := asyncio.get_running_loop())
        if place is None:
            place = self._place(loop)
        opening = place.opening
        if opening is not None:
            async with opening:
                await place.backend.open()
            place.opening = None
        return place.backend

    async def close(self) -> None:
        """Close that of the running loop; those of other loops live on."""
        place = self._places.pop(asyncio.get_running_loop(), None)
        if place is not None:
            await place.backend.close()

    def _place(self, loop: asyncio.AbstractEventLoop) -> _Place:
        place = self._places.get(loop)
        if place is None:
            # A loop that was closed took its connections with it. One that is not closed stays, whoever owns it: after
            # a fork, a loop of the parent shares its selector with the parent, and must not be touched in the child.
            for other in list(self._places):
                if other.is_closed():
                    self._places.pop(other, None)
            place = self._places[loop] = _Place(self._make())
        return place
