"""Compensations: when a run is lost, what it has done is undone, the last thing first, wherever it is interrupted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from redisflow.authoring.options import StepOptions
from redisflow.authoring.step import Step
from redisflow.engine.commands import Park
from redisflow.errors import NonRetryableError, StepError
from redisflow.retry import RetryPolicy
from tests.engine.director import Chance
from tests.engine.stage import T0, Stage, define, replay, saw

TWICE = RetryPolicy(maximum_attempts=2, jitter=0)


def echo(value: Any = None) -> Any:
    return value


def refuse() -> None:
    raise NonRetryableError("no")


async def order(step: Step) -> str:
    step.on_failure("refund", echo, "payment")
    await step.run("charge", echo)
    await step.run("reserve", echo)
    step.on_failure("release", echo, "stock")
    await step.run("ship", refuse)
    return "shipped"


def test_a_run_that_fails_undoes_what_it_did_the_last_thing_first():
    stage = Stage(define(order)).play()
    assert stage.store.status == "failed"
    assert stage.failure is not None
    assert stage.failure.error_type == "redisflow.errors.StepError"
    assert stage.started == ["charge", "reserve", "ship", "release", "refund"]
    assert [start.args for start in stage.starts[3:]] == [("stock",), ("payment",)]


def test_a_body_starts_only_when_the_compensation_before_it_is_stored():
    stage = Stage(define(order))
    stage.claim()
    assert stage.running() == []
    stage.store_commit()
    assert stage.store.is_compensable
    stage.acknowledge()
    assert stage.running() == ["charge"]


def test_a_run_that_succeeds_undoes_nothing():
    async def fine(step: Step) -> str:
        step.on_failure("refund", echo)
        return await step.run("charge", echo, "paid")

    stage = Stage(define(fine)).play()
    assert (stage.output, stage.started) == ("paid", ["charge"])


def test_a_compensation_takes_its_arguments_as_they_are_at_the_call():
    async def changes(step: Step) -> None:
        items = [1]
        step.on_failure("release", echo, items)
        items.append(2)
        await step.run("ship", refuse)

    assert Stage(define(changes)).play().starts[-1].args == ([1],)


def test_a_compensation_is_retried_and_one_that_fails_for_good_is_told_and_keeps_nobody_from_the_next():
    async def stubborn(step: Step) -> None:
        step.on_failure("refund", echo)
        step.on_failure(StepOptions("release", retry=TWICE), lambda: 1 / 0)
        await step.run("ship", refuse)

    stage = Stage(define(stubborn)).play()
    assert stage.started == ["ship", "release", "release", "refund"]
    assert stage.failure is not None
    assert stage.failure.message.endswith("[compensations that failed: release]")
    assert "compensation step 'release' failed after 2 attempt(s): ZeroDivisionError" in stage.failure.traceback
    assert any(isinstance(commit.then, Park) for commit in stage.commits)


def test_code_that_raises_by_itself_or_waits_for_nothing_is_undone_too():
    async def raises(step: Step) -> None:
        step.on_failure("undo", echo)
        await step.run("do", echo)
        raise ValueError("code")

    async def hangs(step: Step) -> None:
        step.on_failure("undo", echo)
        await step.run("do", echo)
        await asyncio.Event().wait()

    for fn, error in ((raises, "ValueError"), (hangs, "redisflow.errors.NotAllowedInWorkflow")):
        stage = Stage(define(fn)).play()
        assert (stage.started, stage.failure and stage.failure.error_type) == (["do", "undo"], error)


def test_only_the_last_workflow_attempt_is_undone():
    async def again(step: Step) -> None:
        await step.run("charge", echo)
        step.on_failure("refund", echo)
        await step.run(StepOptions("ship", retry=RetryPolicy(maximum_attempts=1)), lambda: 1 / 0)

    stage = Stage(define(again, retry=TWICE)).play()
    assert stage.started == ["charge", "ship", "ship", "refund"]


def test_what_runs_beside_is_stopped_before_anything_is_undone():
    async def beside(step: Step) -> None:
        step.on_failure("undo", echo)
        await asyncio.gather(step.run("slow", echo), step.sleep("nap", "1h"), step.run("ship", refuse))

    stage = Stage(define(beside)).play(until=lambda stage: set(stage.running()) == {"slow", "ship"})
    stage.director.pick = lambda keys: keys[-1]
    stage.play()
    assert (stage.canceled, stage.started[-1]) == (["slow"], "undo")
    assert stage.store.status == "failed"
    assert stage.now_ms < T0 + 60_000


def test_compensations_can_be_run_early_and_then_run_no_more():
    async def early(step: Step) -> list[str]:
        step.on_failure("first", echo)
        step.on_failure("second", refuse)
        try:
            await step.run("ship", refuse)
        except StepError:
            failed = await step.compensate()
        saw([error.step for error in failed])
        await step.run("sorry", refuse)
        return []

    stage = Stage(define(early)).play()
    assert stage.started == ["ship", "second", "first", "sorry"]
    assert replay(stage).saw == [["second"]]


async def long_order(step: Step) -> None:
    step.on_failure("refund", echo, "payment")
    await step.run("charge", echo)
    step.on_failure("release", echo)
    try:
        await asyncio.gather(step.run("ship", echo), step.sleep("nap", "1h"))
    finally:
        saw("cleaned up")


@pytest.mark.parametrize("when", ["charge", "ship", "parked"])
def test_a_canceled_run_starts_no_new_step_and_undoes_what_it_did(when):
    def is_there(stage: Stage) -> bool:
        return stage.store.status == "waiting" if when == "parked" else stage.running() == [when]

    stage = Stage(define(long_order)).play(until=is_there)
    done = stage.started
    stage.end_from_outside("canceled", "canceled")
    stage.end_from_outside("failed", "deadline")
    stage.play()
    assert (stage.store.status, stage.store.cause) == ("canceled", "canceled")
    undone = ["refund"] if when == "charge" else ["release", "refund"]
    assert stage.started == done + undone
    assert stage.store.payload == b""


def test_a_compensation_that_was_asked_for_but_not_stored_when_the_verdict_came_is_run_all_the_same():
    async def late(step: Step) -> None:
        step.on_failure("first", echo)
        await step.run("charge", echo)
        step.on_failure("second", echo)
        await step.run("ship", echo)

    stage = Stage(define(late)).play(until=lambda stage: stage.running() == ["charge"])
    stage.crash()
    # The claim after a crash stores each result before the code sees it.
    stage.play(until=lambda stage: len(stage.store.records) == 2)
    stage.end_from_outside("canceled", "canceled")
    stage.play(until=lambda stage: stage.running() == ["second"])
    stage.crash()
    stage.play()
    assert stage.store.status == "canceled"
    assert stage.started == ["charge", "charge", "second", "second", "first"]


def test_a_late_run_that_cannot_be_undone_says_so():
    async def late(step: Step) -> None:
        step.on_failure("undo", refuse)
        await step.run("do", echo)

    stage = Stage(define(late)).play(until=lambda stage: stage.running() == ["do"])
    stage.end_from_outside("failed", "deadline")
    stage.play()
    assert stage.failure is not None
    assert stage.failure.error_type == "DeadlineExceeded"
    assert stage.failure.message.endswith("[compensations that failed: undo]")


def test_code_that_does_not_match_is_not_undone_by_guessing():
    stage = Stage(define(order)).play(until=lambda stage: stage.running() == ["refund"])
    stage.crash()

    async def other(step: Step) -> None:
        await step.run("charge", echo)

    stage.definition = define(other)
    assert stage.play().store.status == "suspended"
    stage.definition = define(order)
    stage.store.status = "pending"
    stage.play()
    assert stage.started == ["charge", "reserve", "ship", "release", "refund", "refund"]


def test_a_result_that_the_code_no_longer_waits_for_is_drift():
    async def early(step: Step) -> None:
        step.on_failure("undo", echo)
        await step.compensate()
        await step.run("last", echo)

    async def not_early(step: Step) -> None:
        step.on_failure("undo", echo)
        await step.run("last", echo)

    stage = Stage(define(early)).play(until=lambda stage: stage.running() == ["last"])
    stage.crash()
    stage.definition = define(not_early)
    assert stage.play().store.status == "suspended"
    assert "step.on_failure('undo')" in stage.store.message


@pytest.mark.parametrize("seed", range(150))
def test_whatever_happens_everything_is_undone_in_reverse_order(seed):
    done: list[str] = []

    def flaky(name: str, step: Step) -> None:
        if step.attempt == 1:
            raise ValueError(name)
        done.append(name)

    async def saga(step: Step) -> None:
        async def branch(name: str) -> None:
            for number in range(3):
                await step.run(f"{name}-{number}", echo)
                step.on_failure(StepOptions(f"undo-{name}-{number}", retry=TWICE), flaky, f"{name}-{number}", step)
                if number == 1:
                    await step.sleep(f"nap-{name}", "1s")

        await asyncio.gather(branch("a"), branch("b"))
        await step.run("ship", refuse)

    director = Chance(seed)
    chance = director._random
    stage = Stage(define(saga), director=director)
    cancels = seed % 3 > 0

    def look(stage: Stage) -> bool:
        if cancels and stage.store.is_compensable and not stage.has_ended and chance.random() < 0.05:
            stage.end_from_outside("canceled", "canceled")
        return False

    stage.play(until=look)
    assert stage.store.status == ("canceled" if stage.store.cause else "failed")
    asked = [record.call.key for record in stage.store.history() if type(record).__name__ == "CompensationAsked"]
    undone = [name for place, name in enumerate(done) if name not in done[:place]]
    assert [f"undo-{name}" for name in undone] == asked[::-1]
