"""One call at a time, from a thread that has no event loop: the heartbeat's own connection."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import hiredis

from redisflow.backend.connect import handshake
from redisflow.backend.wire import PASSING, Refusal, pack
from redisflow.errors import BackendError, BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redisflow.backend.connect import Target
    from redisflow.backend.wire import Command

CALL_S = 5.0
_READ_BYTES = 64 * 1024


class Redirected(BackendUnavailable):
    """A node of a cluster does not own the key. `words` are its own: MOVED or ASK, slot, address."""

    def __init__(self, masked_url: str, words: str) -> None:
        """Made by `Caller.call`."""
        super().__init__(f"{masked_url} does not serve calls now: {words}")
        self.words = words


class Caller:
    """A connection that blocks its thread, for 5 s at a time at most; made anew after every failure."""

    def __init__(self, target: Target, texts: Mapping[str, str], *, call_s: float = CALL_S) -> None:
        """`texts` are the scripts by their SHA-1; `call_s` is how long a call waits."""
        self._call_s = call_s
        self._target = target
        self._texts = texts
        self._ssl = target.ssl_context()
        self._socket: socket.socket | None = None
        self._reader = hiredis.Reader()
        self._where: tuple[str, int] | str = ""

    def call(self, where: tuple[str, int] | str, command: Command) -> Any:
        """Its reply. BackendUnavailable where there is none, BackendError where it is a refusal."""
        if where != self._where:
            self.close()
        try:
            if self._socket is None:
                self._socket, self._where = self._connect(where), where
                for greeting in handshake(self._target):
                    self._check(self._exchange(self._socket, greeting))
            reply = self._exchange(self._socket, command)
            if isinstance(reply, Refusal) and reply.code == "NOSCRIPT" and command[1] in self._texts:
                reply = self._exchange(self._socket, ("EVAL", self._texts[command[1]], *command[2:]))
        except (OSError, hiredis.ProtocolError) as error:
            self.close()
            # Only a timeout took that long: a connection that was closed meanwhile fails at once.
            within = f" within {self._call_s:g} s" if isinstance(error, TimeoutError) else ""
            msg = f"no answer from {self._target.masked}{within}: {error}"
            raise BackendUnavailable(msg) from error
        return self._check(reply)

    def _check(self, reply: Any) -> Any:
        if not isinstance(reply, Refusal):
            return reply
        self.close()  # the next call looks for the server again
        if reply.code in ("MOVED", "ASK"):
            raise Redirected(self._target.masked, reply.words)
        if reply.has_no_room or reply.code in PASSING or reply.code == "READONLY":
            msg = f"{self._target.masked} does not serve calls now: {reply.words}"
            raise BackendUnavailable(msg)
        msg = f"{self._target.masked} refused: {reply.words}"
        raise BackendError(msg)

    def _connect(self, where: tuple[str, int] | str) -> socket.socket:
        self._reader = hiredis.Reader(replyError=Refusal, notEnoughData=...)
        if isinstance(where, str):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(self._call_s)
            connection.connect(where)
            return connection
        connection = socket.create_connection(where, timeout=self._call_s)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._ssl.wrap_socket(connection, server_hostname=where[0]) if self._ssl else connection

    def _exchange(self, connection: socket.socket, command: Command) -> Any:
        connection.sendall(pack(command))
        while (reply := self._reader.gets()) is ...:
            data = connection.recv(_READ_BYTES)
            if not data:
                msg = "the server closed the connection"
                raise ConnectionError(msg)
            self._reader.feed(data)
        return reply

    def close(self) -> None:
        """Close it; the next call connects again."""
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()
