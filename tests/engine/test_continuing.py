"""Continuing as new: the same run with an empty record; and histories that grow too long."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from redisflow.authoring.step import Step
from redisflow.engine.commands import Continue
from redisflow.errors import InvalidInput
from tests.engine.director import Chance
from tests.engine.stage import Stage, define, saw


def echo(value: Any = None) -> Any:
    return value


async def countdown(left: int, step: Step) -> str:
    await step.run("work", echo, left)
    saw((step.info.continued, str(step.uuid())))
    if left:
        step.continue_as_new(left - 1)
    return "done"


def test_the_run_begins_anew_with_an_empty_record_and_other_keys():
    stage = Stage(define(countdown), 2).play()
    assert stage.output == "done"
    assert [start.idempotency_key for start in stage.starts] == ["run-1:work", "run-1~1:work", "run-1~2:work"]
    assert len(stage.store.records) == 1
    seen = [what for one in stage.passes for what in one.saw]
    assert [number for number, _ in seen] == [0, 1, 2]
    assert len({uuid for _, uuid in seen}) == 3


def test_nothing_of_the_code_goes_on_and_what_runs_is_cancelled():
    async def busy(left: int, step: Step) -> str:
        if not left:
            return "done"
        beside = asyncio.create_task(step.run("beside", echo))
        step.on_failure("undo", echo)
        await step.run("first", echo)
        try:
            step.continue_as_new(0)
        except BaseException:
            saw("caught")
        await step.run("never", echo)
        return str(await beside)

    stage = Stage(define(busy), 1)
    stage.director.pick = lambda keys: keys[0]
    stage.play()
    assert (stage.output, stage.canceled) == ("done", ["beside"])
    assert stage.counts == {"beside": 1, "first": 1}


def test_an_input_that_does_not_fit_is_refused_where_it_is_given():
    async def wrong(left: int, step: Step) -> str:
        await step.run("first", echo)
        try:
            step.continue_as_new("many")
        except InvalidInput as error:
            return str(error)

    assert "does not fit its type" in Stage(define(wrong), 1).play().output


def test_a_run_that_is_canceled_at_that_moment_is_undone_instead():
    async def saga(left: int, step: Step) -> None:
        step.on_failure("undo", echo)
        await step.run("do", echo)
        step.continue_as_new(left)

    def is_about_to(stage: Stage) -> bool:
        return bool(stage.commits) and isinstance(stage.commits[-1].then, Continue)

    stage = Stage(define(saga), 1).play(until=lambda stage: stage.running() == ["do"])
    stage.crash()
    # Stored alone, so that the code asks once more, while it is replayed for the verdict.
    stage.play(until=lambda stage: len(stage.store.records) == 2 and not is_about_to(stage))
    stage.end_from_outside("canceled", "canceled")
    stage.play()
    assert (stage.store.status, stage.started[-1], stage.store.continued) == ("canceled", "undo", 0)


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_each_round_runs_once(seed):
    async def rounds(left: int, step: Step) -> list[Any]:
        found = [await step.wait_for_signal("go"), await step.run("work", echo, left)]
        await step.sleep("nap", "1s")
        saw((left, found))
        if left:
            step.continue_as_new(left - 1)
        return found

    stage = Stage(define(rounds), 3, director=Chance(seed))
    for number in range(4):
        stage.store.signal("go", number)
    stage.play()
    assert stage.output == [3, 0]
    assert stage.store.continued == 3
    assert stage.store.mail == []
    rounds_seen = [what for one in stage.passes for what in one.saw]
    assert dict(rounds_seen) == {3 - n: [n, 3 - n] for n in range(4)}


async def long(count: int, step: Step) -> int:
    for number in range(count):
        await step.run("work", echo, number)
    await step.sleep("nap", "1s")
    return count


def test_a_long_history_is_told_of_once_and_fails_in_the_end(caplog):
    caplog.set_level(logging.WARNING, "redisflow.workflow")
    limits = {"warn_steps": 5, "max_steps": 10}
    assert Stage(define(long, **limits), 4).play().output == 4
    assert not caplog.records
    assert Stage(define(long, **limits), 9).play().output == 9
    assert ["step.continue_as_new(input)" in record.message for record in caplog.records] == [True]
    failed = Stage(define(long, **limits), 10).play()
    assert failed.failure is not None
    assert failed.failure.error_type == "redisflow.errors.HistoryTooLong"
    assert "step.continue_as_new(input)" in failed.failure.message


def test_a_history_that_was_allowed_is_replayed_under_a_lower_limit():
    stage = Stage(define(long), 20).play(until=lambda stage: stage.store.status == "waiting")
    stage.definition = define(long, max_steps=10)
    assert stage.play().output == 20


def test_what_the_code_said_before_is_told():
    async def says(left: int, step: Step) -> None:
        step.emit(f"round {left}")
        if left:
            step.continue_as_new(left - 1)

    stage = Stage(define(says), 2).play()
    assert [data for _, data in stage.store.events] == ["round 2", "round 1", "round 0"]
