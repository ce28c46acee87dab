"""Long histories and wide workflows: the work grows with their size, not with its square."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from redisflow.authoring.step import Step
from redisflow.engine.commands import Finish, GoOn, Returned, RunBody
from redisflow.engine.execution import Execution
from tests.engine.director import Director
from tests.engine.stage import T0, Stage, define, replay

MANY = 10_000


def echo(value: Any) -> Any:
    return value


def sequential(count: int) -> Any:
    async def workflow(step: Step) -> int:
        total = 0
        for number in range(count):
            total += await step.run("one", echo, number)
        return total

    return workflow


def parallel(count: int) -> Any:
    async def workflow(step: Step) -> int:
        return sum(await asyncio.gather(*(step.run("one", echo, number) for number in range(count))))

    return workflow


def waiting(count: int) -> Any:
    async def workflow(step: Step) -> int:
        await asyncio.gather(*(step.sleep("one", number % 2) for number in range(count)))
        return count

    return workflow


def racing(count: int) -> Any:
    """What is given up in each round must not be looked through in all later ones."""

    async def workflow(step: Step) -> None:
        for number in range(count):
            timer = asyncio.create_task(step.sleep("timer", "1h"))
            await step.run("one", echo, number)
            timer.cancel()

    return workflow


def drive(stage: Stage) -> int:
    """Play a run that goes well, straight at the engine: the stage's own checks read the whole record each time."""
    execution = Execution(stage.definition, stage.store.claim(T0), stage.around)
    stage.store.status = "running"
    now_ms = T0
    commands = execution.start(now_ms)
    steps = 0
    while True:
        following = []
        for command in commands:
            if isinstance(command, RunBody):
                steps += 1
                following += execution.body_ended(
                    command.key, command.attempt, Returned(command.args[0]), now_ms, now_ms
                )
            else:
                stage.store.apply(command)
                if not isinstance(command.then, GoOn):
                    execution.evict()
                    return steps
                following += execution.committed(now_ms)
        now_ms += 1
        commands = following


def cpu_seconds(fn: Callable[[], Any]) -> float:
    """What it takes of this thread's time: other processes do not count."""
    began = time.thread_time()
    fn()
    return time.thread_time() - began


def growth(kind: Callable[[int], Any], small: int, large: int) -> float:
    """How much more a step costs in a large workflow than in a small one: about 1, or large / small if squares lurk."""

    def cost(count: int) -> float:
        return min(cpu_seconds(lambda: drive(Stage(define(kind(count))))) for _ in range(3)) / count

    return cost(large) / cost(small)


def test_a_history_of_ten_thousand_steps_is_replayed_in_a_few_seconds():
    stage = Stage(define(sequential(MANY)))
    assert drive(stage) == MANY
    assert len(stage.store.records) == MANY
    commands: list[Any] = []
    taken = cpu_seconds(lambda: commands.extend(replay(stage).commands))
    [commit] = commands
    assert isinstance(commit.then, Finish)
    assert commit.then.payload == stage.store.payload
    assert taken < 5


def test_ten_thousand_parallel_steps_begin_end_and_replay():
    stage = Stage(define(parallel(MANY)))
    assert drive(stage) == MANY
    [commit] = replay(stage).commands
    assert commit.then == Finish("succeeded", stage.store.payload)


@pytest.mark.parametrize("kind", [sequential, parallel, racing])
def test_the_work_grows_with_the_size_and_not_with_its_square(kind: Callable[[int], Any]):
    assert growth(kind, 250, 4_000) < 4


def test_ten_thousand_sleeps_leave_in_commits_of_bounded_size():
    stage = Stage(define(waiting(MANY)), director=Director()).play()
    assert stage.output == MANY
    assert max(len(commit.extension.records) for commit in stage.commits) == 500


def test_large_results_leave_in_commits_of_bounded_size():
    async def workflow(step: Step) -> None:
        await asyncio.gather(*(step.run("one", make) for _ in range(20)))

    def make() -> bytes:
        return b"x" * 300_000

    stage = Stage(define(workflow))
    stage.claim()
    while stage.running():
        stage.end_body(stage.running()[0])
    stage.play()
    assert stage.store.status == "succeeded"
    sizes = [sum(map(len, commit.extension.records)) for commit in stage.commits]
    assert max(sizes) < (1 << 20) + 300_100
    assert [isinstance(commit.then, Finish) for commit in stage.commits] == [False] * (len(sizes) - 1) + [True]
