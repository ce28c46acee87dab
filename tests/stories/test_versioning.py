"""A deploy under runs that are under way: patches, the report of drift, and drift that is tolerated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from redisflow import (
    InvalidWorkflow,
    NotAllowedInWorkflow,
    RedisFlow,
    RetryPolicy,
    Step,
    StepOptions,
    WorkflowFailed,
)
from tests.stories.world import until

Code = Callable[[Step], Awaitable[Any]]


async def do(what: str) -> str:
    return what


async def before(step: Step) -> list[str]:
    done = [await step.run("charge", do, "charged")]
    await step.wait_for_signal("go")
    return done


async def patched(step: Step) -> list[str]:
    done = [await step.run("check", do, "checked")] if step.patched("check") else []
    done.append(await step.run("charge", do, "charged"))
    await step.wait_for_signal("go")
    return done


async def renamed(step: Step) -> list[str]:
    done = [await step.run("charge-card", do, "charged again")]
    await step.wait_for_signal("go")
    return done


@pytest.fixture
def deployed(server_url: str, namespace: str):
    """A process of a deploy: a flow with this code, and a worker of it."""

    @asynccontextmanager
    async def deploy(code: Code, **options: Any):
        async with RedisFlow(server_url, namespace=namespace) as flow:
            workflow = flow.define_workflow("order", **options)(code)
            async with flow.new_worker(lease="30s"):
                yield flow, workflow

    return deploy


async def waiting_run(deployed: Any, code: Code) -> Any:
    async with deployed(code) as (flow, order):
        handle = await order.run()
        await until(flow, handle.id, lambda run: run.waiting_for == "signal")
        return handle.id


async def end(flow: RedisFlow, order: Any, run_id: str) -> Any:
    await flow.signal(run_id, "go")
    return await (await flow.get_handle(run_id, order)).result(timeout="1m")


async def test_runs_keep_the_way_that_they_began_and_new_ones_take_the_new_one(deployed):
    old = await waiting_run(deployed, before)
    new = await waiting_run(deployed, patched)
    async with deployed(patched) as (flow, order):
        assert await end(flow, order, old) == ["charged"]
        assert await end(flow, order, new) == ["checked", "charged"]
        assert [step.key for step in (await flow.get_run(new)).steps] == ["check", "charge", "go"]


async def test_a_suspended_run_shows_the_report_and_goes_on_after_a_fixed_deploy(deployed, caplog):
    run_id = await waiting_run(deployed, before)
    async with deployed(renamed) as (flow, _):
        await flow.signal(run_id, "go")
        run = await until(flow, run_id, lambda run: run.waiting_for == "suspended")
        assert run.error.error_type == "redisflow.errors.NonDeterminismError"
        assert "it looks renamed, from 'charge' to 'charge-card'" in run.error.message
        assert await (await flow.open()).wake_stuck("order") == 1
        again = await until(flow, run_id, lambda now: now.waiting_for == "suspended" and now.claims > run.claims)
        assert again.error == run.error
    told = [record for record in caplog.records if record.message.startswith("run.suspended")]
    assert ["it looks renamed" in record.message for record in told] == [True], "once"
    async with deployed(before) as (flow, order):
        assert await (await flow.get_handle(run_id, order)).result(timeout="1m") == ["charged"]
        assert (await flow.get_run(run_id)).error is None


async def test_what_a_worker_of_the_old_code_laid_aside_goes_on_without_a_further_deploy(valkey_url, namespace):
    """In a rolling deploy the last worker of the old code may meet a patched run when all of the new have started."""
    busy, done = asyncio.Event(), asyncio.Event()

    def register(flow: RedisFlow, code: Code) -> Any:
        @flow.define_workflow("busy")
        async def keep_busy(step: Step) -> None:
            async def body() -> None:
                busy.set()
                await done.wait()

            await step.run("body", body)

        return flow.define_workflow("order")(code), keep_busy

    async with RedisFlow(valkey_url, namespace=namespace) as new, RedisFlow(valkey_url, namespace=namespace) as old:
        order, keep_busy = register(new, patched)
        register(old, before)
        async with new.new_worker(lease="30s", concurrency=1):
            handle = await order.run()
            await until(new, handle.id, lambda run: run.waiting_for == "signal")
            await keep_busy.run()
            await asyncio.wait_for(busy.wait(), 30)
            async with old.new_worker(lease="30s"):
                await handle.signal("go")
                await until(new, handle.id, lambda run: run.waiting_for == "suspended")
            done.set()
            assert await handle.result(timeout="1m") == ["checked", "charged"]


async def test_drift_that_is_tolerated_is_logged_and_the_run_goes_on(deployed, caplog):
    run_id = await waiting_run(deployed, before)
    async with deployed(renamed, on_drift="warn") as (flow, order):
        assert await end(flow, order, run_id) == ["charged again"]
    assert any(record.message.startswith(f"run.drift {run_id}") for record in caplog.records)


async def test_wrong_use_is_refused_where_it_is_written(flow: RedisFlow):
    with pytest.raises(InvalidWorkflow, match=r'on_drift of workflow order is "strict" or "warn"'):
        flow.define_workflow("order", on_drift="loose")(before)  # type: ignore[arg-type]  # that is the point

    @flow.define_workflow("asks-in-a-body")
    async def asks_in_a_body(step: Step) -> None:
        async def body() -> None:
            step.patched("here")

        await step.run(StepOptions("body", retry=RetryPolicy(maximum_attempts=1)), body)

    async with flow.new_worker():
        with pytest.raises(WorkflowFailed, match="outside its workflow's code") as told:
            await (await asks_in_a_body.run()).result(timeout="1m")
    assert NotAllowedInWorkflow.__name__ in str(told.value)
