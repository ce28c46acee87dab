"""One connection through the proxy: which reply answers which call, and what becomes of both.

The hard thing is what answers nothing: messages of subscriptions, and the stream that a connection becomes when a
replica asks for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from redisflow.testing.faults.resp import Reply, ReplySplitter, Request, RequestSplitter
from redisflow.testing.faults.rules import Ending, Fate, Kind

if TYPE_CHECKING:
    from redisflow.testing.faults.rules import Direction, Rule

_PIECE_BYTES = 64 * 1024
_GOOD_BYE_S = 1.0
"""How long a server may take to close a connection whose client has gone."""
_MESSAGES = frozenset({b"message", b"pmessage", b"smessage"})
_SUBSCRIBES = frozenset({b"SUBSCRIBE", b"PSUBSCRIBE", b"SSUBSCRIBE"})
_UNSUBSCRIBES = frozenset({b"UNSUBSCRIBE", b"PUNSUBSCRIBE", b"SUNSUBSCRIBE"})
_STREAMS = frozenset({b"PSYNC", b"SYNC", b"MONITOR"})
"""What is followed by something else than requests and replies."""


class Network(Protocol):
    """What a connection needs of its proxy."""

    def decide(self, request: Request, connection: int) -> tuple[Fate, Rule | None]:
        """What becomes of this call."""
        ...

    async def pass_on(self, direction: Direction, size: int) -> None:
        """Return when so many bytes may pass."""
        ...

    def blackhole(self, direction: Direction = "both") -> None:
        """Nothing passes from now on."""
        ...


@dataclass(slots=True)
class _Expected:
    """An answer that is to come, or that stands in its place."""

    command: bytes = b""
    replies: int = 1
    """How many messages of the server it is."""
    instead: bytes | None = None
    """What is passed on in its place."""
    ending: Ending | None = None
    """How the connection ends in its place."""


class Connection:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(
        self,
        number: int,
        network: Network,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Not running yet."""
        self.number = number
        self.is_stream = False
        """Whether it has become a stream: that of a replica, say."""
        self.is_dead = False
        """Whether nothing passes any more, in either direction, though it is open."""
        self._network = network
        self._from_client, self._to_client = client
        self._from_server, self._to_server = server
        self._requests, self._replies = RequestSplitter(), ReplySplitter()
        self._expected: deque[_Expected] = deque()
        self._channels: dict[bytes, set[bytes]] = {}
        """What is subscribed, by the command's last word: the kind of subscription."""
        self._drops_requests = False
        self._drops_replies = False

    async def run(self) -> None:
        """Pass on until one side has closed it."""
        requests = asyncio.create_task(self._pass_requests())
        replies = asyncio.create_task(self._pass_replies())
        try:
            await asyncio.wait({requests, replies}, return_when=asyncio.FIRST_COMPLETED)
            if not replies.done():
                # What its client sent last still arrives, and is executed, though nobody hears of it.
                with contextlib.suppress(OSError, RuntimeError):
                    if self._to_server.can_write_eof():
                        self._to_server.write_eof()
                await asyncio.wait({replies}, timeout=_GOOD_BYE_S)
            elif not self._to_client.is_closing():
                with contextlib.suppress(OSError):
                    await asyncio.wait_for(self._to_client.drain(), _GOOD_BYE_S)
        finally:
            for task in (requests, replies):
                task.cancel()
            try:
                ends = await asyncio.gather(requests, replies, return_exceptions=True)
            finally:  # also where the proxy ends meanwhile
                for writer in (self._to_client, self._to_server):
                    if writer.transport.get_write_buffer_size():
                        writer.transport.abort()
                    else:
                        writer.close()
        for end in ends:
            if isinstance(end, Exception) and not isinstance(end, OSError):
                raise end

    def end(self, ending: Ending) -> None:
        """Close or reset it on its client's side, and let go of the server."""
        if ending is Ending.RESET:
            _reset_on_close(self._to_client)
        self._to_client.transport.abort()

    # -- from the client to the server ----------------------------------------------------------------------------

    async def _pass_requests(self) -> None:
        while data := await self._from_client.read(_PIECE_BYTES):
            if self._drops_requests:
                continue
            await self._may_pass("requests", len(data))
            if self.is_stream:
                self._to_server.write(data)
            else:
                for request in self._requests.feed(data):
                    if self.is_stream:  # behind PSYNC in one piece
                        self._to_server.write(request.raw)
                    elif not self._drops_requests:
                        await self._pass_request(request)
                if self.is_stream:
                    self._to_server.write(self._requests.take_rest())
            await self._to_server.drain()

    async def _pass_request(self, request: Request) -> None:
        if not request.words:
            self._to_server.write(request.raw)
            return
        command = request.words[0].upper()
        fate, rule = self._network.decide(request, self.number)
        if fate.kind in {Kind.ANSWER, Kind.DROP_REQUEST}:
            self._keep(fate)
            return
        answer = _Expected(command, self._replies_to(command, request))
        match fate.kind:
            case Kind.HOLD:
                assert rule is not None  # noqa: S101  # only rules hold
                await rule.hold()
            case Kind.BLACKHOLE:
                self._network.blackhole(fate.direction)
                await self._may_pass("requests", 0)
            case Kind.DUPLICATE:
                self._to_server.write(request.raw)
                self._expected.append(answer)
                answer = _Expected(command, answer.replies, instead=b"")
            case Kind.ANSWER_AFTER:
                answer.instead = fate.reply
            case Kind.DROP_REPLY:
                answer.ending = fate.ending
            case _:
                pass
        self._expected.append(answer)
        self.is_stream = command in _STREAMS
        self._to_server.write(request.raw)

    def _keep(self, fate: Fate) -> None:
        """Let the server see nothing of a call; what comes of that has its turn among the answers."""
        if fate.kind is Kind.ANSWER:
            self._expected.append(_Expected(replies=0, instead=fate.reply))
        else:
            self._drops_requests = True
            if fate.ending is not Ending.SILENT:
                self._expected.append(_Expected(replies=0, ending=fate.ending))
        self._say_what_is_known()

    def _replies_to(self, command: bytes, request: Request) -> int:
        names = request.words[1:]
        kind = command.removesuffix(b"SUBSCRIBE").removesuffix(b"UN")
        if command in _SUBSCRIBES:
            self._channels.setdefault(kind, set()).update(names)
            return len(names)
        if command in _UNSUBSCRIBES:
            known = self._channels.setdefault(kind, set())
            # Without names it is all of them, each with an answer of its own.
            count = len(names) or len(known) or 1
            known.difference_update(names or set(known))
            return count
        return 1

    # -- from the server to the client ----------------------------------------------------------------------------

    async def _pass_replies(self) -> None:
        while data := await self._from_server.read(_PIECE_BYTES):
            await self._may_pass("replies", len(data))
            if self._drops_replies or self._to_client.is_closing():
                continue
            if self.is_stream:
                self._to_client.write(self._replies.take_rest() + data)
            else:
                for reply in self._replies.feed(data):
                    self._take(reply)
            # One that has gone is no reason to stop: what it sent last may still be on its way to the server.
            with contextlib.suppress(OSError):
                await self._to_client.drain()

    def _take(self, reply: Reply) -> None:
        if self._drops_replies:
            return
        if not self._expected or self._answers_nothing(reply):
            self._say(reply.raw)
            return
        answer = self._expected[0]
        answer.replies -= 1
        if answer.ending is not None:
            self._end_with(answer.ending)
            return
        is_last = answer.replies <= 0 or reply.is_error
        if answer.instead is None:
            self._say(reply.raw)
        elif is_last:
            self._say(answer.instead)
        if is_last:
            self._expected.popleft()
            self._say_what_is_known()

    def _answers_nothing(self, reply: Reply) -> bool:
        """A message, or a subscription that the server has ended by itself."""
        word = reply.first_word
        if reply.is_push:
            return word.upper() != self._expected[0].command
        if not self._channels:
            return False
        return word in _MESSAGES or (word == b"sunsubscribe" and self._expected[0].command != b"SUNSUBSCRIBE")

    def _say_what_is_known(self) -> None:
        """Answers that the server is not asked for, where it is their turn."""
        while self._expected and self._expected[0].replies == 0:
            answer = self._expected.popleft()
            if answer.ending is not None:
                self._end_with(answer.ending)
                return
            self._say(answer.instead or b"")

    def _end_with(self, ending: Ending) -> None:
        self._drops_replies = True
        if ending is not Ending.SILENT:
            self.end(ending)

    def _say(self, data: bytes) -> None:
        if data and not self._to_client.is_closing():
            self._to_client.write(data)

    async def _may_pass(self, direction: Direction, size: int) -> None:
        await self._network.pass_on(direction, size)
        if self.is_dead:
            await asyncio.Event().wait()  # it stays open: whoever waits here is cancelled at the end


def _reset_on_close(writer: asyncio.StreamWriter) -> None:
    """Closing it then sends RST instead of FIN."""
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
