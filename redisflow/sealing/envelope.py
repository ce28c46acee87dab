"""The form in which sealed payloads are stored, told from plain ones by their first bytes.

    c1 52 46 | version 01 | flags | [key id: length, text] | [what shares it: length, text] | body

No plain payload and no plain record begins so: c1 is the one byte that msgpack never uses, and in a record it would be
the length of a header, which begins with 97. All up to the body is authenticated with it where it is encrypted. Where
it stands in a store, the body is its size and its SHA-256, and what is stored is the envelope without that flag.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Self

from redisflow.codec import SEALED_MARK
from redisflow.errors import CannotUnseal

VERSION = 1
COMPRESSED, ENCRYPTED, STORED, SHARED = 1, 2, 4, 8
_KNOWN = COMPRESSED | ENCRYPTED | STORED | SHARED
_HEAD = len(SEALED_MARK) + 2


def is_sealed(data: bytes) -> bool:
    """Whether these bytes are an envelope; if not, they are plain."""
    return data.startswith(SEALED_MARK)


def is_stored(data: bytes) -> bool:
    """Whether this envelope says where its payload is, and does not hold it."""
    return data.startswith(SEALED_MARK) and len(data) >= _HEAD and bool(data[_HEAD - 1] & STORED)


def header_of(flags: int, *texts: str) -> bytes:
    """What stands before the body."""
    head = SEALED_MARK + bytes((VERSION, flags))
    return head + b"".join(bytes((len(text),)) + text.encode() for text in texts)


@dataclass(frozen=True, slots=True)
class Envelope:
    """An envelope, taken apart and not yet opened."""

    flags: int
    key_id: str | None
    shared: str | None
    """What it is sealed for instead of one run."""
    header: bytes
    body: bytes

    @classmethod
    def parse(cls, data: bytes, where: str) -> Self:
        """Take it apart; CannotUnseal, which says `where`, where this version cannot."""
        if len(data) < _HEAD:
            raise _cut(where)
        version, flags = data[_HEAD - 2], data[_HEAD - 1]
        if version != VERSION or flags & ~_KNOWN:
            msg = (
                f"{where} is sealed in a form that this redisflow does not know (version {version}, flags {flags}):"
                " upgrade it here"
            )
            raise CannotUnseal(msg)
        end = _HEAD
        key_id = shared = None
        if flags & ENCRYPTED:
            key_id, end = _text_at(data, end, where)
        if flags & SHARED:
            shared, end = _text_at(data, end, where)
        return cls(flags, key_id, shared, data[:end], data[end:])


def _text_at(data: bytes, at: int, where: str) -> tuple[str, int]:
    end = at + 1 + (data[at] if len(data) > at else 0)
    if len(data) < end or end == at + 1:
        raise _cut(where)
    return data[at + 1 : end].decode("ascii", "backslashreplace"), end


_REFERENCE = struct.Struct(">Q32s")


@dataclass(frozen=True, slots=True)
class Reference:
    """Which object of its run's a payload is: named by the SHA-256 of what it holds."""

    size: int
    digest: bytes

    @property
    def name(self) -> str:
        """Of the object."""
        return self.digest.hex()

    @classmethod
    def to(cls, data: bytes) -> Self:
        """The object that holds this."""
        return cls(len(data), hashlib.sha256(data).digest())

    def to_bytes(self) -> bytes:
        """The envelope that stands for it."""
        return header_of(STORED) + _REFERENCE.pack(self.size, self.digest)

    @classmethod
    def of(cls, envelope: Envelope, where: str) -> Self:
        """What such an envelope says."""
        if len(envelope.body) != _REFERENCE.size:
            raise _cut(where)
        return cls(*_REFERENCE.unpack(envelope.body))

    def check(self, data: bytes, where: str) -> None:
        """CannotUnseal where the store gave something else than was put into it."""
        if self.to(data) != self:
            msg = f"{where}: the store does not hold what was put there (object {self.name})"
            raise CannotUnseal(msg)


def _cut(where: str) -> CannotUnseal:
    return CannotUnseal(f"{where} is damaged: its envelope is cut short")
