"""A namespace on one kind of server, seen from both sides: through the contract, and key by key."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from redisflow.backend.caller import Caller
from redisflow.backend.connect import read_url
from redisflow.backend.memory import run_script, store_named
from redisflow.backend.redis_backend import RedisBackend
from redisflow.contract import Claim, ClaimBatch, Created, Extension, Mark, NewRun, Verdict
from redisflow.run_id import new_run_id, partition_of
from tests.acl import past_users
from tests.cluster.raw import ClusterRaw

T = TypeVar("T")
LEASE_MS = 30_000
T0 = 1_700_000_000_000


class World:
    """One namespace, its backend, and raw commands beside it."""

    def __init__(self, backend: RedisBackend, url: str) -> None:
        self.backend = backend
        self._url = url
        self._target = read_url(past_users(url))
        self._caller = Caller(self._target, {})
        self._cluster = ClusterRaw(self._target)
        self._operations = itertools.count(1)
        self.now_ms = 0

    @property
    def prefix(self) -> str:
        return self.prefix_of(0)

    def prefix_of(self, partition: int) -> str:
        return f"rf:{{{self.backend.namespace}:{partition}}}:"

    def raw(self, *command: Any) -> Any:
        if self._target.kind == "memory":
            return run_script(store_named(self._target.name), command, {}, self._url)
        if self._target.kind == "cluster":
            return self._cluster(*command)
        return self._caller.call(self._target.hosts[0], command)

    def close(self) -> None:
        self._cluster.close()
        self._caller.close()

    # -- the clock ----------------------------------------------------------------------------------------------------

    def at(self, ms: int) -> None:
        self.now_ms = ms
        for partition in range(self.backend.partitions):
            self.raw("SET", f"{self.prefix_of(partition)}clock", str(ms))

    def later(self, ms: int) -> None:
        self.at(self.now_ms + ms)

    # -- what is stored -----------------------------------------------------------------------------------------------

    def keys(self) -> list[str]:
        """All but the clock, and how often each process was answered: that tells a repeat from a first call."""
        pattern = f"rf:{{{self.backend.namespace}:*"
        found: set[str] = set()
        cursor: Any = b"0"
        while True:
            cursor, keys = self.raw("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            found.update(key.decode() for key in keys)
            if int(cursor) == 0:
                return sorted(key for key in found if not key.endswith("}:clock") and "}:acked:" not in key)

    def snapshot(self) -> dict[str, Any]:
        return {key: self._value(key) for key in self.keys()}

    def _value(self, key: str) -> Any:
        kind = self.raw("TYPE", key)
        match kind.decode() if isinstance(kind, bytes) else kind:
            case "hash":
                flat = self.raw("HGETALL", key)
                return dict(zip(flat[::2], flat[1::2], strict=True))
            case "zset":
                return self.raw("ZRANGE", key, 0, -1, "WITHSCORES")
            case "list":
                return self.raw("LRANGE", key, 0, -1)
            case "set":
                return sorted(self.raw("SMEMBERS", key))
            case "stream":
                return self.raw("XRANGE", key, "-", "+"), self.pending(key)
            case _:
                return self.raw("GET", key)

    def pending(self, stream: str) -> list[tuple[bytes, bytes, int]]:
        try:
            found = self.raw("XPENDING", stream, "workers", "-", "+", 100_000)
        except Exception:  # no group yet
            return []
        return [(entry, consumer, count) for entry, consumer, _, count in found]

    def field(self, run_id: str, name: str) -> bytes | None:
        value: bytes | None = self.raw("HGET", f"{self.prefix_of(partition_of(run_id))}run:{run_id}", name)
        return value

    def stream(self, lane: str, queue: str = "default") -> str:
        return f"{self.prefix}q:{queue}:{lane}"

    def age(self, claim: Claim, ms: int = LEASE_MS * 5 // 4) -> None:
        """Let the lease of a claim be over, without waiting for it, and long enough for it to be certain."""
        lane, _, entry = claim.hold.entry.partition(":")
        stream = self.stream(lane, claim.hold.queue)
        (consumer,) = (c for e, c, _ in self.pending(stream) if e == entry.encode())
        self.raw("XCLAIM", stream, "workers", consumer, 0, entry, "IDLE", ms, "JUSTID")

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110  # another process has no event
                await asyncio.sleep(0)

    async def until_blocked(self, clients: int) -> None:
        """So many pops are blocked on the server."""
        if self._target.kind == "memory":
            await asyncio.sleep(0)
            return
        await self.until(lambda: self._blocked() >= clients)

    def _blocked(self) -> int:
        return sum(b" cmd=blpop " in line and b" flags=b " in line for line in self.raw("CLIENT", "LIST").splitlines())

    # -- shorthands for the contract ----------------------------------------------------------------------------------

    def new(self, **changes: Any) -> NewRun:
        wanted: dict[str, Any] = {
            "run_id": new_run_id(0),
            "workflow": "order",
            "version": None,
            "queue": "default",
            "input": b"\x01",
        }
        return NewRun(**{**wanted, **changes})

    async def create(self, **changes: Any) -> str:
        new = self.new(**changes)
        assert await self.backend.create_run(new) == Created(new.run_id, existing=False)
        return new.run_id

    async def batch(
        self, worker: str = "w1", *, limit: int = 100, queues: Sequence[str] = ("default",), partition: int = 0
    ) -> ClaimBatch:
        return await self.backend.claim_runs(partition, worker, f"op{next(self._operations)}", limit, queues)

    async def claim(self, worker: str = "w1", **changes: Any) -> Claim:
        (claim,) = (await self.batch(worker, **changes)).claims
        return claim

    async def running(self, worker: str = "w1", **changes: Any) -> Claim:
        """A run that was just created and claimed."""
        run_id = await self.create(**changes)
        claim = await self.claim(worker, queues=(changes.get("queue", "default"),))
        assert claim.hold.run_id == run_id
        return claim

    async def finish(
        self, claim: Claim, *records: bytes, status: str = "succeeded", payload: bytes = b"\x02"
    ) -> Verdict:
        extension = extend(claim.mark, *records)
        return await self.backend.finish_run(claim.hold, extension, status=status, payload=payload)

    async def park(self, claim: Claim, *records: bytes, due_at_ms: int, reason: str = "timer") -> Verdict:
        extension = extend(claim.mark, *records)
        return await self.backend.park_run(claim.hold, extension, reason=reason, due_at_ms=due_at_ms)

    async def commit(self, claim: Claim, *records: bytes, **changes: Any) -> Verdict:
        wanted = {"renew_for": None, "forget_crashes": False, **changes}
        return await self.backend.commit_run(claim.hold, extend(claim.mark, *records), **wanted)

    async def suspend(self, claim: Claim, problem: bytes = b"\xa1x") -> Verdict:
        return await self.backend.shelve_run(
            claim.hold, reason="suspended", problem=problem, first_ms=5_000, last_ms=300_000
        )

    async def strand(self, claim: Claim) -> Verdict:
        return await self.backend.shelve_run(
            claim.hold, reason="stranded", problem=b"", first_ms=5_000, last_ms=300_000
        )

    async def status(self, run_id: str) -> str:
        end = await self.backend.get_end(run_id)
        assert end is not None
        return end.status

    async def twice(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call again as after a lost reply: the same answer, and nothing changes."""
        first = await call()
        before = self.snapshot()
        assert await call() == first
        assert self.snapshot() == before
        return first

    async def unchanged(self, call: Callable[[], Awaitable[T]]) -> T:
        """A call that is refused changes nothing."""
        before = self.snapshot()
        answer = await call()
        assert self.snapshot() == before
        return answer


def extend(mark: Mark, *records: bytes) -> Extension:
    after = Mark(mark.records + len(records), mark.bytes + sum(map(len, records)))
    return Extension(mark, after, list(records))
