"""Looking at every key of a namespace: scans, atomic reads of what belongs together, and repairs.

The hard thing is that the store moves while it is walked. So nothing is concluded from two reads: each question is
answered from what one script saw, and each repair looks again in its own script.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from redisflow.backend import replies
from redisflow.contract import ScanPlace
from redisflow.errors import BackendError, UnsuitableServer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redisflow.backend.patience import Patience
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport
    from redisflow.backend.wire import Command
    from redisflow.structure import Breach, Snapshot

SCAN_STEP = 1_000
"""Buckets of the server's table that one SCAN looks at: some 0.3 ms."""
RECORDS = 200
"""Of one run, whose lengths one call asks for."""
MEMBERS = 50
"""Of one key, with the run of each."""


class AuditOnRedis:
    """See `AuditCalls`. One object per backend."""

    def __init__(
        self,
        transport: Transport,
        scripts: Scripts,
        patience: Patience,
        namespace: str,
        prefixes: Sequence[str],
        *,
        is_cluster: bool,
    ) -> None:
        """A server that is no Cluster has all partitions in one key space, which is walked once."""
        self._transport = transport
        self._scripts = scripts
        self._patience = patience
        self._prefixes = prefixes
        self._is_cluster = is_cluster
        # A namespace may begin as another does: a pattern finds keys of both.
        self._key = re.compile(rb"rf:\{" + re.escape(namespace.encode()) + rb":([0-9]+)\}:(.*)", re.DOTALL)
        self._pattern = f"rf:{{{namespace}:*"

    async def scan(self, place: ScanPlace) -> tuple[Mapping[int, Sequence[str]], ScanPlace | None]:
        """See `AuditCalls`."""
        prefix = self._prefixes[place.part]
        pattern = f"{prefix}*" if self._is_cluster else self._pattern
        command = ("SCAN", place.cursor, "MATCH", pattern, "COUNT", SCAN_STEP)
        try:
            cursor, keys = await self._patience.give(self._transport.send(prefix, command))
        except BackendError as error:
            if "NOPERM" not in str(error):
                raise
            msg = f"{error}. An audit walks the keys: give its user SCAN as well (ACL SETUSER <user> +scan)"
            raise UnsuitableServer(msg) from error
        found: dict[int, list[str]] = {}
        for match in filter(None, map(self._key.fullmatch, keys)):
            partition = int(match[1])
            if partition < len(self._prefixes):
                found.setdefault(partition, []).append(match[2].decode("utf-8", "surrogateescape"))
        if int(cursor):
            return found, ScanPlace(place.part, str(int(cursor)))
        is_last = not self._is_cluster or place.part + 1 == len(self._prefixes)
        return found, None if is_last else ScanPlace(place.part + 1)

    async def drop_keys(self, partition: int, names: Sequence[str]) -> int:
        """See `AuditCalls`."""
        prefix = self._prefixes[partition]
        reply = await self._ask(prefix, self._scripts.drop_keys.call(prefix, map(_raw, names)))
        deleted: int = replies.expect_ok(reply)[0]
        return deleted

    async def inspect_runs(self, partition: int, run_ids: Sequence[str]) -> Snapshot:
        """See `AuditCalls`."""
        prefix = self._prefixes[partition]
        command = self._scripts.inspect_runs.call(prefix, map(_raw, run_ids), first=0, most=RECORDS)
        return await self._look(prefix, command)

    async def inspect_records(self, partition: int, run_id: str, first: int) -> Snapshot:
        """See `AuditCalls`."""
        prefix = self._prefixes[partition]
        named = (_raw(f"run:{run_id}"), first)
        return await self._look(prefix, self._scripts.inspect_keys.call(prefix, named, most=RECORDS, lone="lone"))

    async def inspect_keys(self, partition: int, names: Sequence[str], cursor: str = "0") -> Snapshot:
        """See `AuditCalls`."""
        prefix = self._prefixes[partition]
        named = [part for name in names for part in (_raw(name), cursor)]
        return await self._look(prefix, self._scripts.inspect_keys.call(prefix, named, most=MEMBERS, lone=""))

    async def _look(self, prefix: str, command: Command) -> Snapshot:
        from redisflow.structure import snapshot_of  # noqa: PLC0415  # 10 ms that only an audit needs

        reply = await self._patience.give(self._transport.send(prefix, command, bulk=True))
        now_ms, *rows = replies.expect_ok(reply)
        return snapshot_of(prefix, now_ms, rows)

    async def repair(self, partition: int, breach: Breach) -> Sequence[str]:
        """See `AuditCalls`."""
        prefix, remedy = self._prefixes[partition], breach.remedy
        if remedy is None:
            return []
        if remedy.verb == "rebuild":
            reply = await self._ask(prefix, self._scripts.repair_run.call(prefix, run_id=_raw(breach.run_id)))
            return [] if reply[0] == b"missing" else [f"rebuilt {word.decode()}" for word in reply[1:]]
        if remedy.verb == "sweep":
            queue, _, lane = remedy.name.removeprefix("q:").rpartition(":")
            reply = await self._ask(prefix, self._scripts.sweep_workers.call(prefix, queue=queue, lane=lane))
            return ["swept consumers"] if reply[1] else []
        about = {"name": _raw(remedy.name), "member": _raw(remedy.member)}
        if remedy.verb in ("free", "move"):
            command = self._scripts.repair_line.call(prefix, **about)
        else:
            command = self._scripts.repair_key.call(prefix, verb=remedy.verb, **about)
        kind = remedy.name.partition(":")[0]
        return [f"{_DONE[remedy.verb]} {kind}"] if (await self._ask(prefix, command))[1] else []

    async def _ask(self, prefix: str, command: Command) -> Any:
        return await self._patience.give(self._transport.send(prefix, command))


_DONE = {
    "keep": "kept",
    "unlist": "unlisted from",
    "forget": "deleted",
    "leave": "removed from",
    "schedule": "relisted",
    "free": "freed",
    "move": "moved",
}


def _raw(text: str) -> bytes:
    """As it was read, whatever bytes it is made of."""
    return text.encode("utf-8", "surrogateescape")
