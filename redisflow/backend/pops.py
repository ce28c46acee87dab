"""Sleep until a key holds a token: a blocking pop on a connection of its own.

The hard thing is a wait that is cancelled while its pop is blocked on the server. The pop stays pending, and the next
wait joins it; a token that comes while nobody waits is put back at once, so that another worker gets it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from redisflow.backend.link import Link

# A longer wait is made of several pops, so that a connection that died silently is found out: its link expects a
# reply within 10 s, or sooner where it is told so.
POP_S = 5.0


class Popper:
    """The blocking pop of one set of keys."""

    def __init__(
        self, link: Link, keys: tuple[str, ...], put_back: Callable[[bytes, bytes], None], *, pop_s: float = POP_S
    ) -> None:
        """`link` is this popper's alone, and must not take a pop of `pop_s` for a server that is away."""
        self._link = link
        self._keys = keys
        self._put_back = put_back
        self._pop_s = pop_s
        self._pending: asyncio.Future[Any] | None = None
        self._waiters = 0
        self._token = False

    async def wait(self, timeout_s: float) -> bool:
        """Whether a token came within this time."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        self._waiters += 1
        try:
            while not self._token:
                left_s = deadline_s - loop.time()
                if left_s <= 0:
                    return False
                pending = self._pending
                if pending is None:
                    # The timeout is rounded up by the server to 100 ms; 0 would be for ever.
                    command = ("BLPOP", *self._keys, f"{max(0.01, min(left_s, self._pop_s)):.3f}")
                    pending = self._pending = self._link.send(command)
                    pending.add_done_callback(self._popped)
                await asyncio.wait([pending], timeout=left_s)
                if pending.done() and (error := pending.exception()) is not None:
                    raise error
            self._token = False
            return True
        finally:
            self._waiters -= 1

    def _popped(self, pending: asyncio.Future[Any]) -> None:
        self._pending = None
        error = pending.exception()
        if error is not None or pending.result() is None:
            return
        if self._waiters:
            self._token = True
        else:
            self._put_back(*pending.result())

    def leave(self, why: str) -> None:
        """Connect anew: another server may be the right one now."""
        self._link.leave(why)

    async def close(self) -> None:
        """Give up the pop; whoever waits gets BackendUnavailable."""
        await self._link.close()
