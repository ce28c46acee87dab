"""What workflow code says to the outside is said once, in its order, whatever happens to the worker that runs it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redisflow.authoring.options import StepOptions
from redisflow.authoring.step import Step
from redisflow.contract import NOTHING_SAID
from redisflow.engine.commands import Commit, Finish, GoOn
from redisflow.engine.execution import Execution
from redisflow.engine.outputs import OUTPUTS_PER_COMMIT
from redisflow.errors import CannotRecord, InvalidName, StateFull, StepError
from redisflow.retry import RetryPolicy
from tests.engine.director import Chance, Director
from tests.engine.programs import Interpreter, Op, programs
from tests.engine.stage import LEASE_MS, T0, Stage, Store, define, saw

EXAMPLES = int(os.environ.get("REDISFLOW_ENGINE_EXAMPLES", "300"))
ONCE_MORE = RetryPolicy(initial_interval="50ms", maximum_attempts=2)
NEVER = RetryPolicy(maximum_attempts=1)


def echo(value: Any) -> Any:
    return value


def said(stage: Stage) -> list[Any]:
    return [data for _, data in stage.store.events]


def undisturbed(stage: Stage) -> Store:
    """What one pass says that is given the whole record, and is told that nothing was said before."""
    store = dataclasses.replace(stage.store, said=NOTHING_SAID, events=[], state={})
    store.mark = stage.store.mark
    execution = Execution(stage.definition, store.claim(T0), stage.around, slack_ms=LEASE_MS)
    try:
        commands = execution.start(T0)
        while True:
            [commit] = [command for command in commands if isinstance(command, Commit)]
            if commit.extension.saying is not None:
                store.hear(commit.extension.saying)
            if not isinstance(commit.then, GoOn):
                return store
            commands = execution.committed(T0)
    finally:
        execution.evict()


def staged(program: Op, seed: int, retry: RetryPolicy | None = None) -> Stage:
    async def workflow(step: Step) -> Any:
        return repr(await Interpreter(saw, step).run(program))

    return Stage(define(workflow, retry=retry), director=Chance(seed, crash=0.1), slack_ms=seed % 3 * 2)


@given(program=programs, seed=st.integers(0, 2**32))
@settings(max_examples=EXAMPLES)
def test_what_is_stored_is_what_an_undisturbed_pass_says(program: Op, seed: int):
    stage = staged(program, seed).play()
    store = undisturbed(stage)
    assert stage.store.events == store.events
    assert stage.store.state == store.state


@given(program=programs, seed=st.integers(0, 2**32))
@settings(max_examples=EXAMPLES // 3)
def test_the_last_workflow_attempt_has_said_all_that_it_says(program: Op, seed: int):
    stage = staged(program, seed, ONCE_MORE).play()
    stored = iter(stage.store.events)
    assert all(event in stored for event in undisturbed(stage).events), "in this order"


def test_an_attempt_of_the_workflow_says_again_only_what_has_changed():
    calls = []

    def flaky() -> str:
        calls.append("called")
        if len(calls) == 1:
            raise ValueError("no")
        return "yes"

    async def workflow(step: Step) -> None:
        step.emit("start")
        await step.run("kept", echo, 1)
        step.emit("after the step that is kept")
        try:
            answer = await step.run(StepOptions("flaky", retry=NEVER), flaky)
        except StepError:
            step.emit("it failed")
            step.set_state("outcome", "failed")
            await step.run("compensate", echo, 2)
            step.emit("compensated")
            raise
        step.emit(answer)
        step.set_state("outcome", answer)

    stage = Stage(define(workflow, retry=ONCE_MORE)).play()
    assert stage.store.status == "succeeded"
    assert said(stage) == ["start", "after the step that is kept", "it failed", "compensated", "yes"]
    assert stage.store.state == {"outcome": "yes"}


def test_what_is_given_again_to_code_that_has_lost_its_way_is_new_ground():
    """A step that was asked for before the failure, and ended after it, is old to the next attempt; its code is not."""
    calls = []

    def flaky() -> str:
        calls.append("called")
        if len(calls) == 1:
            raise ValueError("no")
        return "yes"

    async def workflow(step: Step) -> None:
        async def beside() -> None:
            await step.run("slow", echo, 1)
            step.emit([step.info.attempt, "slow has ended"])

        other = asyncio.create_task(beside())
        try:
            await step.run(StepOptions("flaky", retry=NEVER), flaky)
            step.emit([step.info.attempt, "flaky has ended"])
        finally:
            await other

    stage = Stage(define(workflow, retry=ONCE_MORE), director=Director(max)).play()
    assert [said[1] for said in said(stage)] == ["slow has ended", "flaky has ended"]
    assert len(calls) == 2

    calls.clear()
    stage = Stage(define(workflow, retry=ONCE_MORE), director=Director(min)).play()
    assert said(stage) == [[1, "slow has ended"], [2, "slow has ended"], [2, "flaky has ended"]]


def test_what_a_failed_attempt_said_is_stored_before_the_next_one_begins():
    many = OUTPUTS_PER_COMMIT + 50
    calls = []

    def flaky() -> str:
        calls.append("called")
        if len(calls) == 1:
            raise ValueError("no")
        return "yes"

    async def workflow(step: Step) -> str:
        try:
            return await step.run(StepOptions("flaky", retry=NEVER), flaky)
        except StepError:
            for number in range(many):
                step.emit(number)
            raise

    stage = Stage(define(workflow, retry=ONCE_MORE)).play(until=lambda stage: bool(stage.store.events))
    stage.crash()
    assert stage.play().output == "yes"
    assert said(stage) == list(range(many))


def test_a_run_that_has_only_words_left_after_a_crash_forgets_it():
    async def workflow(step: Step) -> str:
        for number in range(OUTPUTS_PER_COMMIT + 1):
            step.emit(number)
        return "done"

    stage = Stage(define(workflow)).play(until=lambda stage: bool(stage.store.events))
    stage.crash()
    assert stage.store.crashes == 1
    begun = len(stage.commits)
    assert stage.play().output == "done"
    assert [type(commit.then) for commit in stage.commits[begun:]] == [GoOn, Finish]


def test_what_is_said_before_a_step_is_stored_while_its_body_runs():
    async def workflow(step: Step) -> None:
        step.emit("asking")
        await step.run("ask", echo, 1)

    stage = Stage(define(workflow)).play(until=lambda stage: bool(stage.store.events))
    assert stage.running() == ["ask"]


def test_a_run_that_says_nothing_commits_as_it_did():
    async def workflow(step: Step) -> Any:
        return await step.run("one", echo, 1)

    stage = Stage(define(workflow)).play()
    assert [(commit.extension.effects, commit.extension.saying) for commit in stage.commits] == [((), None)]


def test_much_is_said_in_several_commits_and_a_crash_between_them_neither_loses_nor_repeats():
    many = 2 * OUTPUTS_PER_COMMIT + 50

    async def workflow(step: Step) -> str:
        for number in range(many):
            step.emit(number)
            step.set_state("last", number)
        return "done"

    stage = Stage(define(workflow)).play(until=lambda stage: len(stage.store.events) > OUTPUTS_PER_COMMIT)
    stage.crash()
    assert stage.play().output == "done"
    assert said(stage) == list(range(many))
    assert stage.store.state == {"last": many - 1}


def test_code_that_does_not_match_its_record_takes_back_what_it_said():
    async def first(step: Step) -> None:
        step.emit("first")
        await step.run("one", echo, 1)
        await step.sleep("nap", "1h")

    async def other(step: Step) -> None:
        await step.run("one", echo, 1)
        step.emit("never said")
        await step.sleep("doze", "1h")

    stage = Stage(define(first)).play(until=lambda stage: stage.store.status == "waiting" and not stage.is_held)
    stage.definition = define(other)
    stage.play()
    assert stage.store.status == "suspended"
    assert said(stage) == ["first"]


def test_more_words_in_a_new_version_of_the_code_are_no_drift():
    async def first(step: Step) -> None:
        await step.run("one", echo, 1)
        step.emit("one is done")
        await step.sleep("nap", "1h")

    async def wordy(step: Step) -> str:
        step.emit("start")
        step.log.info("start")
        await step.run("one", echo, 1)
        step.emit("one is done")
        await step.sleep("nap", "1h")
        step.emit("awake")
        return "done"

    stage = Stage(define(first)).play(until=lambda stage: stage.store.status == "waiting" and not stage.is_held)
    stage.definition = define(wordy)
    assert stage.play().output == "done"
    assert said(stage) == ["one is done", "awake"]


def test_what_code_says_while_its_run_leaves_memory_is_not_said():
    async def workflow(step: Step) -> str:
        try:
            await step.sleep("nap", "1h")
        finally:
            step.emit("cleaning up")
            step.set_state("phase", "cleaning up")
        return "done"

    stage = Stage(define(workflow)).play()
    assert len(stage.passes) == 2
    assert said(stage) == ["cleaning up"]


@pytest.mark.parametrize("level", [logging.DEBUG, logging.CRITICAL])
def test_the_log_is_a_part_of_the_events_whatever_this_process_logs(level, caplog: pytest.LogCaptureFixture):
    async def workflow(step: Step) -> None:
        step.log.debug("too much detail")
        step.log.info("%s of %d", "one", 2)
        await step.sleep("nap", "1h")
        step.log.warning("%d", "does not fit")
        step.log.error("x" * 10_000)

    logging.raiseExceptions = False
    try:
        with caplog.at_level(level, "redisflow.workflow"):
            stage = Stage(define(workflow)).play()
    finally:
        logging.raiseExceptions = True
    assert stage.store.events == [
        ("log", {"level": "INFO", "message": "one of 2"}),
        ("log", {"level": "WARNING", "message": "'%d'"}),
        ("log", {"level": "ERROR", "message": "x" * 4096}),
    ]


def test_what_cannot_be_stored_is_refused_at_the_call_on_every_pass():
    async def workflow(step: Step) -> list[str]:
        refused = []
        for say in (
            lambda: step.emit(object()),
            lambda: step.emit("x" * 70_000),
            lambda: step.emit(1, kind="two\nlines"),
            lambda: step.set_state("key", "x" * 70_000),
            lambda: [step.set_state(f"key-{number}", number) for number in range(101)],
        ):
            try:
                say()
            except (CannotRecord, InvalidName, StateFull) as error:
                refused.append(type(error).__name__)
        step.set_state("key-0", "again")
        await step.sleep("nap", "1h")
        saw(refused)
        return refused

    stage = Stage(define(workflow)).play()
    assert stage.output == ["CannotRecord", "PayloadTooLarge", "InvalidName", "PayloadTooLarge", "StateFull"]
    assert (len(stage.store.state), stage.store.state["key-0"]) == (100, "again")
    assert not stage.store.events
