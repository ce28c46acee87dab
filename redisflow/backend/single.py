"""One server: over TCP, TLS or a unix socket, or the one that Sentinels call the primary at present."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redis import exceptions
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from redisflow.backend.caller import CALL_S, Caller
from redisflow.backend.channels import Channels, Listener
from redisflow.backend.connect import Target, handshake
from redisflow.backend.link import STALL_S, Call, Link, Parse
from redisflow.backend.outage import OutageLog
from redisflow.backend.pops import POP_S, Popper
from redisflow.backend.wire import CONNECT_S, Command

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redisflow.backend.scripts import Scripts


class ServerEndpoint:
    """How to reach the server of a target; Sentinels are asked before each connection."""

    def __init__(self, target: Target, address: tuple[str, int] | None = None) -> None:
        """`address` overrides that of the target: a node of a cluster."""
        self._target = target
        self._fixed = address
        self.handshake = handshake(target)
        self.ssl_context = target.ssl_context()
        self.last: tuple[str, int] | str = address or target.path or (target.hosts[0] if target.hosts else "")
        """Where it was found last; read by the heartbeat's thread."""

    async def locate(self) -> tuple[str, int] | str:
        """Host and port, or the path of a unix socket."""
        if self._fixed is None and self._target.kind == "sentinel":
            self.last = await self._ask_sentinels()
        return self.last

    async def _ask_sentinels(self) -> tuple[str, int]:
        target = self._target
        options: dict[str, Any] = {
            "socket_timeout": CONNECT_S / 2,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "username": target.sentinel_credentials.username,
            "password": target.sentinel_credentials.password,
        }
        if target.tls:
            options |= {"ssl": True, **target.ssl_files}
        make: Any = Sentinel  # published without complete types
        sentinel = make(list(target.hosts), sentinel_kwargs=options)
        try:
            host, port = await sentinel.discover_master(target.service)
        except exceptions.RedisError as error:
            raise ConnectionError(str(error)) from error
        finally:
            for client in sentinel.sentinels:
                await client.aclose()
        return str(host), int(port)


class SingleServer:
    """A transport to one server: a connection for small calls, one for large ones, one for each blocking pop."""

    def __init__(
        self,
        target: Target,
        *,
        stall_s: float = STALL_S,
        endpoint: ServerEndpoint | None = None,
        outage: OutageLog | None = None,
        texts: dict[str, str] | None = None,
        on_redirect: Callable[[Call, str], None] | None = None,
        on_outage: Callable[[], None] | None = None,
    ) -> None:
        """Make it inside the event loop that it serves. What follows `stall_s` is for a node of a cluster."""
        self._target = target
        self._stall_s = stall_s
        self._endpoint = endpoint or ServerEndpoint(target)
        self._outage = outage or OutageLog(target.masked)
        self._texts: dict[str, str] = {} if texts is None else texts
        self._on_redirect = on_redirect
        self._on_outage = on_outage
        self._channels = Channels(self._endpoint, self._outage, stall_s=stall_s, on_outage=on_outage)
        self._small, self._bulk = self._link(), self._link()
        self._poppers: dict[tuple[str, ...], Popper] = {}

    def _link(self) -> Link:
        link = Link(self._endpoint, self._outage, texts=self._texts, stall_s=self._stall_s)
        link.on_redirect = self._on_redirect
        link.on_outage = self._lost
        return link

    def _lost(self) -> None:
        # After a fail-over the old primary may live on, and its subscribers would wait for messages in vain.
        self._channels.renew()
        if self._on_outage is not None:
            self._on_outage()

    @property
    def masked_url(self) -> str:
        """As it may be shown."""
        return self._target.masked

    @property
    def trouble(self) -> str:
        """Why the server is away; empty while it answers."""
        return self._outage.reason

    async def load(self, scripts: Scripts) -> None:
        """Make the server know the smallest script, which shows whether it can run them; each other comes when called.

        All of them hold 1.3 MB in the server's interpreter, more than fits into a core's cache: that would make each
        call a tenth slower (docs/decisions/0026-cost-of-features.md).
        """
        self._texts.update((script.sha, script.text) for script in scripts)
        await self._small.send(("SCRIPT", "LOAD", scripts.open_namespace.text))

    def send(
        self, prefix: str, command: Command, parse: Parse | None = None, *, bulk: bool = False
    ) -> asyncio.Future[Any]:
        """Send a command."""
        del prefix
        return self._bulk.send(command, parse) if bulk else self._small.send(command, parse)

    async def pop(self, prefix: str, keys: Sequence[str], timeout_s: float) -> bool:
        """Wait for a token in one of the keys, and take it."""
        del prefix
        names = tuple(keys)
        popper = self._poppers.get(names)
        if popper is None:
            pop_s = min(POP_S, self._stall_s / 2)
            popper = self._poppers[names] = Popper(self._link(), names, self._put_back, pop_s=pop_s)
        return await popper.wait(timeout_s)

    def _put_back(self, key: bytes, token: bytes) -> None:
        self._small.send(("LPUSH", key, token)).add_done_callback(_forget)

    def subscribe(self, prefix: str, channel: str, listener: Listener) -> asyncio.Future[None]:
        """Listen to a channel."""
        del prefix
        return self._channels.subscribe(channel, listener)

    def unsubscribe(self, prefix: str, channel: str, listener: Listener) -> None:
        """Stop listening."""
        del prefix
        self._channels.unsubscribe(channel, listener)

    def open_calls(self) -> SingleCalls:
        """A connection for a thread."""
        return SingleCalls(self._target, self._endpoint, self._texts, min(CALL_S, self._stall_s))

    def adopt(self, calls: Iterable[Call]) -> None:
        """Take over calls from another node."""
        self._small.adopt(calls)

    def give_up(self) -> list[Call]:
        """Hand over every unanswered call, except blocked pops: their waiters come back by themselves."""
        return [*self._small.give_up(), *self._bulk.give_up()]

    async def close(self) -> None:
        """Close every connection."""
        await self._channels.close()
        for popper in self._poppers.values():
            await popper.close()
        await self._bulk.close()
        await self._small.close()


class SingleCalls:
    """Calls from a thread, to wherever the event loop found the server last."""

    def __init__(self, target: Target, endpoint: ServerEndpoint, texts: dict[str, str], call_s: float) -> None:
        """Made by `SingleServer.open_calls`."""
        self._caller = Caller(target, texts, call_s=call_s)
        self._endpoint = endpoint

    def call(self, prefix: str, command: Command) -> Any:
        """Its reply."""
        del prefix
        return self._caller.call(self._endpoint.last, command)

    def close(self) -> None:
        """Close the connection."""
        self._caller.close()


def _forget(future: asyncio.Future[Any]) -> None:
    """A token that could not be put back costs another worker a wait, and nobody a run."""
    if not future.cancelled():
        future.exception()
