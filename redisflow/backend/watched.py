"""Connections that tell an observer how long scripts take, and what is refused; made only where one asks for it."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from redisflow.backend.batch import Parse
    from redisflow.backend.channels import Listener
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import BlockingCalls, Transport
    from redisflow.backend.wire import Command
    from redisflow.contract.observer import Observer


class WatchedTransport:
    """See `Transport`: the same, and the observer is told."""

    def __init__(self, transport: Transport, scripts: Scripts, observer: Observer) -> None:
        """`scripts` give the calls their names."""
        self._transport = transport
        self._observer = observer
        self._names = {script.sha: script.name for script in scripts}

    @property
    def masked_url(self) -> str:
        """See `Transport`."""
        return self._transport.masked_url

    @property
    def trouble(self) -> str:
        """See `Transport`."""
        return self._transport.trouble

    async def load(self, scripts: Scripts) -> None:
        """See `Transport`."""
        await self._transport.load(scripts)

    def send(
        self, prefix: str, command: Command, parse: Parse | None = None, *, bulk: bool = False
    ) -> asyncio.Future[Any]:
        """See `Transport`."""
        answer = self._transport.send(prefix, command, parse, bulk=bulk)
        name = self._names.get(str(command[1])) if command[0] == "EVALSHA" else None
        answer.add_done_callback(partial(self._answered, name, time.monotonic()))
        return answer

    def _answered(self, script: str | None, sent_s: float, answer: asyncio.Future[Any]) -> None:
        if answer.cancelled():
            return
        if answer.exception() is not None:
            self._observer.redis_failed()
        elif script is not None:
            self._observer.script_called(script, time.monotonic() - sent_s)

    async def pop(self, prefix: str, keys: Sequence[str], timeout_s: float) -> bool:
        """See `Transport`."""
        return await self._transport.pop(prefix, keys, timeout_s)

    def subscribe(self, prefix: str, channel: str, listener: Listener) -> asyncio.Future[None]:
        """See `Transport`."""
        return self._transport.subscribe(prefix, channel, listener)

    def unsubscribe(self, prefix: str, channel: str, listener: Listener) -> None:
        """See `Transport`."""
        self._transport.unsubscribe(prefix, channel, listener)

    def open_calls(self) -> BlockingCalls:
        """See `Transport`."""
        return self._transport.open_calls()

    async def close(self) -> None:
        """See `Transport`."""
        await self._transport.close()
