"""A worker in a burst ends when nothing is left to do."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from redisflow import RedisFlow, Step, define_workflow_spec
from redisflow.errors import InvalidWorkflow

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
