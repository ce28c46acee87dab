"""Sizes as people write them: bytes, or text such as "1KB" and "64 MiB"."""

from __future__ import annotations

import re
from typing import TypeAlias

Size: TypeAlias = int | str
"""Bytes, or text: "500 B", "64KB" (of 1,000), "1MiB" (of 1,024)."""

_TEXT = re.compile(r"(\d+) ?(B|kB|KB|MB|GB|KiB|MiB|GiB)")
_UNITS = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
}


def to_bytes(size: Size, *, what: str) -> int:
    """The number of bytes; ValueError, which names `what`, where it is none."""
    if isinstance(size, str) and (match := _TEXT.fullmatch(size.strip())) is not None:
        return int(match[1]) * _UNITS[match[2]]
    if isinstance(size, int) and not isinstance(size, bool) and size >= 0:
        return size
    msg = f"{what} is a number of bytes or text such as '64KB' or '1MiB', not {size!r}"
    raise ValueError(msg)
