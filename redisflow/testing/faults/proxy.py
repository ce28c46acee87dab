"""A TCP proxy before a Redis or Valkey server, which does to exactly the calls that a test names what networks do.

It runs in the test's own event loop, understands the protocol, and knows which reply answers which call: pipelines,
transactions, blocking commands, subscriptions, plain or TLS. The connection of a replica is passed through as the
stream that it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl as tls
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TypeAlias
from urllib.parse import SplitResult, urlsplit, urlunsplit

from redisflow.testing.faults.calls import CallSelector, NameOf, SeenCall, name_by, script_names
from redisflow.testing.faults.connection import Connection
from redisflow.testing.faults.resp import Request
from redisflow.testing.faults.rules import PASS, Direction, Ending, Fate, Rule, Trigger

Target: TypeAlias = str | tuple[str, int]
Pair: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """What stands between clients and a server. Use `open_proxy`."""

    def __init__(self, name_of: NameOf) -> None:
        """Made by `open_proxy`."""
        self.port = 0
        """On 127.0.0.1."""
        self.url = ""
        """Of the server, through this proxy."""
        self.calls: list[SeenCall] = []
        """All that came by, in order."""
        self.opened = 0
        """How many connections were ever made."""
        self.pieces = 0
        """In how many pieces all that clients sent came: one a write, as a rule."""
        self._name_of = name_of
        self._counts: Counter[str] = Counter()
        self._rules: list[Rule] = []
        self._connections: set[Connection] = set()
        self._ways: dict[str, asyncio.Event] = {"requests": asyncio.Event(), "replies": asyncio.Event()}
        self._delay_s = 0.0
        self._bytes_per_s: float | None = None
        self._where: tuple[str, int] = ("", 0)
        self.heal()

    # -- rules for calls ------------------------------------------------------------------------------------------

    def on(self, selector: CallSelector) -> Trigger:
        """Say what becomes of these calls: `proxy.on(call("commit_run", nth=3)).drop_reply()`.

        Where several rules are about a call, the one that was made first has it.
        """
        return Trigger(selector, self._add)

    def _add(self, rule: Rule) -> Rule:
        self._rules.append(rule)
        return rule

    def forget(self, rule: Rule) -> None:
        """Take a rule back, and let go what it holds. Safe to repeat."""
        rule.release()
        if rule in self._rules:
            self._rules.remove(rule)

    def clear(self) -> None:
        """Take all rules back, and forget the calls so far."""
        self.forget_rules()
        self.calls.clear()
        self._counts.clear()

    def forget_rules(self) -> None:
        """Take all rules back, and let go what they hold."""
        for rule in list(self._rules):
            self.forget(rule)

    def decide(self, request: Request, connection: int) -> tuple[Fate, Rule | None]:
        """What becomes of this call. For connections."""
        name = self._name_of(request.words)
        self._counts[name] += 1
        seen = SeenCall(name, self._counts[name], connection, request.words)
        self.calls.append(seen)
        # Every rule sees every call: each counts those that it is about.
        met = [rule for rule in self._rules if rule.meets(seen)]
        return (met[0].fate, met[0]) if met else (PASS, None)

    # -- the whole network ----------------------------------------------------------------------------------------

    @property
    def open_connections(self) -> int:
        """How many connections there are at present."""
        return len(self._connections)

    @property
    def streams(self) -> int:
        """How many of them are streams: the links of replicas."""
        return sum(connection.is_stream for connection in self._connections)

    def blackhole(self, direction: Direction = "both") -> None:
        """From now on nothing passes in this direction, on any connection; nothing is closed, and nobody is told."""
        for way in self._ways if direction == "both" else (direction,):
            self._ways[way].clear()

    def heal(self, *, resume: bool = True) -> None:
        """Let everything pass again. What was held up arrives now, as after a short outage of a network.

        With `resume=False` the connections of before stay open and silent for good, as those whose peer is gone; new
        ones work.
        """
        if not resume:
            for connection in self._connections:
                connection.is_dead = True
        for way in self._ways.values():
            way.set()

    def slow_down(self, *, delay: float = 0.0, bytes_per_s: float | None = None) -> None:
        """From now on each piece of data takes `delay` seconds, and what its size takes at this rate."""
        self._delay_s, self._bytes_per_s = delay, bytes_per_s

    def lead_to(self, target: Target) -> None:
        """Lead the connections that are made from now on to this server, as a name or a virtual address does."""
        self._where, _ = _read_target(target)

    def reset(self) -> None:
        """Reset every connection (RST); new ones work."""
        self._end_all(Ending.RESET)

    def close_all(self) -> None:
        """Close every connection (FIN); new ones work."""
        self._end_all(Ending.CLOSE)

    def _end_all(self, ending: Ending) -> None:
        for connection in list(self._connections):
            connection.end(ending)

    async def pass_on(self, direction: Direction, size: int) -> None:
        """Return when so many bytes may pass. For connections."""
        self.pieces += direction == "requests" and size > 0
        wait_s = self._delay_s + (size / self._bytes_per_s if self._bytes_per_s else 0.0)
        if wait_s:
            await asyncio.sleep(wait_s)
        await self._ways[direction].wait()

    async def serve(self, client: Pair, target_ssl: tls.SSLContext | None) -> None:
        """Pass a connection on to its end."""
        self.opened += 1
        number = self.opened
        server = await asyncio.open_connection(*self._where, ssl=target_ssl)
        connection = Connection(number, self, client, server)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            if not server[1].is_closing():  # cancelled while it was about to close it
                server[1].transport.abort()


@asynccontextmanager
async def open_proxy(
    target: Target,
    *,
    names: Mapping[str, str] | None = None,
    name_of: NameOf | None = None,
    ssl: tls.SSLContext | None = None,
    target_ssl: tls.SSLContext | None = None,
) -> AsyncGenerator[Proxy]:
    """A proxy on a free port of 127.0.0.1 before `target`, the URL of a server or its host and port.

    `names` are those of scripts by SHA-1, by default redisflow's own; `name_of` names calls in a way of its own. With
    `ssl` clients speak TLS to the proxy, with `target_ssl` the proxy does to the server. At the end every connection is
    closed; a connection on which something else than the Redis protocol was spoken is raised then.
    """
    _, parts = _read_target(target)
    proxy = Proxy(name_of or name_by(script_names() if names is None else names))
    proxy.lead_to(target)
    handlers: set[asyncio.Task[None]] = set()
    failures: list[Exception] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # asyncio runs it in one
        handlers.add(task)
        try:
            await proxy.serve((reader, writer), target_ssl)
        except (OSError, asyncio.CancelledError):
            pass  # no server there, or the proxy ends: asyncio's own callback trips over one that ends cancelled
        except Exception as error:  # noqa: BLE001  # raised at the end
            failures.append(error)
        finally:
            writer.transport.abort()
            handlers.discard(task)

    listener = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=ssl)
    proxy.port = listener.sockets[0].getsockname()[1]
    userinfo, _, _ = parts.netloc.rpartition("@")
    netloc = f"{userinfo}@127.0.0.1:{proxy.port}" if userinfo else f"127.0.0.1:{proxy.port}"
    proxy.url = urlunsplit(parts._replace(scheme="rediss" if ssl else "redis", netloc=netloc))
    try:
        yield proxy
    finally:
        listener.close()
        proxy.forget_rules()
        for task in list(handlers):
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(listener.wait_closed(), 1.0)
    if failures:
        raise failures[0]


def _read_target(target: Target) -> tuple[tuple[str, int], SplitResult]:
    parts = urlsplit(target if isinstance(target, str) else f"redis://{target[0]}:{target[1]}/0")
    if parts.hostname is None or parts.port is None:
        msg = "the target of a proxy is a URL with host and port, redis://127.0.0.1:6379/0, or such a pair"
        raise ValueError(msg)
    return (parts.hostname, parts.port), parts
