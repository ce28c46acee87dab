"""How workers end: asked to in every state of a run (E1), killed (E2), with a body that lets nothing else run (A2)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from redisflow import RedisFlow, Step, define_workflow_spec
from redisflow.backend.redis_backend import RedisBackend
from redisflow.worker.options import WorkerOptions
from redisflow.worker.upkeep import UpkeepService
from tests.crash.audit import audit, leftovers
from tests.crash.harness import Crew
from tests.faults.worker_processes import WITHIN_S, WorkerFleet
from tests.faults.worker_processes import until as until_so
from tests.keyspace import Raw, raw_calls
from tests.stories.world import eventually, until

STATES = define_workflow_spec("states", output=list[str])
STUCK = define_workflow_spec("stuck", output=str)
LONG = define_workflow_spec("long", input=float, output=str)


@pytest.fixture
def raw(valkey_url: str) -> Iterator[Raw]:
    """Return bare commands."""
    call, close = raw_calls(valkey_url)
    yield call
    close()


@pytest.fixture
async def flow(valkey_url: str, namespace: str):
    """Return the client's side."""
    async with RedisFlow(valkey_url, namespace=namespace) as made:
        yield made


@pytest.fixture
def fleet(valkey_url: str, namespace: str, tmp_path: Path, raw: Raw) -> Iterator[WorkerFleet]:
    """Return no worker process yet; those that a test hires end with it, and what they leave behind is audited."""
    made = WorkerFleet(valkey_url, namespace, tmp_path, "tests.faults.short_flow:flow")
    try:
        yield made
    finally:
        made.end()
    assert audit(raw, namespace) + leftovers(raw, namespace) == []


async def test_a_worker_that_is_asked_to_stop_strands_nothing_in_whichever_state_its_run_is(
    flow: RedisFlow, fleet: WorkerFleet, raw: Raw
) -> None:
    async def is_in(state: str, run_id: str) -> bool:
        run = await flow.get_run(run_id)
        keys = {line.key for line in fleet.lines() if line.run_id == run_id and line.event == "start"}
        return {
            "body": run.status == "running" and keys == {"body"},
            "timer": run.waiting_for == "timer",
            "signal": run.waiting_for == "signal",
            "parallel": run.status == "running" and {"left", "right"} <= keys,
            "ended": run.status == "succeeded",
        }[state]

    worker = fleet.hire("--grace", "0s", "--lease", "30s")
    for state in ("body", "timer", "signal", "parallel", "ended"):
        handle = await flow.run_workflow(STATES)
        await eventually(partial(is_in, state, handle.id))
        assert await fleet.dismiss(worker) == 0
        # It has said good-bye, and holds nothing: nobody has to wait for a lease of 30 s.
        assert await flow.workers(gone=True) == []
        run = await handle.get()
        assert run.status != "running"
        assert raw("XPENDING", f"rf:{{{flow.namespace}:0}}:q:default:0", "workers")[0] == 0
        worker = fleet.hire("--grace", "0s", "--lease", "30s")
        assert await handle.result(timeout=WITHIN_S) == ["held on", "None", "held on", "held on"]
        run = await handle.get()
        assert (run.attempt, run.crashes) == (1, 0)
        assert all(step.attempt == 1 for step in run.steps if step.kind == "run")


async def test_runs_of_a_killed_worker_go_on_after_one_round_of_upkeep(flow: RedisFlow, raw: Raw) -> None:
    """A lease ends, and the next round gives all of its runs back: rounds come four to a lease."""
    for lease in ("500ms", 1, 30, "1h"):
        options = WorkerOptions(lease=lease)
        assert options.upkeep_s <= options.lease_ms / 1000 / 4
    crew = Crew(flow.location.url, flow.namespace, raw)

    @flow.define_workflow("held")
    async def held(step: Step) -> None:
        await step.run("hold", forever)

    crew.know(held.definition)
    worker, backend = await crew.hire(concurrency=300)
    handles = [await held.run() for _ in range(250)]
    await eventually(lambda: _all_run(flow, len(handles)))
    backend.stopped.set()
    await crew.dismiss(worker)
    crew.age()
    upkeep = UpkeepService(await flow.open(), 0, "other", ["default"], 30_000, 3, 7.5)
    assert await upkeep.run_once() == len(handles)
    assert (await flow.count_runs()).pending == len(handles)
    for handle in handles:
        await handle.cancel()
    await crew.close()


async def forever() -> None:
    await asyncio.Event().wait()


async def _all_run(flow: RedisFlow, count: int) -> bool:
    return (await flow.count_runs()).running == count


async def test_a_killed_process_is_succeeded_by_another(flow: RedisFlow, fleet: WorkerFleet) -> None:
    first = fleet.hire("--lease", "2s")
    handles = [await flow.run_workflow(LONG, 0.5) for _ in range(10)]
    await until_so(lambda: [line.key for line in fleet.lines()].count("hold") == 10)
    fleet.hire("--lease", "2s")
    await eventually(lambda: _alive(flow, 2))
    assert await fleet.dismiss(first, signal.SIGKILL) == -signal.SIGKILL
    for handle in handles:
        assert await handle.result(timeout=WITHIN_S) == "held on"
        assert (await handle.get()).claims in (1, 2)  # 1: its end was under way when the other died
    starts = fleet.starts()
    assert {starts[handle.id, "before"] for handle in handles} == {1}  # it was recorded
    assert max(starts.values()) <= 2


async def _alive(flow: RedisFlow, count: int) -> bool:
    return len(await flow.workers()) == count


async def test_a_body_that_lets_no_thread_run_loses_its_run_and_its_late_end_is_refused(
    flow: RedisFlow, fleet: WorkerFleet, raw: Raw
) -> None:
    """Heartbeats come from a thread, which native code can stop as well: then the lease is what it is for."""
    fleet.hire("--lease", "1s")
    await eventually(lambda: _alive(flow, 1))
    handle = await flow.run_workflow(STUCK)
    await until_so(lambda: len(fleet.lines()) == 1)
    (first,) = (line.pid for line in fleet.lines())
    second = fleet.hire("--lease", "1s")
    assert await handle.result(timeout=WITHIN_S) == str(second.pid)
    key = f"rf:{{{flow.namespace}:0}}:run:{handle.id}"
    before = raw("DUMP", key)
    # It comes to itself, and ends what it was at: nothing of that is written.
    await until_so(lambda: [line.pid for line in fleet.lines() if line.event == "end"].count(first) == 1)
    await eventually(lambda: _alive(flow, 2))
    assert raw("DUMP", key) == before
    assert (await handle.get()).claims == 2


async def test_five_hundred_workers_that_die_leave_no_more_consumers_than_live(flow: RedisFlow, raw: Raw) -> None:
    """A10, by the calls that they make: each claims, holds nothing, and is never heard of again."""
    backend = await flow.open()
    assert isinstance(backend, RedisBackend)
    heartbeat = backend.open_heartbeat()
    live = [f"live-{number}" for number in range(5)]
    for name in live:
        await asyncio.to_thread(heartbeat.renew, 0, name, 60_000, b"", [])
    stream = f"rf:{{{flow.namespace}:0}}:q:default:0"
    await flow.run_workflow(define_workflow_spec("unknown"))  # so that there is a stream to read from
    for number in range(500):
        name = live[number % 5] if number % 100 == 0 else f"dead-{number}"
        claims = (await backend.claim_runs(0, name, f"op{number}", 10, ["default"])).claims
        for claim in claims:
            await backend.release_run(claim.hold)
        if number % 8 == 7:  # as often as upkeep does it
            await backend.sweep_workers(0, "default")
            assert len(raw("XINFO", "CONSUMERS", stream, "workers")) <= len(live) + 10
    await backend.sweep_workers(0, "default")
    names = {item[1].decode() for item in raw("XINFO", "CONSUMERS", stream, "workers")}
    assert names <= set(live)
    heartbeat.close()
    async for run in flow.list_runs():
        await flow.cancel_workflow_run(run.id)


async def test_what_a_stopping_worker_had_claimed_and_not_begun_is_begun_by_another(
    flow: RedisFlow, fleet: WorkerFleet
) -> None:
    """A17: it holds as many as it may, and a stream of more behind them."""
    first = fleet.hire("--concurrency", "20", "--grace", "0s", "--lease", "30s")
    handles = [await flow.run_workflow(LONG, 0.2) for _ in range(60)]
    await until_so(lambda: len(fleet.lines()) >= 20)
    fleet.hire("--concurrency", "60", "--lease", "30s")
    await eventually(lambda: _alive(flow, 2))
    assert await fleet.dismiss(first) == 0
    for handle in handles:
        await handle.result(timeout=WITHIN_S)
        run = await until(flow, handle.id, lambda run: run.is_finished)
        assert (run.attempt, run.crashes) == (1, 0)
