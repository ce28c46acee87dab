"""Crash points of runs with limits: wherever a worker dies, its slots come back, and no two runs run at once."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

import pytest

from redisflow import Limit, RedisFlow, Step, WorkflowHandle
from redisflow.authoring.body import current_body
from redisflow.run_id import partition_of
from tests.crash.audit import audit, leftovers
from tests.crash.harness import Crew, Fault, FaultyBackend
from tests.crash.test_crash_points import AT_ONCE, CALLS_AT_MOST, LEASE, WITHIN_S
from tests.keyspace import Raw, raw_calls
from tests.stories.world import eventually

KEYS = ("a", "d", "e")
"""Idempotency keys of the runs: they name two partitions."""
RUNS = len(KEYS)


@pytest.mark.parametrize("partitions", [1, 2])
@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
async def test_slots_come_back_from_a_fault_at_any_call(fault: Fault, partitions: int, valkey_url: str) -> None:
    for first in range(1, CALLS_AT_MOST, AT_ONCE):
        calls = range(first, first + AT_ONCE)
        if not all(await asyncio.gather(*(survives(fault, at, valkey_url, partitions) for at in calls))):
            return
    pytest.fail(f"the runs have not ended within {CALLS_AT_MOST} calls")


async def survives(
    fault: Fault,
    at: int,
    url: str,
    partitions: int,
    *,
    namespace: str | None = None,
    sabotage: Callable[[FaultyBackend], object] | None = None,
) -> bool:
    namespace = namespace or f"limits-{secrets.token_hex(6)}"
    raw, close = raw_calls(url)
    where = f"{fault.name} call {at}"
    inside: set[str] = set()
    together: list[set[str]] = []

    async def work() -> None:
        body = current_body.get()
        assert body is not None
        inside.add(body.run_id)
        together.append(set(inside))
        await asyncio.sleep(0.001)  # the work itself: long enough to be seen beside another
        inside.discard(body.run_id)

    async def limited(step: Step) -> str:
        await step.run("before", work)
        await step.sleep("nap", "5ms")
        await step.run("after", work)
        return "done"

    try:
        async with RedisFlow(url, namespace=namespace, partitions=partitions) as flow:
            crew = Crew(url, namespace, raw, partitions=partitions)
            try:
                workflow = flow.define_workflow("limited", concurrency=Limit(1), fair_key=lambda _: "one", priority=3)(
                    limited
                )
                crew.know(workflow.definition)
                # Runs with keys of their own live wherever their keys say, and are lent the slot.
                handles = [await workflow.run(idempotency_key=key) for key in KEYS]
                assert len({partition_of(handle.id) for handle in handles}) == partitions
                ended = asyncio.ensure_future(_all_ended(handles, raw, namespace))
                if sabotage is None:
                    first, backend = await crew.hire(fault=fault, at=at, lease=LEASE)
                else:
                    crew.prepare = sabotage
                    first, backend = await crew.hire(lease=LEASE)
                    crew.prepare = lambda _: None
                stopped = asyncio.ensure_future(backend.stopped.wait())
                await asyncio.wait([ended, stopped], timeout=WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
                stopped.cancel()
                fired = backend.fired
                if backend.stopped.is_set():
                    await crew.dismiss(first)
                    inside.clear()
                    crew.age(presence=at % 2 == 0)
                    _, helper = await crew.hire(lease=LEASE)
                    await crew.reclaim(helper.real)
                async with asyncio.timeout(WITHIN_S):
                    assert await ended == ["done"] * RUNS
            finally:
                await crew.close()
            assert all(len(runs) == 1 for runs in together), where
            assert not audit(raw, namespace, partitions), where
            assert not leftovers(raw, namespace, partitions), where
            return fired
    finally:
        close()


async def _all_ended(handles: list[WorkflowHandle[str]], raw: Raw, namespace: str) -> list[str]:
    results = [await handle.result() for handle in handles]
    # What was lent is on its way back.
    await eventually(lambda: _is_given_back(raw, namespace))
    return results


async def _is_given_back(raw: Raw, namespace: str) -> bool:
    return not (raw("KEYS", f"rf:*{namespace}:*limit:*") or raw("KEYS", f"rf:*{namespace}:*outbox"))
