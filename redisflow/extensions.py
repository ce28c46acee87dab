"""The types that msgpack has no form for, as bytes of their own: a number for the type, then its value.

The numbers and the layouts are in stored data, so they stay as they are for ever. The hard thing is time zones: a
ZoneInfo keeps its key, so that its rules go with the datetime; any other zone keeps the offset that it has then.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from redisflow.errors import CannotRecord

# 1 to 3 are tuple, set and frozenset (codec.py).
LEAF_CODES: Final[Mapping[type, int]] = MappingProxyType(
    {
        int: 4,
        bytearray: 5,
        complex: 6,
        Decimal: 7,
        UUID: 8,
        datetime: 9,
        date: 10,
        time: 11,
        timedelta: 12,
    }
)

_COMPLEX = struct.Struct(">dd")
_DATETIME = struct.Struct(">HBBBBBI")
_DATE = struct.Struct(">HBB")
_TIME = struct.Struct(">BBBI")
_TIMEDELTA = struct.Struct(">iII")
_OFFSET = struct.Struct(">q")
# Microseconds need 20 bits; the bit above them is the fold.
_FOLD_SHIFT = 20
_MICROSECONDS = (1 << _FOLD_SHIFT) - 1
_US = timedelta(microseconds=1)


def _write_int(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _read_int(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _write_complex(value: complex) -> bytes:
    return _COMPLEX.pack(value.real, value.imag)


def _read_complex(data: bytes) -> complex:
    return complex(*_COMPLEX.unpack(data))


def _write_decimal(value: Decimal) -> bytes:
    return str(value).encode("ascii")


def _read_decimal(data: bytes) -> Decimal:
    return Decimal(data.decode("ascii"))


def _write_uuid(value: UUID) -> bytes:
    return value.bytes


def _read_uuid(data: bytes) -> UUID:
    return UUID(bytes=data)


def _write_datetime(value: datetime) -> bytes:
    low = value.microsecond | value.fold << _FOLD_SHIFT
    head = _DATETIME.pack(value.year, value.month, value.day, value.hour, value.minute, value.second, low)
    return head + _write_zone(value.tzinfo, value.utcoffset())


def _read_datetime(data: bytes) -> datetime:
    year, month, day, hour, minute, second, low = _DATETIME.unpack(data[: _DATETIME.size])
    zone = _read_zone(data[_DATETIME.size :])
    return datetime(year, month, day, hour, minute, second, low & _MICROSECONDS, zone, fold=low >> _FOLD_SHIFT)


def _write_date(value: date) -> bytes:
    return _DATE.pack(value.year, value.month, value.day)


def _read_date(data: bytes) -> date:
    return date(*_DATE.unpack(data))


def _write_time(value: time) -> bytes:
    low = value.microsecond | value.fold << _FOLD_SHIFT
    return _TIME.pack(value.hour, value.minute, value.second, low) + _write_zone(value.tzinfo, value.utcoffset())


def _read_time(data: bytes) -> time:
    hour, minute, second, low = _TIME.unpack(data[: _TIME.size])
    return time(hour, minute, second, low & _MICROSECONDS, _read_zone(data[_TIME.size :]), fold=low >> _FOLD_SHIFT)


def _write_timedelta(value: timedelta) -> bytes:
    return _TIMEDELTA.pack(value.days, value.seconds, value.microseconds)


def _read_timedelta(data: bytes) -> timedelta:
    days, seconds, microseconds = _TIMEDELTA.unpack(data)
    return timedelta(days=days, seconds=seconds, microseconds=microseconds)


def _write_zone(zone: tzinfo | None, offset: timedelta | None) -> bytes:
    """Nothing for a naive value, `u` for UTC, `z` and the key of a ZoneInfo, `o` and an offset with its name if any."""
    if zone is None:
        return b""
    # Most often the zone is this very object.
    if zone is timezone.utc:  # noqa: UP017 - the class is needed here as well
        return b"u"
    if isinstance(zone, ZoneInfo) and zone.key:
        return b"z" + zone.key.encode()
    if offset is None:
        message = f"a time whose zone ({type(zone).__qualname__}) gives no offset cannot be recorded: use a ZoneInfo"
        raise CannotRecord(message)
    name = zone.tzname(None) if type(zone) is timezone else None
    named = name is not None and name != timezone(offset).tzname(None)
    return b"o" + _OFFSET.pack(offset // _US) + (name.encode() if named and name else b"")


def _read_zone(data: bytes) -> tzinfo | None:
    mark, rest = data[:1], data[1:]
    if not data:
        return None
    if mark == b"u" and not rest:
        return timezone.utc  # noqa: UP017 - the class is needed here as well
    if mark == b"z":
        return ZoneInfo(rest.decode())
    if mark == b"o":
        offset = timedelta(microseconds=_OFFSET.unpack(rest[: _OFFSET.size])[0])
        name = rest[_OFFSET.size :].decode()
        return timezone(offset, name) if name else timezone(offset)
    message = f"unknown form of a time zone: {mark!r}"
    raise ValueError(message)


LEAF_WRITERS: Final[Mapping[type, Callable[[Any], bytes]]] = MappingProxyType(
    {
        int: _write_int,
        bytearray: bytes,
        complex: _write_complex,
        Decimal: _write_decimal,
        UUID: _write_uuid,
        datetime: _write_datetime,
        date: _write_date,
        time: _write_time,
        timedelta: _write_timedelta,
    }
)

LEAF_READERS: Final[Mapping[int, Callable[[bytes], Any]]] = MappingProxyType(
    {
        LEAF_CODES[int]: _read_int,
        LEAF_CODES[bytearray]: bytearray,
        LEAF_CODES[complex]: _read_complex,
        LEAF_CODES[Decimal]: _read_decimal,
        LEAF_CODES[UUID]: _read_uuid,
        LEAF_CODES[datetime]: _read_datetime,
        LEAF_CODES[date]: _read_date,
        LEAF_CODES[time]: _read_time,
        LEAF_CODES[timedelta]: _read_timedelta,
    }
)
