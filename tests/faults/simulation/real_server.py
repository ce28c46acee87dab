"""The real server of a simulation: a blocking connection on which one call after another is executed."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import hiredis

from redisflow.backend.scripts import load_scripts
from redisflow.backend.wire import Refusal, pack

Mutate = Callable[[str, str], str]
"""From a script's name and its inlined text to the text that is run instead."""

_NOT_YET: Any = object()
_RAW = "#!lua\nreturn redis.call(unpack(ARGV))"


@dataclass(frozen=True, slots=True)
class Change:
    """A key that a call has written, and what it holds now."""

    key: str
    kind: str
    """As TYPE says it; "none" where the key is gone."""
    content: Any
    expires_ms: int | None


@dataclass(frozen=True, slots=True)
class Execution:
    """What one call did."""

    name: str
    """Of the script, or the command in small letters."""
    prefix: str
    arguments: Sequence[bytes]
    reply: Any
    changes: Sequence[Change] = ()
    said: Sequence[tuple[str, bytes]] = ()
    """What it published: channel and message."""
    foreign: Sequence[bytes] = ()
    """Keys that it touched outside of its partition."""


@cache
def _prelude() -> str:
    return (Path(__file__).parent / "prelude.lua").read_text(encoding="utf-8")


def _wrapped(text: str) -> str:
    shebang, _, body = text.partition("\n")
    assert shebang.startswith("#!lua"), shebang
    return "#!lua\n" + _prelude().replace("--BODY--", body)


@dataclass
class RealServer:
    """One connection to it. Scripts stay loaded from one simulation to the next, the data do not."""

    port: int
    mutate: Mutate = lambda _, text: text
    _loaded: dict[str, bytes] = field(default_factory=dict)
    """The SHA-1 under which the server knows a script, by its text as it was sent."""

    def __post_init__(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader(replyError=Refusal, notEnoughData=_NOT_YET)
        self._clock_ms = -1
        self.names = {script.text: script.name for script in load_scripts()}

    def close(self) -> None:
        self._socket.close()

    def clear(self) -> None:
        """Forget all data."""
        self.ask(("FLUSHALL", "SYNC"))
        self._clock_ms = -1

    def ask(self, *commands: tuple[Any, ...]) -> Any:
        """The reply to the last of some commands."""
        self._socket.sendall(b"".join(map(pack, commands)))
        reply = None
        for _ in commands:
            while (reply := self._reader.gets()) is _NOT_YET:
                data = self._socket.recv(1 << 20)
                assert data, "the real server of the simulation has gone"
                self._reader.feed(data)
        return reply

    def save(self, prefix: str) -> list[tuple[bytes, bytes]]:
        """All keys of a partition, and what belongs to it here, as they are now."""
        names = [*self.ask(("KEYS", f"{prefix}*")), *self.ask(("KEYS", f"sim:*:{prefix}*"))]
        return [(name, self.ask(("DUMP", name))) for name in sorted(names)]

    def restore(self, prefix: str, saved: list[tuple[bytes, bytes]]) -> None:
        """Let the partition be what it was."""
        names = [*self.ask(("KEYS", f"{prefix}*")), *self.ask(("KEYS", f"sim:*:{prefix}*"))]
        commands: list[tuple[Any, ...]] = [("DEL", name) for name in names]
        self.ask(("PING",), *commands, *(("RESTORE", name, 0, data) for name, data in saved))

    def run_text(self, text: str, prefix: bytes, arguments: Sequence[Any], clock_ms: int) -> Execution:
        """Run a script of redisflow's on a partition, at a time."""
        name = self.names.get(text, "?")
        sha = self._loaded.get(text)
        if sha is None:
            sha = self.ask(("SCRIPT", "LOAD", _wrapped(self.mutate(name, text))))
            assert isinstance(sha, bytes), f"{name}: {sha}"
            self._loaded[text] = sha
        return self._run(sha, name, prefix, arguments, clock_ms)

    def run_command(self, command: Sequence[bytes], clock_ms: int) -> Execution:
        """Run a plain command that is about one key."""
        prefix = command[1].partition(b"}:")[0] + b"}:"
        sha = self._loaded.get(_RAW)
        if sha is None:
            sha = self._loaded[_RAW] = self.ask(("SCRIPT", "LOAD", _wrapped(_RAW)))
        return self._run(sha, command[0].decode().lower(), prefix, command, clock_ms)

    def _run(self, sha: bytes, name: str, prefix: bytes, arguments: Sequence[Any], clock_ms: int) -> Execution:
        call = ("EVALSHA", sha, 1, prefix, *arguments)
        if clock_ms == self._clock_ms:
            reply = self.ask(call)
        else:
            reply = self.ask(("SET", "sim:clock", clock_ms), call)
            self._clock_ms = clock_ms
        if isinstance(reply, Refusal):
            raise AssertionError(f"{name}: {reply}")
        fine, why, said, foreign, changes, value = reply
        if not fine:
            value = Refusal(why.decode(errors="replace"))
        return Execution(
            name,
            prefix.decode(),
            arguments,
            value,
            [_change(*change) for change in changes],
            [(channel.decode(), message) for channel, message in zip(said[::2], said[1::2], strict=True)],
            foreign,
        )


def _change(key: bytes, kind: bytes, content: Any, expires: bytes) -> Change:
    return Change(key.decode(), kind.decode(), content, int(float(expires)) if expires else None)


def encode(reply: Any) -> bytes:
    """As the protocol has it."""
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, Refusal):
        return b"-" + str(reply).encode() + b"\r\n"
    return b"*%d\r\n" % len(reply) + b"".join(map(encode, reply))
