"""One server: over TCP, TLS or a unix socket, or the one that Sentinels call the primary at present."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from redisflow.backend.batch import Call, Parse
from redisflow.backend.caller import CALL_S, Caller
from redisflow.backend.channels import Channels, Listener
from redisflow.backend.connect import Target, handshake
from redisflow.backend.link import STALL_S, Link
from redisflow.backend.outage import Backoff, OutageLog
from redisflow.backend.pops import POP_S, Popper
from redisflow.backend.servers import explain_fsync, refuse_without_fsync
from redisflow.backend.wire import CONNECT_S, Command, Refusal, Wire, open_wire
from redisflow.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redisflow.backend.acknowledgements import Acknowledgements
    from redisflow.backend.scripts import Scripts

SENTINEL_LOOK_S = 3.0
"""How often Sentinels are asked whether the primary is still the one that is used. One that was cut off from them, or
stood still, may go on answering, and everything that it acknowledges then is lost when it is found again."""

_ABOUT_FSYNC = ("CONFIG", "GET", "append*")


class ServerEndpoint:
    """How to reach the server of a target; Sentinels are asked before each connection."""

    def __init__(self, target: Target, address: tuple[str, int] | None = None) -> None:
        """`address` overrides that of the target: a node of a cluster."""
        self._target = target
        self._sentinels = list(dict.fromkeys(target.hosts))
        """Those that are asked, whoever answered last first."""
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
        """The primary that the first Sentinel names which answers and sees it alive.

        ConnectionError where there is none, BackendError where none of them would even talk to us.
        """
        troubles: list[Exception] = []
        sentinels = self._sentinels
        for host in list(sentinels):
            # Last, until it has answered: whoever asks has no time for several that are silent, and begins with others
            # when it asks again.
            sentinels.remove(host)
            sentinels.append(host)
            try:
                async with asyncio.timeout(CONNECT_S / 2):
                    found = await _ask_sentinel(self._target, host)
            except (OSError, BackendError) as error:  # a TimeoutError is an OSError
                troubles.append(error)
            else:
                sentinels.remove(host)
                sentinels.insert(0, host)
                return found
        told = dict.fromkeys(str(trouble) or type(trouble).__name__ for trouble in troubles)
        msg = f"no Sentinel names a primary called {self._target.service!r}: {'; '.join(told)}"
        if all(isinstance(trouble, BackendError) for trouble in troubles):
            raise BackendError(msg)
        raise ConnectionError(msg)


async def _ask_sentinel(target: Target, host: tuple[str, int]) -> tuple[str, int]:
    whom = replace(target, kind="single", hosts=(host,), credentials=target.sentinel_credentials, db=0)
    wire = await open_wire(ServerEndpoint(whom))
    try:
        (reply,) = await wire.ask([("SENTINEL", "MASTER", target.service)])
    finally:
        await wire.close()
    if isinstance(reply, Refusal):
        raise ConnectionError(reply.words)
    says = {name.decode(): value.decode() for name, value in zip(reply[::2], reply[1::2], strict=True)}
    flags = set(says["flags"].split(","))
    if "master" not in flags or flags & {"s_down", "o_down", "disconnected"}:
        msg = f"it is {says['flags']}"
        raise ConnectionError(msg)
    return says["ip"], int(says["port"])


@dataclass(frozen=True, slots=True)
class _Beside:
    """Connections beside those on which calls wait for replicas."""

    acks: Acknowledgements
    small: Link
    bulk: Link


class SingleServer:
    """A transport to one server: a connection for small calls, one for large ones, one for each blocking pop.

    Where calls wait for replicas, there are two more, for those that promise nothing: behind a WAIT everything waits.
    """

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
        acks: Acknowledgements | None = None,
    ) -> None:
        """Make it inside the event loop that it serves.

        `endpoint`, `outage`, `texts`, `on_redirect` and `on_outage` are for a node of a cluster.
        """
        self._target = target
        self._must_fsync = acks is not None and acks.must_fsync
        self._stall_s = stall_s
        self._endpoint = endpoint or ServerEndpoint(target)
        self._outage = outage or OutageLog(target.masked)
        self._texts: dict[str, str] = {} if texts is None else texts
        self._on_redirect = on_redirect
        self._on_outage = on_outage
        self._channels = Channels(self._endpoint, self._outage, stall_s=stall_s, on_outage=on_outage)
        self._small, self._bulk = self._link(acks), self._link(acks)
        self._beside = _Beside(acks, self._link(acks), self._link(acks)) if acks is not None and acks.waits else None
        self._poppers: dict[tuple[str, ...], Popper] = {}
        self._sentinels: asyncio.Task[None] | None = None

    def _link(self, acks: Acknowledgements | None = None) -> Link:
        link = Link(
            self._endpoint,
            self._outage,
            texts=self._texts,
            stall_s=self._stall_s,
            acks=acks,
            prove=self._prove if self._must_fsync or self._target.kind == "sentinel" else None,
        )
        link.on_redirect = self._on_redirect
        link.on_outage = self._lost
        return link

    def _links(self) -> list[Link]:
        beside = self._beside
        return [self._small, self._bulk, *((beside.small, beside.bulk) if beside is not None else ())]

    async def _prove(self, wire: Wire) -> None:
        """OSError where this server is not the one that is wanted now: Sentinels, and others, may be behind."""
        if self._target.kind == "sentinel":
            (role,) = await wire.ask([("ROLE",)])
            if not isinstance(role, Refusal) and role[0] != b"master":
                msg = "the server that Sentinels name is a replica"
                raise ConnectionError(msg)
        if self._must_fsync:
            (settings,) = await wire.ask([_ABOUT_FSYNC])
            if (why := explain_fsync(settings)) is not None:
                raise ConnectionError(why)

    async def _watch_sentinels(self) -> None:
        """Leave a primary that is no longer one, also where it goes on answering."""
        used = self._endpoint.last
        while True:
            await asyncio.sleep(SENTINEL_LOOK_S * random.uniform(0.8, 1.2))  # noqa: S311  # jitter
            try:
                async with asyncio.timeout(CONNECT_S):
                    found = await self._endpoint.locate()
            except (OSError, BackendError):  # nobody knows, or nobody answers: what is used may still be right
                continue
            if found != used:
                used = found
                for link in self._links():
                    link.leave("Sentinels name another primary")
                for popper in self._poppers.values():
                    popper.leave("Sentinels name another primary")
                self._lost()

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
        if self._must_fsync:
            await self._refuse_without_fsync()
        await self._small.send(("SCRIPT", "LOAD", scripts.open_namespace.text))
        if self._target.kind == "sentinel" and self._sentinels is None:
            self._sentinels = asyncio.create_task(self._watch_sentinels(), name="redisflow sentinels")

    async def _refuse_without_fsync(self) -> None:
        """On a connection of its own, so that it is an error and no outage."""
        backoff = Backoff()
        while True:
            try:
                settings = await self._ask_about_fsync()
            except OSError as error:
                self._outage.begin(self, str(error) or type(error).__name__)
                await asyncio.sleep(backoff.next_s())
            else:
                break
        self._outage.end(self)
        refuse_without_fsync(settings)

    async def _ask_about_fsync(self) -> Any:
        wire = await open_wire(self._endpoint)
        try:
            async with asyncio.timeout(CONNECT_S):
                (settings,) = await wire.ask([_ABOUT_FSYNC])
        finally:
            await wire.close()
        return settings

    def send(
        self, prefix: str, command: Command, parse: Parse | None = None, *, bulk: bool = False
    ) -> asyncio.Future[Any]:
        """Send a command."""
        del prefix
        beside = self._beside
        if beside is not None and not beside.acks.lasts(command):
            return (beside.bulk if bulk else beside.small).send(command, parse)
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
        self.send("", ("LPUSH", key, token)).add_done_callback(_forget)

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
        beside = self._beside
        if beside is None:
            self._small.adopt(calls)
            return
        for call in calls:
            (self._small if beside.acks.lasts(call[3]) else beside.small).adopt([call])

    def give_up(self) -> list[Call]:
        """Hand over every unanswered call, except blocked pops: their waiters come back by themselves."""
        return [call for link in self._links() for call in link.give_up()]

    @property
    def quiet_s(self) -> float:
        """How long it has owed a reply to a call and said nothing; 0 while it owes none."""
        return max(link.quiet_s for link in self._links())

    async def close(self) -> None:
        """Close every connection."""
        if self._sentinels is not None:
            self._sentinels.cancel()
            await asyncio.wait([self._sentinels])
        await self._channels.close()
        for popper in self._poppers.values():
            await popper.close()
        for link in reversed(self._links()):
            await link.close()


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
