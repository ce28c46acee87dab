"""What workers do for the whole namespace: turns, due runs, expired leases, lost hints, dead consumers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redisflow.backend import replies
from redisflow.contract import Upkeep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport
    from redisflow.backend.wire import Command

# Entries or runs that one script call looks at: below 5 ms of the server's time.
_STEP = 100


class UpkeepCalls:
    """One object per backend; it keeps its place in the listings between two steps of reconciling."""

    def __init__(self, transport: Transport, scripts: Scripts, prefixes: Sequence[str]) -> None:
        """All that it needs to call."""
        self._transport = transport
        self._scripts = scripts
        self._prefixes = prefixes
        self._places: dict[int, tuple[list[bytes], int]] = {}
        """By partition: the workflows that are left, and the rank in the first one's listing."""

    async def _ask(self, prefix: str, command: Command) -> list[Any]:
        return replies.expect_ok(await self._transport.send(prefix, command))

    async def leave(self, worker: str, queues: Sequence[str]) -> None:
        """The worker stops."""
        for prefix in self._prefixes:
            await self._ask(prefix, self._scripts.leave_worker.call(prefix, queues, worker=worker))

    async def take_turn(self, partition: int, chore: str, worker: str, ms: int) -> bool:
        """Whether this worker has the turn."""
        prefix = self._prefixes[partition]
        reply = await self._transport.send(
            prefix, self._scripts.take_turn.call(prefix, chore=chore, worker=worker, ms=ms)
        )
        return bool(reply[0] == b"yes")

    async def wake_runs(self, partition: int, limit: int) -> tuple[int, int | None]:
        """Bring due runs back."""
        prefix = self._prefixes[partition]
        return replies.woken(await self._transport.send(prefix, self._scripts.wake_runs.call(prefix, limit=limit)))

    async def wake_stuck(self, workflow: str) -> int:
        """Offer what waited for code again, in every partition, to the end."""
        total = 0
        for prefix in self._prefixes:
            until_ms: int | str = ""
            woken = _STEP
            while woken == _STEP:
                command = self._scripts.wake_stuck.call(prefix, workflow=workflow, limit=_STEP, until_ms=until_ms)
                woken, until_ms = await self._ask(prefix, command)
                total += woken
        return total

    async def reclaim_runs(self, partition: int, queue: str, lease_ms: int, crash_limit: int) -> Upkeep:
        """One bounded step in each of the queue's streams."""
        prefix = self._prefixes[partition]
        done = True
        counts = [0, 0, 0]
        for lane in await self._lanes_of(prefix, queue):
            cursor, *found = await self._ask(
                prefix,
                self._scripts.reclaim_runs.call(
                    prefix, queue=queue, lane=lane, lease_ms=lease_ms, step=_STEP, crash_limit=crash_limit
                ),
            )
            done = done and cursor == b"end"
            counts = [count + more for count, more in zip(counts, found, strict=True)]
        return Upkeep(done=done, reclaimed=counts[0], poisoned=counts[1], lost=counts[2])

    async def _lanes_of(self, prefix: str, queue: str) -> str:
        """Those of woken runs, of the normal priority, and of other priorities that were ever used."""
        used: bytes | None = await self._transport.send(prefix, ("HGET", f"{prefix}lanes", queue))
        return "w0" + (used or b"").decode("ascii", "ignore")

    async def reconcile_runs(self, partition: int) -> Upkeep:
        """One bounded step in the listing of one workflow."""
        prefix = self._prefixes[partition]
        if partition not in self._places:
            names = await self._transport.send(prefix, ("SMEMBERS", f"{prefix}workflows"))
            self._places[partition] = (sorted(names), -1)
        workflows, before = self._places[partition]
        repaired = 0
        if workflows:
            command = self._scripts.reconcile_runs.call(prefix, workflow=workflows[0], before=before, step=_STEP)
            before, _, repaired = await self._ask(prefix, command)
            if before == 0:
                workflows, before = workflows[1:], -1
        if workflows:
            self._places[partition] = (workflows, before)
        else:
            del self._places[partition]
        return Upkeep(done=not workflows, lost=repaired)

    async def sweep_workers(self, partition: int, queue: str) -> int:
        """Delete the empty consumers of dead workers."""
        prefix = self._prefixes[partition]
        deleted = 0
        for lane in await self._lanes_of(prefix, queue):
            (count,) = await self._ask(prefix, self._scripts.sweep_workers.call(prefix, queue=queue, lane=lane))
            deleted += count
        return deleted
