"""Races: which one won, and in which order the others were given up, is the same in every process."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from redisflow.authoring.step import Step
from tests.engine.director import Director
from tests.engine.racing import RACES
from tests.engine.stage import Stage, define, replay, saw

ROOT = Path(__file__).parents[2]


def echo(value: Any) -> Any:
    return value


def pick(running: list[str]) -> str:
    return "fails" if "fails" in running else running[len(running) // 2]


@pytest.mark.parametrize("name", RACES)
@pytest.mark.parametrize("seed", ["1", "2"])
def test_a_race_replays_alike_in_another_process_with_another_hash_seed(name: str, seed: str):
    stage = Stage(define(RACES[name]), director=Director(pick)).play()
    own = replay(stage)
    [commit] = own.commands
    answer = subprocess.run(
        [sys.executable, "-m", "tests.engine.racing", name],
        input=json.dumps([record.hex() for record in stage.store.records]),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONWARNINGS": "error"},
        check=False,
    )
    assert answer.stderr == ""
    assert json.loads(answer.stdout) == [own.saw, repr(commit.then), 0]
    assert len(own.saw) > 10


def test_the_loser_of_a_race_is_cancelled_and_not_recorded():
    async def workflow(step: Step) -> str:
        fast, slow = (asyncio.create_task(step.run(name, echo, name)) for name in ("fast", "slow"))
        await asyncio.wait([fast, slow], return_when=asyncio.FIRST_COMPLETED)
        slow.cancel()
        return await step.run("after", echo, "after")

    stage = Stage(define(workflow)).play()
    assert stage.output == "after"
    assert stage.canceled == ["slow"]
    assert len(stage.store.records) == 2


def test_a_loser_that_had_ended_too_is_recorded_and_still_loses_on_every_pass():
    async def workflow(step: Step) -> Any:
        one, two = (asyncio.create_task(step.run(name, echo, name)) for name in ("one", "two"))
        done, pending = await asyncio.wait([one, two], return_when=asyncio.FIRST_COMPLETED)
        saw([task.result() for task in done])
        for task in pending:
            task.cancel()
        await step.sleep("pause", 1)
        return one.cancelled(), two.cancelled()

    stage = Stage(define(workflow))
    stage.claim()
    stage.crash()
    stage.claim()
    # After a crash results wait for their commit: both have ended before the code sees the first.
    stage.end_body("two")
    stage.end_body("one")
    stage.play()
    assert stage.output == (True, False)
    assert [one.saw for one in stage.passes[1:]] == [[["two"]], [["two"]]]
    assert len(stage.store.records) == 4


def test_a_step_beats_a_durable_sleep_or_loses_to_it():
    async def workflow(step: Step) -> str:
        work = asyncio.create_task(step.run("work", echo, "worked"))
        timer = asyncio.create_task(step.sleep("too long", "1m"))
        await asyncio.wait([work, timer], return_when=asyncio.FIRST_COMPLETED)
        if timer.done():
            work.cancel()
            return "timed out"
        timer.cancel()
        return work.result()

    assert Stage(define(workflow)).play().output == "worked"

    late = Stage(define(workflow))
    late.claim()
    late.store_commit()
    late.acknowledge()
    late.pass_time(59_999)
    assert late.running() == ["work"]
    late.pass_time(1)
    assert late.canceled == ["work"]
    assert late.play().output == "timed out"


def test_shield_keeps_a_step_that_its_waiter_gave_up():
    async def workflow(step: Step) -> Any:
        kept = asyncio.create_task(step.run("kept", echo, "kept"))

        async def wait() -> Any:
            return await asyncio.shield(kept)

        waiter = asyncio.create_task(wait())
        await step.run("another", echo, 1)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        return waiter.cancelled(), await kept

    stage = Stage(define(workflow), director=Director(min)).play()
    assert stage.output == (True, "kept")
    assert stage.counts == {"kept": 1, "another": 1}
