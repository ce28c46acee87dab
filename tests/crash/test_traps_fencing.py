"""Traps of the lease and the fence: holders that were paused, forgotten or taken for dead, and come back."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from redisflow import RedisFlow, Step
from redisflow.backend.redis_backend import RedisBackend
from redisflow.contract import Claim, Extension, Hold, Mark, Verdict
from tests.crash.audit import Raw
from tests.crash.harness import Crew


def dump(raw: Raw, namespace: str, *, but: tuple[str, ...] = ()) -> dict[bytes, Any]:
    """Every key of a namespace, as it is."""
    keys = raw("KEYS", f"rf:{{{namespace}:0}}:*")
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
        assert list(await asyncio.to_thread(heartbeat.renew, 0, "paused-worker", 1000, b"", [old.hold])) == [handle.id]
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


async def test_no_body_starts_on_a_reply_that_is_seen_after_the_run_was_taken(flow: RedisFlow, crew: Crew) -> None:
    """The loop stands still while it reads a reply. Meanwhile the run is taken, and the heartbeat's thread finds out."""
    second_bodies: list[str] = []
    at_the_reply: list[int] = []

    async def first() -> str:
        return "first"

    async def second() -> str:
        second_bodies.append("second")
        await asyncio.sleep(0)
        return "second"

    async def take_the_run() -> None:
        backend = RedisBackend(crew.url, namespace=crew.namespace)
        await backend.open()
        crew.age(presence=False)
        assert await crew.reclaim(backend) == 1
        await backend.close()
        # More than two beats of the lease below: the heartbeat has asked, and knows that the run is lost.
        time.sleep(0.6)

    @flow.define_workflow("two-steps")
    async def two_steps(step: Step) -> str:
        return await step.run("first", first) + await step.run("second", second)

    crew.know(two_steps.definition)
    _, backend = await crew.hire(lease="1s")
    commit_run = backend.commit_run

    def interrupted(*args: Any, **options: Any) -> asyncio.Future[Verdict]:
        outer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()

        def answered(inner: asyncio.Future[Verdict]) -> None:
            outer.set_result(inner.result())  # the worker sees it next, whatever else has come by then
            if not at_the_reply:
                taking = threading.Thread(target=lambda: asyncio.run(take_the_run()))
                taking.start()
                taking.join(20)  # blocks the worker's loop, on purpose
                asyncio.get_running_loop().call_soon(lambda: at_the_reply.append(len(second_bodies)))

        commit_run(*args, **options).add_done_callback(answered)
        return outer

    backend.commit_run = interrupted  # type: ignore[method-assign]
    handle = await two_steps.run()
    assert await handle.result(timeout=20) == "firstsecond"
    assert len(second_bodies) == 1, "the holder that had lost the run started it, too"
