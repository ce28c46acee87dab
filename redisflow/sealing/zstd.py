"""Compression with zstd, and its bounded opposite.

A few kilobytes can unfold into gigabytes, so what is unfolded says first how large it will be: that is checked before
anything is made of it, and what turns out to be another size is refused. Memory is bounded by the limit, not by the
data.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from typing import Any

from redisflow.errors import CannotUnseal
from redisflow.sealing.extras import load
from redisflow.sealing.sizes import Size, to_bytes

_SIZE = struct.Struct(">Q")
_LEVELS = range(1, 20)
_WINDOW_LOG = range(10, 31)


@dataclass(frozen=True, slots=True, kw_only=True)
class Zstd:
    """Compress what is larger than `above`, at this level (1 fast to 19 small). Kept only where it makes it smaller."""

    level: int = 3
    above: Size = "1KB"

    def __post_init__(self) -> None:
        """Refuse a level that there is not."""
        if self.level not in _LEVELS:
            msg = f"the level of Zstd is a whole number from {_LEVELS.start} to {_LEVELS.stop - 1}, not {self.level!r}"
            raise ValueError(msg)
        to_bytes(self.above, what="the size above which Zstd compresses")


def _library() -> Any:
    if sys.version_info >= (3, 14):
        return load("compression.zstd", extra="zstd", use="compression")
    return load("backports.zstd", extra="zstd", use="compression")


class Compressor:
    """Compresses as one `Zstd` says, or not at all; decompresses whatever was compressed."""

    def __init__(self, options: Zstd | None, limit: int) -> None:
        """`limit` is the largest size that is ever unfolded. MissingExtra where it is to compress and cannot."""
        self._above = None if options is None else to_bytes(options.above, what="above")
        self._level = 0 if options is None else options.level
        self._limit = limit
        self._zstd: Any = None if options is None else _library()

    def compress(self, data: bytes) -> bytes | None:
        """The compressed form; None where it is not worth it."""
        if self._above is None or len(data) <= self._above:
            return None
        packed = _SIZE.pack(len(data)) + self._zstd.compress(data, self._level)
        return packed if len(packed) < len(data) else None

    def decompress(self, packed: bytes, where: str) -> bytes:
        """What was compressed; CannotUnseal, which says `where`, where it is none, or over the limit."""
        if len(packed) < _SIZE.size:
            msg = f"{where} is damaged: its compressed form is cut short"
            raise CannotUnseal(msg)
        (size,) = _SIZE.unpack_from(packed)
        if size > self._limit:
            msg = f"{where} says that it unfolds to {size:,} bytes, over the limit of {self._limit:,}: it is not opened"
            raise CannotUnseal(msg)
        if self._zstd is None:
            self._zstd = _library()
        zstd = self._zstd
        # A frame may ask for a window of its own, far larger than what it holds.
        window_log = min(max(self._limit.bit_length(), _WINDOW_LOG.start), _WINDOW_LOG.stop - 1)
        options = {zstd.DecompressionParameter.window_log_max: window_log}
        inflater = zstd.ZstdDecompressor(options=options)
        try:
            # One byte more than there should be: what is longer is found out, and no more of it is unfolded.
            data: bytes = inflater.decompress(packed[_SIZE.size :], max_length=size + 1)
        except zstd.ZstdError as error:
            msg = f"{where} is damaged: it cannot be decompressed"
            raise CannotUnseal(msg) from error
        if not inflater.eof or len(data) != size or inflater.unused_data:
            msg = f"{where} is damaged: it does not unfold to the {size:,} bytes that it promises"
            raise CannotUnseal(msg)
        return data
