"""Listening for the end of a run, and for runs that were taken from a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from redisflow.backend.replies import told_end

if TYPE_CHECKING:
    from redisflow.backend.transport import Transport
    from redisflow.contract import RunEnd


class Ticks:
    """Yields each time the run may have ended: its end, where that was told, else None.

    What happens while nobody waits is one tick.
    """

    def __init__(self) -> None:
        """Quiet."""
        self._happened = asyncio.Event()
        self._end: RunEnd | None = None

    def hear(self, message: bytes | None) -> None:
        """Something was published, or may have been while nobody could hear it."""
        self._end = (None if message is None else told_end(message)) or self._end
        self._happened.set()

    def tick(self, _: object) -> None:
        """Something may have happened."""
        self._happened.set()

    def __aiter__(self) -> AsyncIterator[RunEnd | None]:
        """Itself."""
        return self

    async def __anext__(self) -> RunEnd | None:
        """Wait for the next one."""
        await self._happened.wait()
        self._happened.clear()
        return self._end


@asynccontextmanager
async def watch(
    server: Transport, prefix: str, channels: Sequence[str], timeout_s: float
) -> AsyncGenerator[AsyncIterator[RunEnd | None]]:
    """Ticks of channels. It is entered when none can be missed, or after `timeout_s` without the server."""
    ticks = Ticks()
    confirmed = {server.subscribe(prefix, channel, ticks.hear) for channel in channels}
    try:
        _, missing = await asyncio.wait(confirmed, timeout=timeout_s)
        for one in missing:
            one.add_done_callback(ticks.tick)
        yield ticks
    finally:
        for one in confirmed:
            one.remove_done_callback(ticks.tick)
        for channel in channels:
            server.unsubscribe(prefix, channel, ticks.hear)


@asynccontextmanager
async def listen(
    server: Transport,
    prefixes: Sequence[str],
    worker: str,
    lost: Callable[[str], None],
    mail: Callable[[str], None],
) -> AsyncGenerator[None]:
    """Call `lost` with each run that is taken from the worker, and `mail` with each that got some, in any partition."""

    def hear(message: bytes | None) -> None:
        if message is not None:
            run_id, _, news = message.decode().partition(" ")
            (mail if news == "mail" else lost)(run_id)

    for prefix in prefixes:
        server.subscribe(prefix, f"{prefix}worker:{worker}", hear)
    try:
        yield
    finally:
        for prefix in prefixes:
            server.unsubscribe(prefix, f"{prefix}worker:{worker}", hear)
