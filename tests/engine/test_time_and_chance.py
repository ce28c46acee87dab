"""Time, chance and logging: the same on every pass, and each thing said once."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from datetime import timedelta
from typing import Any

import pytest

from redisflow.authoring.options import StepOptions
from redisflow.authoring.step import Step
from redisflow.durations import from_ms
from redisflow.retry import NO_RETRY, RetryPolicy
from tests.engine.director import Chance
from tests.engine.stage import T0, Stage, define, replay, saw


def echo(value: Any = None) -> Any:
    return value


async def looks(step: Step) -> None:
    saw(step.now())
    for number in range(3):
        await step.run("one", echo, number)
        saw(step.now())
        await step.sleep("pause", number)
        saw(step.now())
    await step.gather(step.run("two", echo), step.sleep("other pause", "1h"))
    saw(step.now())


@pytest.mark.parametrize("seed", range(20))
def test_now_never_decreases_and_is_the_same_on_every_pass(seed: int):
    stage = Stage(define(looks), director=Chance(seed, crash=0.1), slack_ms=5).play()
    times = stage.passes[-1].saw
    assert times == sorted(times)
    assert len(times) == 8
    for one in stage.passes:
        assert replay(stage, one.stored).saw == times[: len(replay(stage, one.stored).saw)]
    assert times[0] == from_ms(stage.store.started_at_ms or 0)


def test_now_is_when_the_run_learnt_the_last_thing():
    async def workflow(step: Step) -> list[Any]:
        times = [step.now()]
        await step.run("one", echo)
        times.append(step.now())
        await step.sleep("pause", 10)
        times.append(step.now())
        return times

    stage = Stage(define(workflow))
    stage.claim()
    stage.now_ms += 70
    stage.end_body("one")
    start, after_step, after_sleep = stage.play().output
    assert start == from_ms(T0 + 1_000)
    assert after_step - start == timedelta(milliseconds=70)
    assert after_sleep - after_step == timedelta(seconds=10)


def test_now_does_not_follow_a_clock_that_steps_back():
    async def workflow(step: Step) -> list[Any]:
        times = []
        for _ in range(3):
            await step.run("one", echo)
            times.append(step.now())
        return times

    stage = Stage(define(workflow))
    stage.claim()
    for back_ms in (0, 5_000, 100):
        while not stage.running():
            stage.director.choose(stage)
        stage.now_ms += 1_000 - back_ms
        stage.end_body(stage.running()[0])
    times = stage.play().output
    assert times == sorted(times)


def test_now_does_not_step_back_between_results_that_wait_for_their_commit():
    async def workflow(step: Step) -> list[Any]:
        times = []

        async def work(name: str) -> None:
            await step.run(name, echo)
            times.append(step.now())

        await asyncio.gather(work("one"), work("two"))
        return times

    stage = Stage(define(workflow))
    stage.claim()
    stage.crash()
    stage.claim()
    stage.end_body("one")
    stage.now_ms -= 500
    stage.end_body("two")
    times = stage.play().output
    assert times == sorted(times)


def test_sleep_until_a_moment_that_is_over_ends_at_once():
    async def workflow(step: Step) -> Any:
        before = step.now()
        await step.sleep_until("yesterday", before - timedelta(days=1))
        return (step.now() - before).total_seconds()

    stage = Stage(define(workflow)).play()
    assert stage.output == 0
    assert len(stage.passes) == 1


def test_sleep_until_a_moment_ends_at_it():
    async def workflow(step: Step) -> Any:
        moment = step.now() + timedelta(days=3, milliseconds=7)
        await step.sleep_until("then", moment)
        return step.now() == moment

    assert Stage(define(workflow), slack_ms=50).play().output is True


def test_a_sleep_is_never_short_whatever_the_workers_clock_lags():
    async def workflow(step: Step) -> None:
        await step.sleep("pause", "1s")

    for seed in range(20):
        stage = Stage(define(workflow), director=Chance(seed, crash=0), slack_ms=200)
        stage.claim()
        asked_at_ms = stage.now_ms
        stage.play()
        assert stage.now_ms - asked_at_ms >= 1_000


def test_a_sleep_keeps_its_due_time_over_crashes_and_other_durations():
    seconds = iter([10, 99_999, 1])

    async def workflow(step: Step) -> Any:
        begun = step.now()
        await step.sleep("pause", next(seconds))
        return (step.now() - begun).total_seconds()

    stage = Stage(define(workflow))
    stage.claim()
    stage.store_commit()
    stage.acknowledge()
    assert stage.store.status == "waiting"
    stage.claim()
    stage.crash()
    assert stage.play().output >= 10
    assert stage.now_ms < T0 + 60_000


def test_random_and_uuid_are_the_same_on_every_pass_and_differ_between_runs():
    async def workflow(step: Step) -> Any:
        values = [step.uuid(), step.random.random(), step.random.randint(0, 10**9), step.uuid()]
        saw(list(values))
        await step.sleep("pause", 1)
        values.append(step.uuid())
        saw(list(values))
        return [str(value) for value in values]

    stage = Stage(define(workflow)).play()
    assert stage.passes[0].saw == stage.passes[1].saw[:1]
    assert len(set(stage.output)) == 5
    assert uuid.UUID(stage.output[0]).version == 4
    assert Stage(define(workflow), run_id="run-2").play().output != stage.output


def test_the_global_random_source_is_left_alone():
    async def workflow(step: Step) -> None:
        step.random.random()
        step.uuid()

    random.seed(1)
    expected = random.random()
    random.seed(1)
    Stage(define(workflow)).play()
    assert random.random() == expected


def test_info_is_the_same_on_every_pass():
    async def workflow(step: Step) -> None:
        saw((step.info, step.version, step.info.id, step.info.created_at))
        await step.sleep("pause", 1)

    stage = Stage(define(workflow)).play()
    first, second = stage.passes
    assert first.saw == second.saw
    assert first.saw[0][1:] == (None, "run-1", from_ms(T0))


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_the_log_says_each_thing_once_over_parks(caplog: pytest.LogCaptureFixture):
    async def workflow(step: Step) -> None:
        step.log.info("start")
        await step.run("one", echo)
        step.log.warning("after %s", "one")
        try:
            await step.sleep("pause", 1)
        finally:
            step.log.info("clean up")
        await step.sleep("pause", 2)
        step.log.info("end")

    with caplog.at_level(logging.INFO, "redisflow.workflow"):
        stage = Stage(define(workflow)).play()
    assert len(stage.passes) == 3
    assert said(caplog) == ["start", "after one", "clean up", "end"]
    assert caplog.records[0].run_id == "run-1"
    assert caplog.records[0].funcName == "workflow"


def test_the_log_says_each_thing_once_over_workflow_attempts(caplog: pytest.LogCaptureFixture):
    async def workflow(step: Step) -> None:
        step.log.info("start")
        await step.run("one", echo)
        step.log.info("after one")
        await step.run(StepOptions("fails once", retry=NO_RETRY), fail_once)
        step.log.info("end")

    def fail_once() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError("again")

    attempts: list[int] = []
    with caplog.at_level(logging.INFO, "redisflow.workflow"):
        Stage(define(workflow, retry=RetryPolicy(maximum_attempts=2))).play()
    assert said(caplog) == ["start", "after one", "end"]


def test_the_log_is_quiet_where_its_level_is_not_enabled(caplog: pytest.LogCaptureFixture):
    async def workflow(step: Step) -> bool:
        step.log.debug("not shown")
        return step.log.isEnabledFor(logging.DEBUG)

    with caplog.at_level(logging.INFO, "redisflow.workflow"):
        assert Stage(define(workflow)).play().output is False
    assert said(caplog) == []
