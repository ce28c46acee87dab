"""Traps of the lease and the fence: holders that were paused, forgotten or taken for dead, and come back."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from redisflow import RedisFlow, Step
from redisflow.backend.redis_backend import RedisBackend
from redisflow.contract import Claim, ClaimBatch, Extension, Hold, Mark, Verdict
from tests.crash.harness import Crew
from tests.keyspace import Raw


def dump(raw: Raw, namespace: str, *, but: tuple[str, ...] = ()) -> dict[bytes, Any]:
    """Every key of a namespace, as it is; but how often each process was answered says nothing of runs."""
    keys = [key for key in raw("KEYS", f"rf:{{{namespace}:0}}:*") if b"}:acked:" not in key]
    return {key: raw("DUMP", key) for key in keys if not key.decode().endswith(but)}


def an_extension(claim: Claim) -> Extension:
    return Extension(claim.mark, Mark(claim.mark.records + 1, claim.mark.bytes + 1), [b"x"])


async def claim_one(backend: RedisBackend, worker: str, operation: str) -> Claim:
    batch = await backend.claim_runs(0, worker, operation, 1, ["default"])
    (claim,) = batch.claims
    return claim


async def every_write(backend: RedisBackend, claim: Claim, hold: Hold) -> list[Verdict]:
    """What a holder can say."""
    extension = an_extension(claim)
    return [
        await backend.commit_run(hold, extension, renew_for="zombie", forget_crashes=True),
        await backend.park_run(hold, extension, reason="timer", due_at_ms=0),
        await backend.finish_run(hold, extension, status="succeeded", payload=b"\xc0"),
        await backend.release_run(hold),
        await backend.shelve_run(hold, reason="suspended", problem=b"", first_ms=0, last_ms=0),
        await backend.note_progress(hold, b"\x90"),
    ]


async def test_a_holder_that_was_paused_while_upkeep_took_its_run_changes_nothing(
    flow: RedisFlow, crew: Crew, raw: Raw, valkey_url: str
) -> None:
    @flow.define_workflow("paused")
    async def paused(step: Step) -> None:
        await step.sleep("nap", "1h")

    await paused.run()
    backend = RedisBackend(valkey_url, namespace=flow.namespace)
    await backend.open()
    try:
        paused_claim = await claim_one(backend, "paused-worker", "op-1")
        crew.age()
        assert await crew.reclaim(backend) == 1
        # Given back, and not yet claimed again.
        before = dump(raw, flow.namespace)
        assert set(await every_write(backend, paused_claim, paused_claim.hold)) == {Verdict.FENCED}
        assert dump(raw, flow.namespace) == before
        # Claimed by another worker.
        other = await claim_one(backend, "other-worker", "op-2")
        before = dump(raw, flow.namespace)
        assert set(await every_write(backend, paused_claim, paused_claim.hold)) == {Verdict.FENCED}
        assert dump(raw, flow.namespace) == before
        assert await backend.release_run(other.hold) is Verdict.OK
    finally:
        await backend.close()


async def test_a_heartbeat_of_a_paused_holder_does_not_steal_the_run_back(
    flow: RedisFlow, crew: Crew, raw: Raw, valkey_url: str
) -> None:
    @flow.define_workflow("stolen")
    async def stolen(step: Step) -> None:
        await step.sleep("nap", "1h")

    handle = await stolen.run()
    backend = RedisBackend(valkey_url, namespace=flow.namespace)
    await backend.open()
    try:
        old = await claim_one(backend, "paused-worker", "op-1")
        crew.age()
        await crew.reclaim(backend)
        new = await claim_one(backend, "other-worker", "op-2")
        heartbeat = backend.open_heartbeat()
        beat = await asyncio.to_thread(heartbeat.renew, 0, "paused-worker", 1000, b"", [old.hold])
        assert list(beat.lost) == [handle.id]
        heartbeat.close()
        lane, _, entry = new.hold.entry.partition(":")
        key = f"rf:{{{flow.namespace}:0}}:q:default:{lane}"
        ((_, holder, *_),) = raw("XPENDING", key, "workers", entry, entry, 1)
        assert holder == b"other-worker"
        assert await backend.release_run(new.hold) is Verdict.OK
    finally:
        await backend.close()


async def test_two_primaries_that_gave_the_same_claim_counter_gave_different_fences(
    flow: RedisFlow, raw: Raw, valkey_url: str
) -> None:
    @flow.define_workflow("twice")
    async def twice(step: Step) -> None:
        await step.sleep("nap", "1h")

    handle = await twice.run()
    backend = RedisBackend(valkey_url, namespace=flow.namespace)
    await backend.open()
    try:
        claim = await claim_one(backend, "worker-a", "op-a")
        count, _, nonce = claim.hold.fence.partition(":")
        # As after a fail-over that forgot this claim, when the new primary has given one of its own.
        forged = f"{count}:another"
        assert forged != claim.hold.fence
        assert nonce
        key = f"rf:{{{flow.namespace}:0}}:run:{handle.id}"
        raw("HSET", key, "f", forged)
        before = dump(raw, flow.namespace)
        assert set(await every_write(backend, claim, claim.hold)) == {Verdict.FENCED}
        assert dump(raw, flow.namespace) == before
        raw("HSET", key, "f", claim.hold.fence)
        assert await backend.release_run(claim.hold) is Verdict.OK
    finally:
        await backend.close()


async def test_no_body_starts_on_a_claim_that_is_read_after_its_lease(flow: RedisFlow, crew: Crew) -> None:
    """As when a process is stopped just after it sent a claim: its heartbeat is fresh before the reply is read."""

    async def work() -> str:
        crew.journal.body_starts()
        return "done"

    @flow.define_workflow("late")
    async def late(step: Step) -> str:
        return await step.run("work", work)

    crew.know(late.definition)
    handle = await late.run()
    _, backend = await crew.hire(lease="500ms")
    taken = asyncio.Event()

    async def read_late(*args: Any) -> ClaimBatch:
        batch = await backend.real.claim_runs(*args)
        if batch.claims and not taken.is_set():
            taken.set()
            crew.age(presence=False)
            await crew.hire(lease="500ms")
            await crew.reclaim(backend.real)
            assert await handle.result(timeout=10) == "done"
            await asyncio.sleep(0.6)  # the lease, and some beats: the fault itself
        return batch

    backend.claim_runs = read_late  # type: ignore[attr-defined]
    again = await late.run()
    async with asyncio.timeout(10):
        await taken.wait()
    assert await again.result(timeout=10) == "done"
    await asyncio.sleep(0.7)  # until the late claim has been read, and what should not start had time to
    starts = Counter(key for key, _ in crew.journal.starts)
    assert set(starts.values()) == {1}, starts
