"""Several things at once: bodies, retries and sleeps of one run, over one claim and over several."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from redisflow.authoring.body import current_body
from redisflow.authoring.options import StepOptions
from redisflow.authoring.step import Step
from redisflow.engine.commands import GoOn, Park
from redisflow.errors import StepError
from redisflow.retry import NO_RETRY, RetryPolicy
from tests.engine.director import Chance
from tests.engine.stage import Stage, define

POLICY = RetryPolicy(initial_interval=5, maximum_attempts=3, jitter=0)


def echo(value: Any = None) -> Any:
    return value


def fail_first(times: int) -> int:
    body = current_body.get()
    assert body is not None
    if body.attempt <= times:
        raise ValueError("not yet")
    return body.attempt


def fail() -> None:
    raise ValueError("no")


async def all_at_once(step: Step) -> Any:
    return await asyncio.gather(
        step.sleep("pause", "1m"),
        step.run(StepOptions("retried", retry=POLICY), fail_first, 2),
        step.run("long", echo, "long"),
    )


def settle(stage: Stage) -> None:
    """Store and see whatever is to be committed, as long as the run is held."""
    while stage.is_held and (stage.can_store or stage.can_acknowledge):
        if stage.can_acknowledge:
            stage.acknowledge()
        else:
            stage.store_commit()


def test_while_a_body_runs_retries_and_timers_act_where_it_runs():
    stage = Stage(define(all_at_once))
    stage.claim()
    settle(stage)
    assert stage.running() == ["retried", "long"]
    stage.end_body("retried")
    settle(stage)
    assert stage.held.next_due_at_ms == stage.now_ms + 5_000
    stage.pass_time(4_999)
    assert stage.running() == ["long"]
    stage.pass_time(1)
    assert stage.running() == ["long", "retried"]
    stage.end_body("retried")
    settle(stage)
    stage.pass_time(10_000)
    stage.end_body("retried")
    settle(stage)
    stage.pass_time(60_000)
    settle(stage)
    assert stage.running() == ["long"]
    stage.end_body("long")
    assert stage.play().output == [None, 3, "long"]
    assert len(stage.passes) == 1


def test_when_no_body_runs_the_run_waits_for_the_first_that_is_due():
    stage = Stage(define(all_at_once))
    stage.claim()
    settle(stage)
    stage.end_body("long")
    settle(stage)
    stage.end_body("retried")
    settle(stage)
    assert not stage.is_held
    park = stage.commits[-1].then
    assert isinstance(park, Park)
    assert (park.reason, park.due_at_ms) == ("retry", stage.now_ms + 5_000)
    stage.play()
    assert stage.output == [None, 3, "long"]
    assert stage.counts == {"long": 1, "retried": 3}
    parks = [commit.then.reason for commit in stage.commits if isinstance(commit.then, Park)]
    assert parks == ["retry", "retry", "timer"]


@pytest.mark.parametrize("seed", range(30))
def test_it_all_comes_to_the_same_over_crashes(seed: int):
    stage = Stage(define(all_at_once), director=Chance(seed, crash=0.15)).play()
    assert stage.output == [None, 3, "long"]


def test_completed_branches_answer_at_once_after_a_crash_and_those_in_flight_run_again():
    async def branch(step: Step, name: str) -> list[Any]:
        return [await step.run(f"{name} first", echo, name), await step.run(f"{name} second", echo, name)]

    async def workflow(step: Step) -> Any:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(branch(step, name)) for name in "abc"]
        return [task.result() for task in tasks]

    stage = Stage(define(workflow))
    stage.claim()
    stage.end_body("b first")
    settle(stage)
    stage.crash()
    stage.claim()
    assert sorted(stage.running()) == ["a first", "b second", "c first"]
    assert stage.play().output == [["a", "a"], ["b", "b"], ["c", "c"]]
    assert stage.counts["b first"] == 1


@pytest.mark.parametrize("how", ["gather", "TaskGroup", "anyio"])
def test_a_failing_branch_can_be_caught_cleaned_up_after_and_raised_again(how: str):
    async def together(*calls: Callable[[], Any]) -> None:
        async def run(call: Callable[[], Any]) -> None:
            await call()

        match how:
            case "gather":
                await asyncio.gather(*(call() for call in calls))
            case "TaskGroup":
                async with asyncio.TaskGroup() as group:
                    for call in calls:
                        group.create_task(run(call))
            case _:
                async with anyio.create_task_group() as tasks:
                    for call in calls:
                        tasks.start_soon(run, call)

    async def workflow(step: Step) -> None:
        try:
            await together(
                lambda: step.run("reserve", echo),
                lambda: step.run(StepOptions("charge", retry=NO_RETRY), fail),
                lambda: step.run("notify", echo),
            )
        except (StepError, ExceptionGroup):
            await step.run("release", echo)
            await step.sleep("pause", 1)
            raise

    stage = Stage(define(workflow))
    stage.claim()
    stage.end_body("reserve")
    settle(stage)
    stage.end_body("charge")
    stage.play()
    assert stage.store.status == "failed"
    assert stage.counts["release"] == 1
    assert stage.failure is not None
    assert stage.failure.error_type == ("redisflow.errors.StepError" if how == "gather" else "ExceptionGroup")
    assert "step 'charge' failed" in stage.failure.traceback


def test_a_body_starts_once_the_records_before_its_call_are_stored_and_waits_for_no_others():
    async def chain(step: Step, name: str) -> None:
        for number in range(3):
            await step.run(f"{name}{number}", echo)

    async def workflow(step: Step) -> None:
        await asyncio.gather(*(chain(step, name) for name in "abc"))

    stage = Stage(define(workflow))
    stage.claim()
    stage.end_body("a0")
    assert stage.running() == ["b0", "c0"]
    stage.store_commit()
    # While the answer is on its way, another body ends: its record is in the next commit.
    stage.end_body("b0")
    stage.acknowledge()
    assert stage.can_store
    assert stage.running() == ["c0", "a1"]
    stage.store_commit()
    stage.end_body("a1")
    stage.acknowledge()
    assert stage.running() == ["c0", "b1"]
    assert stage.play().store.status == "succeeded"


def test_many_chains_keep_each_other_busy():
    """However often results come in, each chain goes on after one commit of its own: none waits for a quiet moment."""

    async def chain(step: Step, number: int) -> None:
        for _ in range(20):
            await step.run(f"chain {number}", echo)

    async def workflow(step: Step) -> None:
        await asyncio.gather(*(chain(step, number) for number in range(10)))

    stage = Stage(define(workflow))
    stage.claim()
    least = 10
    while stage.is_held:
        # One body ends between any two messages.
        for _ in range(2):
            if stage.running():
                stage.end_body(stage.running()[0])
            if stage.can_acknowledge:
                stage.acknowledge()
            elif stage.can_store:
                stage.store_commit()
            if not stage.is_held:
                break
        if stage.is_held and 40 < len(stage.starts) < 150:
            least = min(least, len(stage.running()))
    assert stage.store.status == "succeeded"
    assert least >= 4


def test_sleeps_fire_in_the_order_of_their_due_times():
    async def workflow(step: Step) -> list[int]:
        order: list[int] = []

        async def nap(seconds: int) -> None:
            await step.sleep("nap", seconds)
            order.append(seconds)

        await asyncio.gather(nap(3), nap(1), nap(2), nap(1))
        return order

    for seed in range(10):
        assert Stage(define(workflow), director=Chance(seed)).play().output == [1, 1, 2, 3]


def test_a_run_that_waits_holds_nothing_and_commits_once():
    async def workflow(step: Step) -> None:
        await step.sleep("pause", "30d")

    stage = Stage(define(workflow)).play()
    assert [type(commit.then).__name__ for commit in stage.commits] == ["Park", "Finish"]
    assert not any(isinstance(commit.then, GoOn) for commit in stage.commits)
