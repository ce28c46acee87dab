"""Sharded subscriptions: one connection for all of a server's channels, made anew for as long as anybody listens.

A message that is published while the connection is away is lost. The hard thing is to say so: a listener is called
with None whenever it may have missed something.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

from redisflow.backend.outage import Backoff, OutageLog
from redisflow.backend.wire import Command, Endpoint, Refusal, Wire, open_wire, pack

Listener: TypeAlias = Callable[[bytes | None], None]
_PING_S = 5.0
_MOVED_S = 0.3


class _Channel:
    def __init__(self, confirmed: asyncio.Future[None]) -> None:
        self.listeners: list[Listener] = []
        self.confirmed = confirmed


class Channels:
    """The subscriptions of this process on one server. It connects with the first of them."""

    def __init__(
        self,
        endpoint: Endpoint,
        outage: OutageLog,
        *,
        stall_s: float,
        on_outage: Callable[[], None] | None = None,
    ) -> None:
        """Make it inside a running event loop. A connection that says nothing for `stall_s` is given up."""
        self._on_outage = on_outage
        self._endpoint = endpoint
        self._outage = outage
        self._ping_s = min(_PING_S, stall_s / 2)
        self._stall_s = stall_s
        self._loop = asyncio.get_running_loop()
        self._channels: dict[bytes, _Channel] = {}
        self._wire: Wire | None = None
        self._out: list[Command] = []
        self._task: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._why = ""
        self._is_served = False
        """Whether this connection has said anything but refusals."""
        self._heard_at_s = 0.0

    def subscribe(self, name: str, listener: Listener) -> asyncio.Future[None]:
        """Call `listener` with each message; the future is done as soon as nothing can be missed."""
        channel = self._channels.get(name.encode())
        if channel is None:
            channel = self._channels[name.encode()] = _Channel(self._loop.create_future())
            self._say(("SSUBSCRIBE", name))
        channel.listeners.append(listener)
        if self._task is None:
            self._task = self._loop.create_task(self._serve(), name="redisflow subscriptions")
        return channel.confirmed

    def unsubscribe(self, name: str, listener: Listener) -> None:
        """Call it no more."""
        channel = self._channels.get(name.encode())
        if channel is None or listener not in channel.listeners:
            return
        channel.listeners.remove(listener)
        if not channel.listeners:
            del self._channels[name.encode()]
            self._say(("SUNSUBSCRIBE", name))

    def renew(self) -> None:
        """Connect anew: this may no longer be the right server."""
        self._lost("the server may be another one now")

    async def close(self) -> None:
        """End every subscription."""
        self._channels.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._outage.forget(self)

    def _say(self, command: Command) -> None:
        if self._wire is not None:
            if not self._out:
                self._loop.call_soon(self._flush)
            self._out.append(command)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._wire is not None:
            self._wire.write(b"".join(map(pack, out)))

    async def _serve(self) -> None:
        backoff = Backoff()
        while True:
            try:
                wire = await open_wire(self._endpoint)
            except Exception as error:  # noqa: BLE001  # whatever it is, listeners wait for this to go on
                self._trouble(str(error) or type(error).__name__)
            else:
                try:
                    await self._listen(wire)
                finally:
                    self._wire = None
                    await wire.close()
                if self._is_served:
                    backoff.reset()
                self._trouble(self._why)
            await asyncio.sleep(backoff.next_s())

    def _trouble(self, why: str) -> None:
        self._outage.begin(self, why)
        if self._on_outage is not None:
            self._on_outage()

    async def _listen(self, wire: Wire) -> None:
        """Serve one connection to its end."""
        self._wire, self._out, self._ended, self._is_served = wire, [], asyncio.Event(), False
        self._heard_at_s = self._loop.time()
        wire.own(self._receive, self._lost)
        for name in self._channels:
            self._say(("SSUBSCRIBE", name))
        if not self._channels:
            self._say(("PING",))
        while not self._ended.is_set():
            quiet_s = self._loop.time() - self._heard_at_s
            if quiet_s >= self._stall_s:
                self._why = f"no reply for {self._stall_s:g} s"
                break
            wait_s = self._ping_s - quiet_s
            if wait_s <= 0:
                # It has the other half of the time to be answered: no look comes between.
                self._say(("PING",))
                wait_s = self._stall_s - quiet_s
            try:
                async with asyncio.timeout(wait_s):
                    await self._ended.wait()
            except TimeoutError:
                continue

    def _lost(self, why: str) -> None:
        self._why = why
        self._ended.set()

    def _receive(self, replies: list[Any]) -> None:
        self._heard_at_s = self._loop.time()
        for reply in replies:
            if isinstance(reply, Refusal):
                # One that may not subscribe, say: it is asked again ever more seldom, and that is one outage.
                self._lost(reply.words)
                return
            if not self._is_served:
                self._is_served = True
                self._outage.end(self)
            if reply[0] in (b"smessage", b"message"):
                self._tell(reply[1], reply[2])
            elif reply[0] in (b"ssubscribe", b"subscribe"):
                self._confirm(reply[1])
            elif reply[0] == b"sunsubscribe" and reply[1] in self._channels:
                # The server moved the channel's slot away: whoever keeps the map takes it along, and if it is still
                # here after a while, it is asked for again. (Or it was asked for again before this reply.)
                if self._on_outage is not None:
                    self._on_outage()
                self._loop.call_later(_MOVED_S, self._ask_again, reply[1])

    def _ask_again(self, name: bytes) -> None:
        if name in self._channels:
            self._say(("SSUBSCRIBE", name))

    def _confirm(self, name: bytes) -> None:
        channel = self._channels.get(name)
        if channel is None:
            return
        if channel.confirmed.done():
            self._tell(name, None)
        else:
            channel.confirmed.set_result(None)

    def _tell(self, name: bytes, message: bytes | None) -> None:
        channel = self._channels.get(name)
        for listener in list(channel.listeners) if channel else ():
            listener(message)
