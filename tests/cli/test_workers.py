"""Workers that are sent home from the command line."""

from __future__ import annotations

import asyncio

import pytest

from redisflow import RedisFlow, Step
from tests.cli.conftest import Cli
from tests.stories.world import eventually, until


async def are_alive(flow: RedisFlow, number: int) -> bool:
    return len(await flow.workers()) == number


async def test_workers_are_drained_and_awaited(shop: RedisFlow, cli: Cli):
    workers = [shop.new_worker(grace="20s", lease="1s") for _ in range(2)]
    running = [asyncio.create_task(worker.run()) for worker in workers]
    await eventually(lambda: are_alive(shop, 2))
    names = sorted(worker.name for worker in workers)
    dry = await cli("workers", "drain", "--all", "--dry-run")
    assert (dry.code, dry.out) == (0, "")
    assert "would drain 2 workers" in dry.err
    unsure = await cli("workers", "drain", "--all")
    assert (unsure.code, "add --yes" in unsure.err) == (2, True)
    first = await cli("workers", "drain", names[0], "--wait", "--timeout", "20", "--json")
    assert (first.code, first.json) == (0, [{"id": names[0], "is_told": True}])
    assert [worker.name for worker in await shop.workers()] == [names[1]]
    rest = await cli("workers", "drain", "--all", "--yes", "--wait")
    assert (rest.code, rest.out.splitlines()[1:]) == (0, [f"{names[1]}\tyes"])
    await asyncio.wait_for(asyncio.gather(*running), 20)
    gone = await cli("workers", "drain", names[0])
    assert (gone.code, gone.out.splitlines()[1:]) == (4, [f"{names[0]}\tnot alive"])


async def test_a_wait_that_is_over_says_who_drains_on(working: RedisFlow, cli: Cli):
    workers = await eventually(working.workers)
    said = await cli("workers", "drain", workers[0].name, "--wait", "--timeout", "100ms")
    assert (said.code, f"they drain on: 1 worker ({workers[0].name})" in said.err) == (6, True)
    assert "drains" in (await cli("workers", "list")).out


async def test_the_runs_that_workers_hold_are_listed(shop: RedisFlow, cli: Cli):
    empty = await cli("workers", "runs")
    assert (empty.code, empty.out, "no worker holds a run" in empty.err) == (0, "ID\tWORKER\tIDLE\n", True)
    may_end = asyncio.Event()

    @shop.define_workflow("busy")
    async def busy(step: Step) -> None:
        await step.run("body", may_end.wait)

    async with shop.new_worker(grace=0) as worker:
        run = await shop.run_workflow("busy")
        await until(shop, run.id, lambda run: run.status == "running")
        (held,) = (await cli("workers", "runs", "--json")).json
        assert (held["id"], held["worker"], held["idle_s"] < 60) == (run.id, worker.name, True)
        assert worker.name in (await cli("workers", "runs")).out
        assert (await cli("run", "show", run.id, "--json")).json["worker"] == worker.name
        assert f"worker {worker.name}" in (await cli("run", "show", run.id)).out
        may_end.set()
        await run.result(10)
    assert (await cli("run", "show", run.id, "--json")).json["worker"] is None
    wrong = await cli("workers", "runs", "--limit", "0")
    assert (wrong.code, "from 1 to 1,000" in wrong.err) == (2, True)


@pytest.mark.parametrize("words", [[], ["somebody", "--all"]])
async def test_it_is_said_which_workers_are_meant(shop: RedisFlow, cli: Cli, words: list[str]):
    said = await cli("workers", "drain", *words)
    assert (said.code, "say which workers" in said.err) == (2, True)
