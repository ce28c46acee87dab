"""What a person asks for survives lost replies, and what workers carry on survives the death of any of them."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from typing import Any

import pytest

from redisflow import RedisFlow, RetryPolicy, Step, StepOptions, WorkflowFailed
from redisflow.testing.faults import call, open_proxy
from tests.crash.audit import audit, leftovers
from tests.crash.harness import Crew, Fault
from tests.crash.test_crash_points import FAULTS
from tests.keyspace import Raw, raw_calls
from tests.stories.world import eventually, until

ONCE = RetryPolicy(maximum_attempts=1)
RUNS = 3


@pytest.mark.parametrize(
    "script",
    [
        "pause_run",
        "resume_run",
        "retry_run",
        "stage_fork",
        "create_run",
        "pause_control",
        "start_release",
        "resume_control",
    ],
)
@pytest.mark.usefixtures("one_server")
async def test_a_reply_that_is_lost_changes_nothing_of_what_was_asked(
    flow: RedisFlow, crew: Crew, valkey_url: str, raw: Raw, script: str
) -> None:
    is_broken = True
    bodies: Counter[str] = Counter()

    async def fine() -> str:
        bodies["fine"] += 1
        return "fine"

    async def pay() -> str:
        bodies["pay"] += 1
        if is_broken:
            raise OSError("away")
        return "paid"

    @flow.define_workflow("pay")
    async def workflow(step: Step) -> str:
        return await step.run("fine", fine) + await step.run(StepOptions("pay", retry=ONCE), pay)

    crew.know(workflow.definition)
    await crew.hire()
    async with open_proxy(valkey_url) as proxy, RedisFlow(proxy.url, namespace=flow.namespace) as far:
        await far.open()
        first = await far.get_handle((await workflow.run()).id, workflow)
        with pytest.raises(WorkflowFailed):
            await first.result(timeout="20s")
        is_broken = False
        lost = proxy.on(call(script, nth=1)).drop_reply()
        await first.retry()
        assert await first.result(timeout="20s") == "finepaid"
        fork = await first.fork("pay")
        assert await fork.result(timeout="20s") == "finepaid"
        await far.controls.pause(workflow="pay")
        waiting = await first.rerun()
        await until(flow, waiting.id, lambda run: run.waiting_for == "held")
        await waiting.pause()
        await waiting.resume()
        await until(flow, waiting.id, lambda run: run.waiting_for == "held")
        await far.controls.release(workflow="pay", rate=50)
        assert await waiting.result(timeout="20s") == "finepaid"
        await far.controls.resume(workflow="pay")
        assert lost.fired == 1
    assert bodies == {"fine": 2, "pay": 4}
    assert (await flow.get_run(first.id)).retries == 1
    assert sum(int(raw("ZCARD", key)) for key in raw("KEYS", f"rf:{{{flow.namespace}:0}}:done:*")) == 3


@FAULTS
async def test_a_release_survives_a_fault_at_any_call_of_the_worker_that_drives_it(
    fault: Fault, valkey_url: str
) -> None:
    for first in range(1, 60, 12):
        if not all(await asyncio.gather(*(_survives(fault, at, valkey_url) for at in range(first, first + 12)))):
            return


async def _survives(fault: Fault, at: int, url: str) -> bool:
    """Whether the fault happened before the runs had ended."""
    namespace = f"release-{secrets.token_hex(6)}"
    raw, close = raw_calls(url)
    starts: Counter[int] = Counter()
    try:
        async with RedisFlow(url, namespace=namespace) as flow:
            crew = Crew(url, namespace, raw)

            async def note(number: int) -> int:
                starts[number] += 1
                return number

            @flow.define_workflow("count")
            async def count(number: int, step: Step) -> int:
                return await step.run("note", note, number)

            crew.know(count.definition)
            try:
                await flow.controls.pause(workflow="count")
                handles = await count.run_many(range(RUNS))
                await flow.controls.release(workflow="count", rate=100)
                ended = asyncio.ensure_future(asyncio.gather(*(handle.result(timeout="30s") for handle in handles)))
                worker, backend = await crew.hire(fault=fault, at=at, lease="10m")
                stopped = asyncio.ensure_future(backend.stopped.wait())
                either: set[asyncio.Future[Any]] = {ended, stopped}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                stopped.cancel()
                fired = backend.fired
                if backend.stopped.is_set():
                    await crew.dismiss(worker)
                    crew.age()
                    _, helper = await crew.hire(lease="10m")
                    await crew.reclaim(helper.real)
                assert await ended == list(range(RUNS)), (fault, at)
                await flow.controls.resume(workflow="count")
                await eventually(lambda: _is_over(flow))
            finally:
                await crew.close()
            assert all(times <= 2 for times in starts.values()), (fault, at, starts)
            assert not audit(raw, namespace), (fault, at)
            assert not leftovers(raw, namespace), (fault, at)
            return fired
    finally:
        close()


async def _is_over(flow: RedisFlow) -> bool:
    return await flow.controls.list() == []
