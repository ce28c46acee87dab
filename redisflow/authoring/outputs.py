"""What a run says to the outside while it goes on: events, and a small state; encoded where they are said.

Both go the same way from workflow code and from the bodies of steps; who says it decides how often it is said.
"""

from __future__ import annotations

from typing import Any, Protocol

from redisflow.errors import InvalidName
from redisflow.names import AUDIT, check_text
from redisflow.payload import PayloadType
from redisflow.size_limit import check_size

OUTPUT_LIMIT = 64 * 1024
"""Bytes of an event's data, or of a value of the state."""


class OutputPort(Protocol):
    """Where what is said goes."""

    def emit(self, kind: str, data: bytes) -> None:
        """An event."""
        ...

    def set_state(self, key: str, data: bytes) -> None:
        """A value of the state."""
        ...


def emit(port: OutputPort, kind: str, data: Any) -> None:
    """Say an event. InvalidName, CannotRecord or PayloadTooLarge where it cannot be stored."""
    if check_text("event", kind) == AUDIT:
        msg = f"events of kind {AUDIT!r} say what people did to a run (`flow.note`): name it otherwise"
        raise InvalidName(msg)
    port.emit(kind, _encode(data, f"the data of an event of kind {kind!r}"))


def set_state(port: OutputPort, key: str, value: Any) -> None:
    """Set a value of the state; the same errors."""
    check_text("state", key)
    port.set_state(key, _encode(value, f"the value of {key!r} in the state"))


def _encode(value: Any, what: str) -> bytes:
    # A model, a dataclass or an enum says by its class how it is stored; for plain data that costs nothing.
    data = PayloadType.of(type(value)).encode(value) if type(value).__module__ != "builtins" else _PLAIN.encode(value)
    check_size(data, OUTPUT_LIMIT, what)
    return data


_PLAIN: PayloadType[Any] = PayloadType.of(None)
