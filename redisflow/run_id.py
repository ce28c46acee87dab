"""Run ids: a UUIDv7 that tells when a run was made, and in which partition it lives.

The hard thing is to be unique without asking anybody, in processes that fork: random bits are drawn from the system in
advance, 256 ids at a time, and a forked child throws away what its parent had left.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import time
import zlib

from redisflow.errors import InvalidName

MAX_PARTITIONS = 1 << 16

_DASHED = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-(7[0-9a-f]{3})-([89ab][0-9a-f]{3})-([0-9a-f]{12})")
_PLAIN = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")
_NS_PER_MS = 1_000_000
_SHOWN = 80

_pool: list[int] = []
_unpack_pool = struct.Struct("256Q").unpack
# Asking the system for 8 bytes at each call would take half of the time of making an id.
_POOL_BYTES = 256 * 8
os.register_at_fork(after_in_child=_pool.clear)


def new_run_id(partition: int) -> str:
    """Return a new id of 32 hexadecimal digits (RFC 9562, version 7), of which the last four are the partition.

    58 of its bits are random: two of a million ids made in the same millisecond collide once in 600,000 such bursts.
    """
    if not 0 <= partition < MAX_PARTITIONS:
        message = f"a partition is a number from 0 to {MAX_PARTITIONS - 1}, not {partition}"
        raise InvalidName(message)
    return _put_together(time.time_ns() // _NS_PER_MS, _random_64_bits(), partition)


def _put_together(at_ms: int, random: int, partition: int) -> str:
    # 48 bits of time, the version, 12 random bits; then the variant, 46 random bits, and the partition.
    high = at_ms << 16 | 0x7000 | random & 0xFFF
    low = 0x8000_0000_0000_0000 | random >> 18 << 16 | partition
    return f"{high << 64 | low:032x}"


def derived_run_id(seed: str, near: str, partition: int) -> str:
    """Return the id of a run that follows from another: the same for the same seed, and sorted beside `near`."""
    return _put_together(int(near[:12], 16), _bits_of(seed), partition)


def run_id_at(at_ms: int, key: str, partition: int) -> str:
    """Return the id of the run that starts because of `key` at this instant: the same wherever it is asked for."""
    return _put_together(at_ms, _bits_of(f"{at_ms} {key}"), partition)


def _bits_of(seed: str) -> int:
    return int.from_bytes(hashlib.sha256(seed.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def partition_of(run_id: str) -> int:
    """Return the partition in which a run lives."""
    try:
        return int(run_id[-4:], 16)
    except ValueError:
        raise _not_a_run_id(run_id) from None


def check_run_id(run_id: object) -> str:
    """Return the id in the form in which it is stored, from that form or the dashed one of a UUID, in either case."""
    if isinstance(run_id, str):
        text = run_id.lower()
        if _PLAIN.fullmatch(text) is not None:
            return text
        dashed = _DASHED.fullmatch(text)
        if dashed is not None:
            return "".join(dashed.groups())
    raise _not_a_run_id(run_id)


def partition_for_key(key: str, partitions: int) -> int:
    """Return the partition where runs of this key (idempotency, unique, limit) live; the same in every process."""
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % partitions


def _random_64_bits() -> int:
    while True:
        try:
            return _pool.pop()
        except IndexError:
            # Another thread may take all of these before this one looks again: hence the loop.
            _pool.extend(_unpack_pool(os.urandom(_POOL_BYTES)))


def _not_a_run_id(run_id: object) -> InvalidName:
    shown = repr(run_id)
    shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
    return InvalidName(f"{shown} is not a run id: that is a UUIDv7, 32 hexadecimal digits as `handle.id` gives it")
