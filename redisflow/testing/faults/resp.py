"""Where one message of the Redis protocol ends and the next begins: the raw bytes, whole, in whatever pieces they come.

A parser of replies gives values and forgets the bytes; a proxy must pass on exactly what it was given. Nesting needs no
stack: every header says how many values follow it, so that one count of values to come tells the end of a message.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

_CRLF = b"\r\n"
_LINE_BYTES = 64 * 1024
"""The longest line that a server takes; nothing longer is the Redis protocol."""
# By first byte: what a header stands for.
_LINES = frozenset(b"+-:_#,(")
_STRINGS = frozenset(b"$=!")
_ATTRIBUTE = ord("|")
_VALUES = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2, _ATTRIBUTE: 2}


class NotResp(ValueError):
    """These bytes are not the Redis protocol."""


@dataclass(frozen=True)
class Request:
    """One command as a client sent it."""

    raw: bytes

    @cached_property
    def words(self) -> tuple[bytes, ...]:
        """The command and its arguments; none for an empty line, which a server does not answer."""
        if not self.raw.startswith(b"*"):
            return tuple(self.raw.split())
        words: list[bytes] = []
        at = self.raw.index(_CRLF) + 2
        while at < len(self.raw):
            end = self.raw.index(_CRLF, at)
            first, length = end + 2, int(self.raw[at + 1 : end])
            words.append(self.raw[first : first + length])
            at = first + length + 2
        return tuple(words)


@dataclass(frozen=True)
class Reply:
    """One message as a server sent it."""

    raw: bytes

    @cached_property
    def first_word(self) -> bytes:
        """The first element of an array or a push that is a string, such as `message`; else nothing."""
        if self.raw[:1] not in {b"*", b">"}:
            return b""
        at = self.raw.index(_CRLF) + 2
        if self.raw[at : at + 1] == b"+":
            return self.raw[at + 1 : self.raw.index(_CRLF, at)]
        if self.raw[at : at + 1] != b"$":
            return b""
        end = self.raw.index(_CRLF, at)
        return self.raw[end + 2 : end + 2 + max(0, int(self.raw[at + 1 : end]))]

    @property
    def is_push(self) -> bool:
        """Whether it is of RESP3's own kind for what nobody asked for."""
        return self.raw.startswith(b">")

    @property
    def is_error(self) -> bool:
        """Whether it is a refusal."""
        return self.raw.startswith((b"-", b"!"))


class _Splitter:
    """Collects bytes, and cuts them where a message ends."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._begins = 0
        """Where the message that is being read begins."""
        self._at = 0
        """Up to where it has been read."""
        self._to_come = 1
        """Values until it is whole."""

    def _split(self, data: bytes) -> list[bytes]:
        self._data += data
        found: list[bytes] = []
        while self._at < len(self._data) and self._read_value():
            if self._to_come == 0:
                found.append(bytes(self._data[self._begins : self._at]))
                self._begins, self._to_come = self._at, 1
        del self._data[: self._begins]
        self._at -= self._begins
        self._begins = 0
        return found

    def take_rest(self) -> bytes:
        """What has come of a message that is not whole yet; it is forgotten here."""
        rest = bytes(self._data)
        self._data.clear()
        self._begins = self._at = 0
        self._to_come = 1
        return rest

    def _read_value(self) -> bool:
        """Read a header, with its string if it has one; False where it has not come whole."""
        end = self._end_of_line(_CRLF)
        if end is None:
            return False
        kind = self._data[self._at]
        if kind in _STRINGS:
            length = self._length(end)
            end += 2 + length if length >= 0 else 0
            if len(self._data) < end + 2:
                return False
            self._to_come -= 1
        elif kind in _VALUES:
            # An attribute stands before the value that it is about, and is none itself.
            self._to_come += max(0, self._length(end)) * _VALUES[kind] - (kind != _ATTRIBUTE)
        elif kind in _LINES:
            self._to_come -= 1
        else:
            msg = f"no value begins with {bytes([kind])!r}"
            raise NotResp(msg)
        self._at = end + 2
        return True

    def _end_of_line(self, mark: bytes) -> int | None:
        end = self._data.find(mark, self._at, self._at + _LINE_BYTES)
        if end >= 0:
            return end
        if len(self._data) - self._at >= _LINE_BYTES:
            msg = "a line that does not end"
            raise NotResp(msg)
        return None

    def _length(self, end: int) -> int:
        try:
            return int(self._data[self._at + 1 : end])
        except ValueError:
            msg = f"{bytes(self._data[self._at : end])[:40]!r} names no length"
            raise NotResp(msg) from None


class ReplySplitter(_Splitter):
    """For what a server sends, RESP2 and RESP3."""

    def feed(self, data: bytes) -> list[Reply]:
        """The messages that are whole now. NotResp where they cannot be any."""
        return [Reply(raw) for raw in self._split(data)]


class RequestSplitter(_Splitter):
    """For what a client sends: arrays of strings, or plain lines."""

    def feed(self, data: bytes) -> list[Request]:
        """The commands that are whole now. NotResp where they cannot be any."""
        return [Request(raw) for raw in self._split(data)]

    def _read_value(self) -> bool:
        if self._at != self._begins or self._data[self._at] == ord("*"):
            return super()._read_value()
        end = self._end_of_line(b"\n")  # a plain line may end with LF alone
        if end is not None:
            self._at, self._to_come = end + 1, 0
        return end is not None
