"""What arrives in a run's mailbox: signals, the ends of its child runs, the replies of `step.redis`.

An item is opaque to the scripts but for its address, by which a parked run says what it waits for. Its header is text,
one line for each part, and the payload follows as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from redisflow.errors import CannotDecode

MailKind = Literal["signal", "child", "redis"]

ANY_CHILD = "c"
"""The address of every child's end: a parent that waits for thousands need not list them."""


@dataclass(frozen=True, slots=True)
class Mail:
    """One item; `number` is its place in the order in which mail came to this run."""

    number: int
    kind: MailKind
    name: str
    """Of a signal its name, of a child's end the child's run id, of a reply the key that made it once."""
    status: str
    """How a child, or a script, ended: succeeded, failed, canceled; empty for a signal."""
    cause: str
    """Of a child's end from outside: deadline, poisoned, canceled, ...; else empty."""
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferedNames:
    """Signals that a run was sent and has not taken, without their data."""

    run_id: str
    names: Mapping[str, int]
    """By name, how many of it there are, in the order in which the first of each came."""
    unread: int
    """Items that were not looked at: there are too many, here or in the other mailboxes, or they are too large."""


def signal_address(name: str) -> str:
    """How a run says that it waits for this signal."""
    return f"s:{name}"


def hash_signal_name(name: str) -> str:
    """The name of a signal where it is part of a key: those who wait for it, what is kept of it."""
    return hashlib.sha256(f"signal\0{name}".encode()).hexdigest()[:32]


def child_address(run_id: str) -> str:
    """By which the call that started a child finds its end."""
    return f"c:{run_id}"


def reply_address(once: str) -> str:
    """By which a `step.redis` finds what came of its script."""
    return f"r:{once}"


def address_of(mail: Mail) -> str:
    """By which a call finds it."""
    return _ADDRESSES[mail.kind](mail.name)


_ADDRESSES = {"signal": signal_address, "child": child_address, "redis": reply_address}


def encode_signal(name: str, payload: bytes) -> bytes:
    """As it lies in the mailbox."""
    return b"s\n" + name.encode() + b"\n" + payload


def decode_mail(number: int, item: bytes) -> Mail:
    """Read an item; CannotDecode where it is none (of a later version, or damaged)."""
    kind, _, rest = item.partition(b"\n")
    try:
        if kind == b"s":
            name, line, payload = rest.partition(b"\n")
            if line:
                return Mail(number, "signal", name.decode(), "", "", payload)
        if kind == b"r":
            once, status, payload = rest.split(b"\n", 2)
            return Mail(number, "redis", once.decode(), status.decode(), "", payload)
        if kind == b"c":
            child, status, cause, payload = rest.split(b"\n", 3)
            return Mail(number, "child", child.decode(), status.decode(), cause.decode(), payload)
    except ValueError:
        pass
    msg = f"mail number {number} of this run cannot be read: it is damaged, or of a later version ({len(item)} bytes)"
    raise CannotDecode(msg)
