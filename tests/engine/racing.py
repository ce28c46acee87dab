"""Workflows whose course hangs on the order of sets, and a main program that replays one of them in its own process."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from redisflow.authoring.step import Step
from redisflow.errors import StepError
from tests.engine.stage import Stage, define, replay, saw

COUNT = 40


def echo(value: Any) -> Any:
    return value


def fail() -> None:
    from redisflow.errors import NonRetryableError

    raise NonRetryableError("no")


async def first_wins(step: Step) -> list[Any]:
    """Losers are given up, and compensated, in the order in which the set of them iterates."""
    order: list[Any] = []
    tasks = {asyncio.create_task(step.run(f"race {number}", echo, number)) for number in range(COUNT)}
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in pending:
        saw(task.get_name())
        order.append(await step.run(f"undo {task.get_name()}", echo, task.get_name()))
    return [*order, *(task.result() for task in done)]


async def group_aborts(step: Step) -> list[Any]:
    """A TaskGroup keeps its tasks in a set: they are cancelled, and clean up by steps, in the order of that set."""
    order: list[Any] = []

    async def work(number: int) -> None:
        try:
            await step.run(f"work {number}", echo, number)
        except asyncio.CancelledError:
            saw(number)
            order.append(number)
            await step.run(f"undo {number}", echo, number)
            raise

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(COUNT):
                group.create_task(work(number))
            group.create_task(step.run("fails", fail))
    except* StepError:
        pass
    return order


async def nested(step: Step) -> list[Any]:
    """Sets of futures and of calls."""
    loop = asyncio.get_running_loop()
    futures = {loop.create_future() for _ in range(COUNT)}
    calls = {step.run(f"call {number}", echo, number) for number in range(COUNT)}
    for number, future in enumerate(futures):
        future.set_result(number)
    order = [await future for future in sorted(futures, key=hash)]
    for call in calls:
        saw(call.key)
        order.append(await call)
    return order


RACES = {fn.__name__: fn for fn in (first_wins, group_aborts, nested)}


def main(name: str, records: list[str]) -> None:
    """Replay a record that another process has made; print what the code saw, and what the engine would do."""
    stage = Stage(define(RACES[name]))
    stage.store.records = [bytes.fromhex(record) for record in records]
    stage.store.started_at_ms = stage.now_ms
    again = replay(stage)
    [commit] = again.commands
    print(json.dumps([again.saw, repr(commit.then), len(commit.extension.records)]))


if __name__ == "__main__":
    main(sys.argv[1], json.load(sys.stdin))
