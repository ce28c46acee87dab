"""An import that is cut off at any of its calls: nothing of the run is seen, or all of it, and nothing else stays."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from redisflow import RedisFlow, Step
from redisflow.testing.faults import Proxy, call, open_proxy
from tests.crash.harness import Crew
from tests.keyspace import Raw, breaches
from tests.stories.world import until

pytestmark = pytest.mark.usefixtures("one_server")
# Its hash, its state and its events are put aside, and then it is stored.
CALLS = [("stage_import", 1), ("stage_import", 2), ("stage_import", 3), ("import_run", 1)]


async def exported(flow: RedisFlow, crew: Crew) -> dict[str, Any]:
    async def say(step: Step) -> str:
        step.emit("said")
        step.set_state("phase", "said")
        return "said"

    @flow.define_workflow("say")
    async def workflow(step: Step) -> str:
        return await step.run("say", say, step)

    crew.know(workflow.definition)
    await crew.hire()
    handle = await workflow.run(tags={"a": "b"})
    await until(flow, handle.id, lambda run: run.is_finished)
    return await flow.export_run(handle.id)


def kept(raw: Raw, namespace: str) -> list[str]:
    """What stays there by itself, and is about a run."""
    keys = [key for key in raw("KEYS", f"rf:{{{namespace}:0}}:*") if raw("PTTL", key) == -1]
    return sorted(key.decode().partition("}:")[2] for key in keys if not key.endswith((b":meta", b":workers")))


@pytest.mark.parametrize(("script", "nth"), CALLS)
async def test_a_reply_that_is_lost_stores_the_run_once(
    flow: RedisFlow, crew: Crew, valkey_url: str, raw: Raw, script: str, nth: int
) -> None:
    document = await exported(flow, crew)
    namespace = f"{flow.namespace}-2"
    async with open_proxy(valkey_url) as proxy, RedisFlow(proxy.url, namespace=namespace) as far:
        await far.open()
        lost = proxy.on(call(script, nth=nth)).drop_reply()
        assert (await far.import_run(document)).is_new
        assert lost.fired == 1
        assert replace(await far.get_run(document["id"]), imported_at=None) == await flow.get_run(document["id"])
        again = await far.export_run(document["id"])
        assert {**again, "namespace": flow.namespace} == document
    assert not breaches(raw, namespace)
    assert not raw("KEYS", f"rf:{{{namespace}:0}}:import:*")


@pytest.mark.parametrize(("script", "nth"), CALLS)
async def test_a_client_that_dies_in_between_leaves_nothing_that_stays(
    flow: RedisFlow, crew: Crew, valkey_url: str, raw: Raw, script: str, nth: int
) -> None:
    document = await exported(flow, crew)
    namespace = f"{flow.namespace}-2"
    async with open_proxy(valkey_url) as proxy, RedisFlow(proxy.url, namespace=namespace) as far:
        await far.open()
        await _cut_off(proxy, far, document, script, nth)
    assert kept(raw, namespace) == []
    assert not breaches(raw, namespace)
    async with RedisFlow(valkey_url, namespace=namespace) as near:
        assert [run.id async for run in near.list_runs()] == []
        assert (await near.import_run(document)).is_new
        assert replace(await near.get_run(document["id"]), imported_at=None) == await flow.get_run(document["id"])


async def _cut_off(proxy: Proxy, far: RedisFlow, document: dict[str, Any], script: str, nth: int) -> None:
    """From this call on, nothing of the client comes to the server."""
    cut = proxy.on(call(script, nth=nth)).blackhole()
    importing = asyncio.ensure_future(far.import_run(document))
    await asyncio.wait_for(cut.wait(), 20)
    importing.cancel()
    await asyncio.gather(importing, return_exceptions=True)
    proxy.reset()
