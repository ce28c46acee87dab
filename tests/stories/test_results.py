"""Results: wait for one, do not, or look now and then."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from examples import results
from redisflow import (
    InvalidInput,
    ResultTimeout,
    RunNotFound,
    Step,
    WorkflowCanceled,
    WorkflowFailed,
    define_workflow_spec,
)
from tests.stories.world import PUNCTUAL, WITHIN_S, adopt, at_best, until


async def test_wait_for_the_result(flow):
    workflow = adopt(flow, results.export_table)
    async with flow.new_worker(lease="30s"):
        handle = await workflow.run(results.Export(table="orders", rows=10))
        assert await handle.result(timeout="1m") == "orders.csv (10 rows)"
        assert await handle.result() == "orders.csv (10 rows)", "as often as one likes"
        assert handle.workflow_run.id == handle.id


async def test_a_result_arrives_when_the_run_ends_and_not_at_the_next_poll(flow):
    gate = asyncio.Event()

    @flow.define_workflow("gated")
    async def gated(step: Step) -> bool:
        return bool(await step.run("gate", gate.wait))

    loop = asyncio.get_running_loop()

    async def delay() -> timedelta:
        gate.clear()
        handle = await gated.run()
        waiting = [asyncio.create_task(handle.result(timeout="1m")) for _ in range(20)]
        await until(flow, handle.id, lambda run: run.status == "running")
        gate.set()
        began_s = loop.time()
        assert await asyncio.gather(*waiting) == [True] * 20
        return timedelta(seconds=loop.time() - began_s)

    # Nobody looks more often than every 5 s.
    async with flow.new_worker(lease="30s"):
        assert await at_best(delay, PUNCTUAL) < PUNCTUAL


async def test_waiting_too_long_leaves_the_run_alone(flow):
    @flow.define_workflow("nobody-works")
    async def nobody_works(step: Step) -> str:
        return "done"

    handle = await nobody_works.run()
    with pytest.raises(ResultTimeout, match="pending and goes on"):
        await handle.result(timeout="50ms")
    waiting = asyncio.create_task(handle.result())
    await asyncio.sleep(0)
    waiting.cancel()
    async with flow.new_worker(lease="30s"):
        assert await handle.result(timeout="1m") == "done"


async def test_fire_and_forget(flow):
    done = asyncio.Event()

    async def work() -> None:
        done.set()

    @flow.define_workflow("forgotten")
    async def forgotten(step: Step) -> None:
        await step.run("work", work)

    async with flow.new_worker(lease="30s"):
        await forgotten.run()
        await asyncio.wait_for(done.wait(), WITHIN_S)


async def test_start_from_a_web_endpoint_that_returns_the_run_id_and_poll_for_the_status(flow, monkeypatch):
    monkeypatch.setattr(results, "flow", flow)
    monkeypatch.setattr(results, "export_table", adopt(flow, results.export_table))
    async with await asyncio.start_server(results.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        status, answer = await results.request(port, "POST", "/exports", json.dumps({"table": "t", "rows": 1}).encode())
        assert (status, list(answer)) == (202, ["run_id"])
        path = f"/exports/{answer['run_id']}"
        assert await results.request(port, "GET", path) == (200, {"status": "pending", "file": None})
        async with flow.new_worker(lease="30s"):
            await results.poll(lambda: flow.get_run(answer["run_id"]))
        assert await results.request(port, "GET", path) == (200, {"status": "succeeded", "file": "t.csv (1 rows)"})


async def test_poll_for_the_status(flow):
    workflow = adopt(flow, results.export_table)
    handle = await workflow.run(results.Export(table="t", rows=1))
    assert (await flow.get_run(handle.id)).status == "pending"
    async with flow.new_worker(lease="30s"):
        run = await until(flow, handle.id, lambda run: run.is_finished)
    assert (run.status, run.output, run.error) == ("succeeded", "t.csv (1 rows)", None)
    assert await flow.backend.get_workflow_run(handle.id) == run


async def test_a_result_is_typed_wherever_its_handle_was_made(flow):
    workflow = adopt(flow, results.export_table)
    spec = define_workflow_spec("export-table", input=results.Export, output=str)
    async with flow.new_worker(lease="30s"):
        started = await workflow.run(results.Export(table="t", rows=1))
        handle = await flow.get_handle(started.id, spec)
        assert await handle.result(timeout="1m") == "t.csv (1 rows)"


async def test_a_failed_and_a_canceled_run_raise_what_they_are(flow):
    @flow.define_workflow("fails")
    async def fails(step: Step) -> None:
        raise ValueError("no good")

    async with flow.new_worker(lease="30s"):
        handle = await fails.run()
        with pytest.raises(WorkflowFailed, match="ValueError: no good") as failed:
            await handle.result(timeout="1m")
        assert failed.value.run_id == handle.id
        assert "in fails" in failed.value.failure.traceback

        canceled = await fails.run(available_at="1h")
        await canceled.cancel()
        with pytest.raises(WorkflowCanceled):
            await canceled.result(timeout="1m")


async def test_a_run_that_is_not_stored_is_not_found(flow):
    @flow.define_workflow("w")
    async def workflow(step: Step) -> None: ...

    handle = await workflow.run()
    missing = handle.id[:-5] + ("a" if handle.id[-5] != "a" else "b") + handle.id[-4:]
    with pytest.raises(RunNotFound, match=missing):
        await flow.get_run(missing)
    with pytest.raises(RunNotFound):
        await flow.cancel_workflow_run(missing)
    with pytest.raises(RunNotFound):
        await (await flow.get_handle(missing, workflow)).result(timeout="1m")
    assert await flow.backend.get_workflow_run(missing) is None


async def test_many_runs_are_started_at_once(flow):
    bodies: list[int] = []

    async def double(number: int) -> int:
        bodies.append(number)
        return 2 * number

    @flow.define_workflow("double")
    async def doubling(number: int, step: Step) -> int:
        return await step.run("double", double, number)

    with pytest.raises(InvalidInput):
        await doubling.run_many([1, 2, "three"])
    async with flow.new_worker(lease="30s"):
        handles = await doubling.run_many(range(200))
        values = await asyncio.gather(*(handle.result(timeout="1m") for handle in handles))
    assert values == [2 * number for number in range(200)]
    assert len(bodies) == 200, "a bad input stored none of its batch"
