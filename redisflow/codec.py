"""Values as bytes: what was encoded comes back with the same value and the same types, or was refused.

msgpack holds None, bool, float, str, bytes, list, dict and integers of 64 bits; other types travel as its extensions
(`extensions.py`). The hard thing is what msgpack would change without a word: a bytearray becomes bytes, a subclass its
base, deep or cyclic data an overflow of the C stack. All of it is refused or handled here, at the price of one scan of
the bytes, and only where that scan finds something is the value itself walked.
"""

from __future__ import annotations

import inspect
import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import is_dataclass
from enum import Enum
from functools import partial
from typing import Any, Final, TypeAlias, cast

import msgpack

from redisflow.errors import CannotDecode, CannotRecord
from redisflow.extensions import LEAF_CODES, LEAF_READERS, LEAF_WRITERS

MAX_DEPTH: Final = 64
MAX_ITEMS: Final = 1_000_000

SEALED_MARK: Final = b"\xc1RF"
"""The first bytes of what was sealed after it was encoded (redisflow.sealing): msgpack never uses c1."""

Lower: TypeAlias = Callable[[object], object]
"""Turns a value that has no exact form into one that has; raises CannotRecord, TypeError or ValueError if it cannot."""

_Hook: TypeAlias = Callable[[object], Any]

# Extension numbers of containers; those of leaves stand in extensions.py. They are in stored data: never reuse one.
_TUPLE, _SET, _FROZENSET = 1, 2, 3

_NATIVE: Final[frozenset[type]] = frozenset({type(None), bool, int, float, str, bytes, list, dict})
_CONTAINERS: Final[frozenset[type]] = frozenset({list, dict, tuple, set, frozenset})
_FLAT: Final[frozenset[type]] = _NATIVE - _CONTAINERS

# In msgpack, bytes 80-9f and dc-df open a list or a dict. Text has such bytes too, so what a scan finds is a suspicion;
# what it does not find is not there.
_NOT_CONTAINERS: Final = bytes(b for b in range(256) if not (0x80 <= b <= 0x9F or 0xDC <= b <= 0xDF))
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 64) - 1
_ENCODE_ERRORS = (TypeError, ValueError, ArithmeticError, AttributeError, RecursionError)
_DECODE_ERRORS = (ValueError, TypeError, ArithmeticError, LookupError, OSError, RecursionError, struct.error)

# A small buffer: the default of 256 KiB costs 1 us a call, and a packer kept for reuse would keep its largest size.
_BUFFER_BYTES = 256
_SHARED_FROM = 4096
_SHOWN = 40

_msgpack = cast("Any", msgpack)  # published without types
_plain_packer = _msgpack.Packer(strict_types=True, buf_size=_BUFFER_BYTES)


def encode(value: object, *, lower: Lower | None = None) -> bytes:
    """Return the bytes of a value; raise CannotRecord, which says where and what to write, if it has no exact form.

    Exact forms have None, bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, UUID,
    datetime, date, time, timedelta and Decimal (a time zone that is neither a ZoneInfo nor a fixed offset becomes the
    latter). `lower` is asked for all other values. Equal sets give equal bytes. Nesting ends at 64.
    """
    hook = _encode_extension if lower is None else _Lowering(lower)
    try:
        data = _encode_whole(value, hook)
    except _ENCODE_ERRORS as error:
        raise _refusal(value, hook, error) from error
    if (len(data) > MAX_ITEMS or _may_be_deep(data)) and (reason := _bad_shape(value)) is not None:
        raise CannotRecord(reason)
    return data


def encode_plain(fields: list[str | int | None]) -> bytes:
    """As `encode`, for short lists of our own that need no look at what is in them: one is made for each step."""
    data: bytes = _plain_packer.pack(fields)
    return data


def decode(data: bytes) -> Any:
    """Return the value whose bytes these are; raise CannotDecode for any others, however they are made."""
    try:
        value = _unpack(data)
    except _DECODE_ERRORS as error:
        why = explain_sealed(data) or f"{len(data)} bytes are not a recorded value: {type(error).__name__}: {error}"
        raise CannotDecode(why) from error
    if _may_be_deep(data) and (reason := _bad_shape(value)) is not None:
        raise CannotDecode(reason)
    return value


def explain_sealed(data: bytes) -> str | None:
    """Why these bytes cannot be read, where they are sealed; None where they are not."""
    if not data.startswith(SEALED_MARK):
        return None
    return (
        "it is sealed (compressed, encrypted or in a store), and this flow is not told how to open it: give it the "
        "same RedisFlow(payloads=...) as those who write"
    )


def _encode_whole(value: object, hook: _Hook) -> bytes:
    data = _pack(value, hook)
    # msgpack packs a bytearray or a memoryview as bytes (c4-c6) without asking: walk the values that may hold one.
    if (0xC4 in data or 0xC5 in data or 0xC6 in data) and _holds_mutable_bytes(value):
        return _pack(_wrap_mutable_bytes(value), hook)
    return data


def _pack(value: object, hook: _Hook) -> bytes:
    data: bytes = _msgpack.Packer(strict_types=True, default=hook, buf_size=_BUFFER_BYTES).pack(value)
    return data


def _unpack(data: bytes, depth: int = 0) -> Any:
    most = min(MAX_ITEMS, len(data))
    return _msgpack.unpackb(
        data,
        ext_hook=_EXTENSION_HOOKS[depth],
        strict_map_key=False,
        max_array_len=most,
        max_map_len=most,
        # This project writes no msgpack timestamps; as datetimes they are at least of a type that it knows.
        timestamp=3,
    )


def _encode_extension(value: object) -> Any:
    """Encode what msgpack itself does not hold (its `default` hook)."""
    kind = type(value)
    writer = LEAF_WRITERS.get(kind)
    if writer is not None:
        return _msgpack.ExtType(LEAF_CODES[kind], writer(value))
    if kind in _CONTAINERS:
        return _encode_container(kind, cast("Collection[object]", value), _encode_extension)
    raise CannotRecord(_advice(value))


class _Lowering:
    """The same hook for values whose annotation restores what `lower` takes away."""

    __slots__ = ("_lower",)

    def __init__(self, lower: Lower) -> None:
        self._lower = lower

    def __call__(self, value: object) -> Any:
        for _ in range(MAX_DEPTH):
            kind = type(value)
            if kind in LEAF_WRITERS:
                return _encode_extension(value)
            if kind in _CONTAINERS:
                return _encode_container(kind, cast("Collection[object]", value), self)
            value = self._lower(value)
            if type(value) is int:
                # What msgpack cannot hold must leave here as an extension: it does not ask twice.
                return value if _INT_MIN <= value <= _INT_MAX else _encode_extension(value)
            if type(value) in _NATIVE:
                return value
        raise CannotRecord(_advice(value))


def _encode_container(kind: type, value: Collection[object], hook: _Hook) -> Any:
    # Each container nests a packer inside a packer: its depth is looked at before, or a cycle would end the process.
    if not _FLAT.issuperset(map(type, value)) and (reason := _bad_shape(value)) is not None:
        raise CannotRecord(reason)
    if kind is tuple:
        return _msgpack.ExtType(_TUPLE, _pack(list(value), hook))
    members = sorted(_pack(member, hook) for member in value)
    header: bytes = _msgpack.Packer(buf_size=_BUFFER_BYTES).pack_array_header(len(members))
    return _msgpack.ExtType(_SET if kind is set else _FROZENSET, header + b"".join(members))


def _decode_extension(depth: int, code: int, data: bytes) -> Any:
    if code == _TUPLE:
        return tuple(_members(data, depth))
    if code == _SET:
        return set(_members(data, depth))
    if code == _FROZENSET:
        return frozenset(_members(data, depth))
    reader = LEAF_READERS.get(code)
    if reader is None:
        message = f"extension {code} is unknown: it was written by a later version"
        raise ValueError(message)
    return reader(data)


# Each of these containers is read by an unpacker inside an unpacker, on the stack of C and with a copy of its bytes:
# counted while they are read, or bytes that open a million of them would end the process.
_EXTENSION_HOOKS: Final = tuple(partial(_decode_extension, depth) for depth in range(MAX_DEPTH + 1))


def _members(data: bytes, depth: int) -> list[Any]:
    if depth == MAX_DEPTH:
        message = f"tuples and sets are nested more than {MAX_DEPTH} levels deep"
        raise ValueError(message)
    members: list[Any] = _unpack(data, depth + 1)
    kind: type[object] = type(members)
    if kind is not list:
        message = "the extension of a tuple or a set holds no list"
        raise ValueError(message)
    return members


def _may_be_deep(data: bytes) -> bool:
    return len(data) > MAX_DEPTH and len(data.translate(None, _NOT_CONTAINERS)) > MAX_DEPTH


def _bad_shape(value: object) -> str | None:
    """Say what is wrong with the shape of a value, level by level: so it ends for a cyclic one as well."""
    level = [cast("Collection[object]", value)] if type(value) in _CONTAINERS else []
    for _ in range(MAX_DEPTH):
        if not level:
            return None
        below: list[Collection[object]] = []
        for container in level:
            if len(container) > MAX_ITEMS:
                return f"a {type(container).__name__} of {len(container)} items is over the limit of {MAX_ITEMS}"
            # Of a dict these are its keys.
            below += _containers_in(container)
            if type(container) is dict:
                below += _containers_in(_values(cast("Any", container)))
        # An object in many places is looked into once a level, or shared ones would double with each.
        level = below if len(below) < _SHARED_FROM else list({id(inner): inner for inner in below}.values())
    if not level:
        return None
    return f"the value is nested more than {MAX_DEPTH} levels deep, or contains itself: record a flatter one"


def _containers_in(items: Collection[object]) -> list[Any]:
    return [item for item in items if type(item) in _CONTAINERS]


def _values(container: Collection[object]) -> Collection[object]:
    return cast("dict[object, object]", container).values()


def _holds_mutable_bytes(value: object) -> bool:
    seen: set[int] = set()
    todo = [value]
    while todo:
        item = todo.pop()
        kind = type(item)
        if kind is bytearray or kind is memoryview:
            return True
        if kind in _CONTAINERS and id(item) not in seen:
            seen.add(id(item))
            container = cast("Collection[object]", item)
            todo.extend(container)
            if kind is dict:
                todo.extend(_values(container))
    return False


def _wrap_mutable_bytes(value: object) -> object:
    kind: Any = type(value)
    if kind is bytearray:
        return _msgpack.ExtType(LEAF_CODES[bytearray], bytes(cast("bytearray", value)))
    if kind is memoryview:
        raise CannotRecord(_advice(value))
    if kind is dict:
        items = cast("dict[object, object]", value).items()
        return {_wrap_mutable_bytes(key): _wrap_mutable_bytes(item) for key, item in items}
    return kind(map(_wrap_mutable_bytes, cast("Collection[object]", value))) if kind in _CONTAINERS else value


def _refusal(value: object, hook: _Hook, error: Exception) -> CannotRecord:
    """Find the innermost part that cannot be encoded alone, and say what is wrong with it."""
    if (reason := _bad_shape(value)) is not None:
        return CannotRecord(reason)
    path = ""
    while (found := _first_failure(value, hook)) is not None:
        step, value, error = found
        path += step
    if isinstance(error, CannotRecord):
        reason = str(error)
    elif isinstance(error, UnicodeEncodeError):
        reason = "text with lone surrogates cannot be recorded: decode it with errors='replace', or record its bytes"
    else:
        reason = f"{_advice(value)} ({type(error).__name__}: {error})"
    return CannotRecord(f"at ${path}: {reason}" if path else reason)


def _first_failure(value: object, hook: _Hook) -> tuple[str, object, Exception] | None:
    for step, part in _parts(value):
        try:
            _encode_whole(part, hook)
        except _ENCODE_ERRORS as error:
            return step, part, error
    return None


def _parts(value: object) -> Iterator[tuple[str, object]]:
    kind = type(value)
    if kind is dict:
        for key, item in cast("dict[object, object]", value).items():
            shown = ascii(key)[:_SHOWN] if type(key) in _FLAT else f"<{type(key).__name__}>"
            yield f"[key {shown}]", key
            yield (f".{key}" if type(key) is str and key.isidentifier() else f"[{shown}]"), item
    elif kind in _CONTAINERS:
        for index, item in enumerate(cast("Collection[object]", value)):
            yield (f"[{index}]" if kind is list or kind is tuple else "{...}"), item


def _advice(value: object) -> str:
    """Say what a value is, and what to write instead."""
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    base = next((b for b in kind.__mro__[1:] if b in _NATIVE or b in _CONTAINERS or b in LEAF_CODES), None)
    if inspect.isawaitable(value):
        advice = "it has not been awaited"
    elif isinstance(value, Enum) or is_dataclass(value) or hasattr(kind, "model_fields") or hasattr(kind, "_fields"):
        short = kind.__name__
        advice = (
            "without an annotation it would come back as plain data: annotate the function that returns it "
            f"(`-> {short}`) or takes it (`value: {short}`)"
        )
    elif base is not None:
        advice = f"it would come back as a plain {base.__name__}: convert it, or annotate the function with its type"
    elif isinstance(value, (memoryview, Iterator)):
        advice = f"make it {'bytes' if isinstance(value, memoryview) else 'a list'} first"
    else:
        advice = "record its parts, or a pydantic model or dataclass that holds them and that an annotation names"
    return f"a value of type {name} cannot be recorded: {advice}"
