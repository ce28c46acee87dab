"""Traps of the network: replies that are lost on their way, behind a proxy that may drop them."""

from __future__ import annotations

import asyncio

import pytest

from redisflow import RedisFlow, Step
from redisflow.testing.faults import call, open_proxy
from tests.crash.harness import Crew

WITHIN_S = 10.0


@pytest.mark.parametrize("script", ["claim_runs", "commit_run", "park_run", "finish_run"])
@pytest.mark.usefixtures("one_server")
async def test_a_reply_that_is_lost_costs_no_crash_no_lease_and_no_body(
    flow: RedisFlow, crew: Crew, valkey_url: str, script: str
) -> None:
    async def work() -> str:
        crew.journal.body_starts()
        return "done"

    @flow.define_workflow("lossy")
    async def lossy(step: Step) -> list[str]:
        first = await step.run("first", work)
        await step.sleep("nap", "10ms")
        return [first, await step.run("second", work)]

    crew.know(lossy.definition)
    async with open_proxy(valkey_url) as proxy:
        crew.url = proxy.url
        worker, _ = await crew.hire()
        # Idle claims are over; the next call of the script is about this run.
        await asyncio.sleep(0.05)  # nothing tells of it from outside
        lost = proxy.on(call(script, nth=1)).drop_reply()
        handle = await lossy.run()
        assert await handle.result(timeout=WITHIN_S) == ["done", "done"]
        run = await handle.get()
        await crew.dismiss(worker)
        crew.workers.clear()
    assert lost.fired == 1
    assert (run.claims, run.crashes) == (2, 0)
    assert len(crew.journal.starts) == 2
