"""One connection to a server, from its handshake to its end: bytes out, replies in.

It knows nothing of who sent what; those who do stand above it. The hard thing is its beginning: nothing is written
before AUTH and SELECT are answered, or it would act on the wrong database.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import hiredis

from redisflow.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence

CONNECT_S = 5.0
_NOT_YET: Any = object()
Command: TypeAlias = tuple[Any, ...]
# Its stub knows tuples of one element only.
pack: Callable[[Command], bytes] = cast("Any", hiredis).pack_command
# Refusals by which the server says that it did not execute the call, and that this passes.
PASSING = frozenset({"LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "MISCONF", "UNBLOCKED"})
# A server says so unasked, to whoever connects, and hangs up.
_NO_ROOM = "ERR max number of clients"


class Refusal(Exception):
    """An error reply: the server's own words."""

    @property
    def code(self) -> str:
        """Its first word."""
        return str(self).partition(" ")[0]

    @property
    def has_no_room(self) -> bool:
        """Whether the server takes no more connections for now."""
        return str(self).startswith(_NO_ROOM)

    @property
    def words(self) -> str:
        """What may be shown of it: never the arguments, which some replies repeat."""
        return str(self).partition(", with args")[0][:300]


class Endpoint(Protocol):
    """Where a server is at present, and what it wants to hear first."""

    @property
    def handshake(self) -> Sequence[Command]:
        """Commands to be answered before anything else."""
        ...

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """For TLS."""
        ...

    async def locate(self) -> tuple[str, int] | str:
        """Host and port, or the path of a unix socket; asked anew for every connection."""
        ...


class Wire(asyncio.Protocol):
    """An open connection. Replies come in order, in the pieces in which they arrived."""

    def __init__(self) -> None:
        """Made by `open_wire`."""
        self.on_replies: Callable[[list[Any]], None] = _ignore
        self.on_lost: Callable[[str], None] = _ignore
        self._reader = hiredis.Reader(replyError=Refusal, notEnoughData=_NOT_YET)
        self._transport: asyncio.Transport | None = None
        self._lost: str | None = None
        self._closing: asyncio.Future[None] | None = None

    def write(self, data: bytes) -> None:
        """Send. What is written on a lost connection is dropped: whoever wrote it hears of the loss."""
        if self._transport is not None:
            self._transport.write(data)

    def drop(self) -> None:
        """Close it now; nobody hears of it any more."""
        self.on_replies = self.on_lost = _ignore
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Close it, and return when it is closed."""
        self.drop()
        if self._transport is not None:
            self._closing = asyncio.get_running_loop().create_future()
            await self._closing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = transport  # type: ignore[assignment]  # create_connection makes no other kind
        found = transport.get_extra_info("socket")
        if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
            _keep_alive(found)

    def data_received(self, data: bytes) -> None:
        """Some bytes of some replies."""
        gets = self._reader.gets
        replies: list[Any] = []
        try:
            self._reader.feed(data)
            while (reply := gets()) is not _NOT_YET:
                replies.append(reply)
        except hiredis.ProtocolError as error:
            self._end(f"what it answers is not the Redis protocol: {error}")
            return
        self.on_replies(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._transport = None
        if self._closing is not None and not self._closing.done():
            self._closing.set_result(None)
        self._end(str(exc) if exc else "the server closed the connection")

    def _end(self, why: str) -> None:
        if self._lost is None:
            self._lost = why
            if self._transport is not None:
                self._transport.abort()
            self.on_lost(why)

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands and wait for their replies; only before the connection is handed to its owner."""
        if not commands:
            return []
        done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        answers: list[Any] = []

        def take(replies: list[Any]) -> None:
            answers.extend(replies)
            if len(answers) >= len(commands) and not done.done():
                done.set_result(answers)

        def lost(why: str) -> None:
            if not done.done():
                done.set_exception(ConnectionError(why))

        self.on_replies, self.on_lost = take, lost
        if self._lost is not None:
            lost(self._lost)
        self.write(b"".join(pack(command) for command in commands))
        try:
            return await done
        finally:
            self.on_replies = self.on_lost = _ignore

    def own(self, on_replies: Callable[[list[Any]], None], on_lost: Callable[[str], None]) -> None:
        """Hand it to its owner, who hears at once if it has been lost meanwhile."""
        self.on_replies, self.on_lost = on_replies, on_lost
        if self._lost is not None:
            on_lost(self._lost)


def _ignore(_: object) -> None:
    pass


def _keep_alive(connection: socket.socket) -> None:
    """A peer that vanished without a word is found out within 30 s, also where nothing is being sent."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def open_wire(endpoint: Endpoint) -> Wire:
    """Connect, and say who we are.

    OSError (TimeoutError is one) where that may pass, BackendError where it will not: wrong password, bad certificate.
    """
    loop = asyncio.get_running_loop()
    wire = Wire()
    try:
        async with asyncio.timeout(CONNECT_S):
            where = await endpoint.locate()
            if isinstance(where, str):
                await loop.create_unix_connection(lambda: wire, where)
            else:
                await loop.create_connection(lambda: wire, *where, ssl=endpoint.ssl_context)
            _check(await wire.ask(endpoint.handshake))
    except ssl.SSLCertVerificationError as error:
        wire.drop()
        msg = (
            f"the server's certificate was not accepted: {error.verify_message}. The URL names the server as its"
            " certificate does, and its authority where that is your own: ?ssl_ca_certs=/path/to/ca.pem"
        )
        raise BackendError(msg) from error
    except TimeoutError:
        wire.drop()
        # A server without TLS takes its greeting for the beginning of a long command, and waits for the rest.
        what = "connection" if endpoint.ssl_context is None else "TLS connection (does that port speak TLS?)"
        msg = f"no {what} within {CONNECT_S:.0f} s"
        raise TimeoutError(msg) from None
    except BaseException:
        wire.drop()
        raise
    return wire


def _check(replies: Sequence[Any]) -> None:
    for reply in replies:
        if isinstance(reply, Refusal):
            passes = reply.code in PASSING or reply.has_no_room
            raise ConnectionError(reply.words) if passes else BackendError(reply.words)
