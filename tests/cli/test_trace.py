"""Runs as bars over time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis.asyncio

from redisflow import RedisFlow, RetryPolicy, Step, StepOptions
from redisflow.cli.trace_picture import draw_trace
from redisflow.client.family import Family
from redisflow.run_id import new_run_id
from redisflow.runs import StepRun, WorkflowRun
from tests.cli.conftest import Cli
from tests.stories.world import eventually


@pytest.fixture
async def family(shop: RedisFlow) -> AsyncIterator[RedisFlow]:
    """A workflow whose first step fails once, with a child that has a child."""
    failed: list[int] = []

    async def flaky() -> str:
        if not failed:
            failed.append(1)
            msg = "not\x1b[31m yet"
            raise ValueError(msg)
        return "done"

    @shop.define_workflow("leaf")
    async def leaf(step: Step) -> Any:
        return await step.wait_for_signal("go")

    @shop.define_workflow("branch")
    async def branch(step: Step) -> Any:
        return await step.run_workflow(leaf)

    @shop.define_workflow("root")
    async def root(step: Step) -> Any:
        await step.run(StepOptions("try", retry=RetryPolicy(initial_interval="10ms")), flaky)
        return await step.run_workflow(branch)

    worker = asyncio.create_task(shop.new_worker(grace=0).run())
    yield shop
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def waiting_leaf(flow: RedisFlow) -> str:
    async def look() -> list[str]:
        return [run.id async for run in flow.list_runs(workflow="leaf", status="waiting:signal")]

    return (await eventually(look))[0]


async def test_a_trace_shows_attempts_waits_and_children_below_their_step(family: RedisFlow, cli: Cli):
    run_id = (await cli("run", "start", "root")).out.strip()
    leaf = await waiting_leaf(family)
    told = (await cli("run", "trace", run_id)).out
    assert "\x1b" not in told
    lines = told.splitlines()
    assert lines[0].startswith("root  waiting (child)  for ")
    assert any(line.startswith("✔ try") and "x" in line and "2 attempts" in line for line in lines)
    assert any("attempt 1" in line and "ValueError: not\\x1b[31m yet" in line for line in lines)
    assert any(line.startswith("    branch  waiting (child)") for line in lines)
    assert any(line.startswith("        leaf  waiting (signal)") for line in lines)
    document = (await cli("run", "trace", run_id, "--json")).json
    branch = document["steps"][1]["child"]
    assert branch["steps"][0]["child"]["id"] == leaf
    assert [attempt["attempt"] for attempt in document["steps"][0]["attempts"]] == [1, 2]
    assert document["steps"][0]["child"] is None


async def test_generations_and_runs_are_bounded(family: RedisFlow, cli: Cli):
    run_id = (await cli("run", "start", "root")).out.strip()
    leaf = await waiting_leaf(family)
    for bound in (("--depth", "1"), ("--limit", "2")):
        assert f"run {leaf} (not read)" in (await cli("run", "trace", run_id, *bound)).out
    wrong = await cli("run", "trace", run_id, "--depth", "-1")
    assert (wrong.code, wrong.out) == (2, "")


async def test_a_child_that_cannot_be_read_does_not_hide_its_parent(family: RedisFlow, cli: Cli, valkey_url: str):
    run_id = (await cli("run", "start", "root")).out.strip()
    leaf = await waiting_leaf(family)
    async with redis.asyncio.Redis.from_url(valkey_url) as raw:
        await raw.hset(f"rf:{{{family.namespace}:0}}:run:{leaf}", "h", "nonsense")
    why = "cannot be read here: its key is damaged, `redisflow audit` says where"
    said = await cli("run", "trace", run_id)
    assert said.code == 0
    assert f"run {leaf} ({why})" in said.out
    branch = (await cli("run", "trace", run_id, "--json")).json["steps"][1]
    assert branch["child_missing"] is None
    assert (branch["child"]["steps"][0]["child"], branch["child"]["steps"][0]["child_missing"]) == (None, why)


async def test_a_trace_that_is_followed_ends_with_the_run(family: RedisFlow, cli: Cli):
    run_id = (await cli("run", "start", "root")).out.strip()
    leaf = await waiting_leaf(family)
    following = asyncio.ensure_future(cli("run", "trace", run_id, "--live"))
    await family.signal(leaf, "go", 1)
    said = await asyncio.wait_for(following, 30)
    assert (said.code, said.out.startswith("root  succeeded  took ")) == (0, True)
    failed = (await cli("run", "start", "order", "-i", "500")).out.strip()
    assert (await cli("run", "trace", failed, "--live")).code == 1


def test_a_night_in_which_nothing_runs_is_drawn_short():
    began = datetime(2026, 1, 1, tzinfo=UTC)
    asleep, awake = began + timedelta(seconds=2), began + timedelta(hours=23)
    ended = awake + timedelta(seconds=3)
    steps = (
        StepRun(key="a", kind="run", status="succeeded", attempt=1, started_at=began, finished_at=asleep),
        StepRun(key="night", kind="sleep", status="succeeded", started_at=asleep, finished_at=awake),
    )
    run = WorkflowRun(
        id=new_run_id(0),
        workflow="nightly",
        version=None,
        queue="default",
        status="succeeded",
        waiting_for=None,
        input=None,
        output=None,
        error=None,
        attempt=1,
        claims=2,
        crashes=0,
        created_at=began,
        available_at=None,
        started_at=began,
        finished_at=ended,
        deadline_at=None,
        steps=steps,
    )
    lines = draw_trace(Family(run, {run.id: run}), ended, 60, plain=True).plain.splitlines()
    assert "‖ 22 h ‖" in lines[1]
    bars = {line.split()[1]: line for line in lines[3:]}
    assert bars["a"].rindex("..") <= bars["sleep"].index(".."), "one begins where the other ends"
    assert all(len(line) < 100 for line in lines)
