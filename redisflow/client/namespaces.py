"""Deleting a namespace, with all that is stored in it."""

from __future__ import annotations

from collections.abc import Callable

from redisflow.contract import Backend, ScanPlace

AT_ONCE = 200
"""Keys that one call deletes: what the server does of it at once takes about 0.1 ms."""
_LAST = "meta"


async def delete_namespace(backend: Backend, told: Callable[[int], object] = lambda _: None) -> int:
    """Delete every key of the namespace, a bounded piece at a time; returns how many there were.

    It can be called again where it was broken off: what says that there is a namespace goes last. Nobody may use the
    namespace meanwhile: what is written while it runs may stay. What runs have in a payload store is left there. All
    keys of the server are walked (SCAN); `told` is called with how many were deleted so far.
    """
    deleted = 0
    place: ScanPlace | None = ScanPlace()
    while place is not None:
        found, place = await backend.audit.scan(place)
        for partition, names in found.items():
            some = [name for name in names if name != _LAST]
            for first in range(0, len(some), AT_ONCE):
                deleted += await backend.audit.drop_keys(partition, some[first : first + AT_ONCE])
                told(deleted)
    for partition in reversed(range(backend.partitions)):
        deleted += await backend.audit.drop_keys(partition, [_LAST])
    told(deleted)
    return deleted
