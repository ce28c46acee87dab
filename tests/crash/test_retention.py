"""Deleting runs, with a fault at each call: another worker goes on, and nothing of a deleted run is left."""

from __future__ import annotations

import pytest

from redisflow import RedisFlow, Retention, Step
from redisflow.backend.redis_backend import RedisBackend
from redisflow.errors import BackendUnavailable
from redisflow.worker.retention import RetentionService
from tests.crash.audit import audit
from tests.crash.harness import Fault, FaultyBackend, Journal
from tests.keyspace import Raw, prefix_of
from tests.leaks import leaks

FAULTS = pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())


async def ended_runs(flow: RedisFlow) -> list[str]:
    @flow.define_workflow("short", retention=Retention(succeeded=0))
    async def short(number: int, step: Step) -> int:
        return number

    async with flow.new_worker(lease="10m"):
        handles = await short.run_many(range(3), tags={"kind": "short"})
        for handle in handles:
            await handle.result(timeout="1m")
    return [handle.id for handle in handles]


@FAULTS
@pytest.mark.parametrize("at", [1, 2, 3])
async def test_what_one_worker_left_half_done_another_purges(
    flow: RedisFlow, raw: Raw, valkey_url: str, namespace: str, fault: Fault, at: int
) -> None:
    run_ids = await ended_runs(flow)
    kept = await flow.run_workflow("short", 9)
    faulty = FaultyBackend(RedisBackend(valkey_url, namespace=namespace), Journal(), fault=fault, at=at)
    await faulty.real.open()
    try:
        await RetentionService(faulty, 0, "w1", 15).run_once()
    except BackendUnavailable:
        assert faulty.stopped.is_set()
    assert faulty.calls[:2] == ["take_turn", "purge_runs"][: len(faulty.calls)]
    await faulty.close()
    raw("DEL", f"rf:{{{namespace}:0}}:turn:retention")
    await RetentionService(await flow.open(), 0, "w2", 15).run_once()
    assert [run.id async for run in flow.list_runs()] == [kept.id]
    assert [run.id async for run in flow.list_runs(tags={"kind": "short"})] == []
    assert not audit(raw, namespace)
    # That they were started is known for some minutes; nothing else is.
    known = {f"{prefix_of(namespace, 0)}idem:{run_id}".encode() for run_id in run_ids}
    keys = raw("KEYS", f"{prefix_of(namespace, 0)}*")
    assert {key for key in keys if any(run_id.encode() in key for run_id in run_ids)} == known


@FAULTS
async def test_a_delete_whose_reply_is_lost_is_repeated(
    flow: RedisFlow, raw: Raw, valkey_url: str, namespace: str, fault: Fault
) -> None:
    run_ids = await ended_runs(flow)
    faulty = FaultyBackend(RedisBackend(valkey_url, namespace=namespace), Journal(), fault=fault, at=1)
    await faulty.real.open()
    try:
        assert await faulty.retention.delete_run(run_ids[0]) is None
    except BackendUnavailable:
        assert faulty.stopped.is_set()
    await faulty.close()
    for run_id in run_ids:
        await flow.delete_run(run_id)
        await flow.delete_run(run_id)
    assert not audit(raw, namespace)
    assert not leaks(raw, namespace)
