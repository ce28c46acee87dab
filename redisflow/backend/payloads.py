"""What runs have in a store of large payloads, and how it goes with them.

The store knows nothing of Redis, so what is left of a run there is found from the other side: each run that has
objects is looked for in Redis. The hard thing is a run that is just being started: its input is written before the run
is. That its id is old does not tell: a child's has the time of its parent, a scheduled run's that of its tick. So what
is not there is looked for once more, when whoever was starting it has given up or is done.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from redisflow.errors import InvalidName
from redisflow.run_id import check_run_id, partition_of

if TYPE_CHECKING:
    from redisflow.backend.transport import Transport
    from redisflow.contract import PayloadCalls
    from redisflow.sealing import Stored

SWEPT_AT_MOST = 10_000
"""Runs in one sweep, by which its memory is bounded."""
_UNSAFE = re.compile("[^a-z0-9._-]")


class NothingStored:
    """Of a namespace without a store."""

    in_use = False

    async def delete_run_payloads(self, run_id: str) -> None:
        """Nothing."""

    async def sweep_payloads(self, older_than_ms: int, again_after_ms: int) -> int:  # noqa: ARG002  # as in the contract
        """Nothing."""
        return 0


NOTHING_STORED: Final[PayloadCalls] = NothingStored()


class StoredPayloads:
    """Of a namespace with a store."""

    in_use = True

    def __init__(self, stored: Stored, transport: Transport, prefixes: Sequence[str]) -> None:
        """`prefixes` are those of the partitions."""
        self._stored = stored
        self._transport = transport
        self._prefixes = prefixes

    async def delete_run_payloads(self, run_id: str) -> None:
        """Delete all that a run has in the store. Safe to repeat."""
        # A store takes it for a folder: whatever else a listing in Redis names is not to be one.
        if _is_run_id(run_id):
            await self._stored.delete_run(run_id)

    async def sweep_payloads(self, older_than_ms: int, again_after_ms: int) -> int:
        """Delete what belongs to no run; returns of how many runs that was."""
        suspects = await self._suspects(time.time_ns() // 1_000_000 - older_than_ms)
        if not suspects:
            return 0
        await asyncio.sleep(again_after_ms / 1000)
        swept = 0
        for run_id in suspects:
            # Each right before it goes: between the look and the deletion there is time for nothing else.
            if not await self._exists(run_id):
                await self._stored.delete_run(run_id)
                swept += 1
        return swept

    async def _suspects(self, before_ms: int) -> list[str]:
        """Runs that have objects, and are not in Redis now."""
        suspects: list[str] = []
        async for page in self._stored.list_runs():
            suspects += await self._unknown([run_id for run_id in page if _made_before(run_id, before_ms)])
            if len(suspects) >= SWEPT_AT_MOST:
                break
        return suspects[:SWEPT_AT_MOST]

    async def _unknown(self, run_ids: Sequence[str]) -> list[str]:
        found = await asyncio.gather(*(self._exists(run_id) for run_id in run_ids))
        return [run_id for run_id, exists in zip(run_ids, found, strict=True) if not exists]

    async def _exists(self, run_id: str) -> bool:
        partition = partition_of(run_id)
        if partition >= len(self._prefixes):
            return True  # not ours to judge
        prefix = self._prefixes[partition]
        return bool(await self._transport.send(prefix, ("EXISTS", f"{prefix}run:{run_id}")))


def _made_before(run_id: str, ms: int) -> bool:
    return _is_run_id(run_id) and int(run_id[:12], 16) < ms


def _is_run_id(run_id: str) -> bool:
    try:
        return check_run_id(run_id) == run_id
    except InvalidName:
        return False  # whatever it is, it is not ours


def folder_of(namespace: str, name: str) -> str:
    """Where a namespace's objects are; two namespaces never share one, also where case is not told apart."""
    readable = _UNSAFE.sub(lambda found: f"%{ord(found[0]):02x}", namespace)
    return f"{readable}-{name}"
