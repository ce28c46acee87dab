"""Crashes: what is stored counts, what is not happens again, and code that kills its worker cannot do so for ever."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from redisflow.authoring.options import StepOptions
from redisflow.authoring.step import Step
from redisflow.engine.commands import Finish, GoOn, Returned
from redisflow.errors import StepError
from redisflow.retry import NO_RETRY, RetryPolicy
from tests.engine.director import Director
from tests.engine.stage import Stage, define, saw


def echo(value: Any) -> Any:
    return value


def fail() -> None:
    raise ValueError("no")


async def order(step: Step) -> list[Any]:
    """Something of everything."""
    results: list[Any] = [await step.run("validate", echo, 1)]
    results += await asyncio.gather(step.run("charge", echo, 2), step.run("reserve", echo, 3), step.sleep("wait", 1))
    try:
        await step.run(StepOptions("ship", retry=RetryPolicy(initial_interval=1, maximum_attempts=2)), fail)
    except StepError as error:
        results.append(await step.run("refund", echo, error.attempts))
    await step.sleep("cool off", "1h")
    saw(tuple(results))
    return results


class CrashAt(Director):
    """Everything goes well, but for one crash before the n-th thing that happens."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.left = place
        self.crashed = False

    def choose(self, stage: Stage) -> None:
        if self.left == 0 and not self.crashed:
            self.crashed = True
            stage.crash()
        else:
            self.left -= 1
            super().choose(stage)


def test_a_crash_at_any_point_changes_nothing_but_how_often_bodies_run():
    calm = Stage(define(order)).play()
    for place in itertools.count():
        director = CrashAt(place)
        stage = Stage(define(order), director=director).play()
        assert stage.output == calm.output
        assert sum((stage.counts - calm.counts).values()) <= 2
        if not director.crashed:
            break
    assert place > 15


def test_results_travel_with_what_follows_and_the_last_ones_with_the_end():
    async def workflow(step: Step) -> int:
        one = await step.run("one", echo, 1)
        return await step.run("two", echo, one + 1)

    stage = Stage(define(workflow)).play()
    assert [(len(commit.extension.records), type(commit.then)) for commit in stage.commits] == [(1, GoOn), (1, Finish)]


def test_a_result_is_committed_at_once_while_its_siblings_run():
    async def workflow(step: Step) -> Any:
        return await asyncio.gather(*(step.run("part", echo, number) for number in range(3)))

    stage = Stage(define(workflow))
    stage.claim()
    stage.end_body("part#1")
    [commit] = stage.commits
    assert isinstance(commit.then, GoOn)
    stage.end_body("part")
    stage.store_commit()
    stage.acknowledge()
    assert [len(commit.extension.records) for commit in stage.commits] == [1, 1]
    assert stage.play().output == [0, 1, 2]


class KillsItsWorker(BaseException):
    """Stands for what ends the process in workflow code: a broken C library, an out-of-memory kill."""


class Deadly(Stage):
    """Workflow code calls `die`, and the worker is gone; the answer of the engine is never seen."""

    def _do(self, commands: Any) -> None:
        if dying:
            dying.clear()
            raise KillsItsWorker
        super()._do(commands)

    def play_until_crash(self) -> None:
        try:
            self.play()
        except KillsItsWorker:
            if self.store.status == "running":
                self.store.crashes += 1
                self.store.status = "pending"


dying: list[bool] = []


def die() -> None:
    dying.append(True)


def test_workflow_code_that_kills_its_worker_after_a_step_runs_the_body_twice_and_no_more():
    async def workflow(step: Step) -> None:
        await step.run("charge", echo, 1)
        die()
        await asyncio.get_running_loop().create_future()

    stage = Deadly(define(workflow))
    stage.play_until_crash()
    assert (stage.counts["charge"], stage.store.crashes, len(stage.store.records)) == (1, 1, 0)
    # Claimed again after a crash, the result is stored before the code goes on, which resets the count.
    stage.play_until_crash()
    assert (stage.counts["charge"], stage.store.crashes, len(stage.store.records)) == (2, 1, 1)
    for crashes in (2, 3):
        stage.play_until_crash()
        assert (stage.counts["charge"], stage.store.crashes, len(stage.store.records)) == (2, crashes, 1)


def test_after_a_crash_each_result_is_stored_before_the_code_sees_it():
    async def workflow(step: Step) -> list[int]:
        results = []
        for number in range(3):
            results.append(await step.run("one", echo, number))
            saw(number)
        await step.sleep("pause", 0)
        saw("slept")
        return results

    stage = Stage(define(workflow))
    stage.claim()
    stage.crash()
    stage.claim()
    for number in range(3):
        stage.end_body(stage.running()[0])
        assert stage.passes[-1].saw == list(range(number))
        stage.store_commit()
        assert stage.passes[-1].saw == list(range(number))
        stage.acknowledge()
        assert stage.passes[-1].saw == list(range(number + 1))
    assert stage.play().output == [0, 1, 2]
    assert stage.passes[-1].saw[-1] == "slept"


def test_after_a_crash_results_are_seen_in_the_order_of_their_numbers():
    async def workflow(step: Step) -> None:
        async def work(name: str) -> None:
            saw(await step.run(name, echo, name))

        await asyncio.gather(*map(work, "abc"))

    stage = Stage(define(workflow))
    stage.claim()
    stage.crash()
    stage.claim()
    for key in "cab":
        stage.end_body(key)
    assert stage.passes[-1].saw == []
    stage.store_commit()
    stage.acknowledge()
    assert stage.passes[-1].saw == ["c"]
    stage.play()
    assert stage.passes[-1].saw == ["c", "a", "b"]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_an_exit_in_workflow_code_fails_the_run_and_not_the_process(kind: type[BaseException]):
    async def workflow(step: Step) -> None:
        await step.run("one", echo, 1)
        raise kind("out")

    stage = Stage(define(workflow)).play()
    assert stage.store.status == "failed"
    assert stage.failure is not None
    assert stage.failure.error_type == kind.__name__


def test_an_exit_in_a_task_group_fails_the_run_and_not_the_process():
    async def workflow(step: Step) -> None:
        async def leave() -> None:
            await step.run("one", echo, 1)
            raise SystemExit(2)

        async with asyncio.TaskGroup() as group:
            group.create_task(leave())
            group.create_task(step.sleep("pause", "1h"))

    stage = Stage(define(workflow)).play()
    assert stage.failure is not None
    assert stage.failure.error_type == "SystemExit"


def test_a_workflow_that_cancels_itself_fails():
    async def workflow(step: Step) -> None:
        await step.run("one", echo, 1)
        raise asyncio.CancelledError("by myself")

    stage = Stage(define(workflow)).play()
    assert stage.failure is not None
    assert stage.failure.error_type == "asyncio.exceptions.CancelledError"


def test_a_body_that_ends_after_its_run_has_ended_changes_nothing():
    async def workflow(step: Step) -> str:
        tasks = [asyncio.create_task(step.run(name, echo, name)) for name in ("fast", "slow")]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return str(done.pop().result())

    stage = Stage(define(workflow))
    stage.claim()
    execution = stage.held
    stage.end_body("fast")
    assert stage.canceled == ["slow"]
    assert execution.body_ended("slow", 1, Returned("late"), 0, stage.now_ms) == []
    assert stage.play().output == "fast"
    assert execution.body_ended("slow", 1, Returned("late"), 0, stage.now_ms) == []
    assert execution.time_passed(stage.now_ms) == []


def test_an_attempt_that_is_not_the_one_that_runs_changes_nothing():
    async def workflow(step: Step) -> Any:
        return await step.run(StepOptions("one", retry=NO_RETRY), echo, 1)

    stage = Stage(define(workflow))
    stage.claim()
    assert stage.held.body_ended("one", 2, Returned("late"), 0, stage.now_ms) == []
    assert stage.held.body_ended("other", 1, Returned("late"), 0, stage.now_ms) == []
    assert stage.play().output == 1


def test_after_a_crash_what_is_due_behind_an_unanswered_commit_is_looked_at_once_it_is_answered():
    async def workflow(step: Step) -> list[Any]:
        both = step.sleep("first", "1s"), step.sleep("second", "1s")
        return list(await asyncio.gather(step.run("long", echo, 1), *both))

    stage = Stage(define(workflow))
    stage.claim()
    stage.store_commit()
    stage.acknowledge()
    stage.crash()
    stage.claim()
    stage.pass_time(2_000)
    # The first timer's record is on its way. A worker that asked for the second meanwhile would do nothing else.
    assert stage.held.next_due_at_ms is None
    stage.store_commit()
    stage.acknowledge()
    assert stage.held.in_flight
    stage.store_commit()
    stage.acknowledge()
    assert stage.play().output == [1, None, None]
