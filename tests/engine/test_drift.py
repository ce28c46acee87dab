"""Code that no longer does what the record says: the run waits, nothing is lost, and the right code goes on with it."""

from __future__ import annotations

import asyncio
import gc
import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest

from redisflow.authoring.definition import WorkflowDefinition
from redisflow.authoring.step import Step
from tests.engine.stage import Stage, define

Workflow = Callable[[Step], Any]


def echo(value: Any = None) -> Any:
    return value


async def right(step: Step) -> str:
    """The code that the record is of: it stands at a sleep, after two steps and beside one that waits."""
    await step.run("validate", echo, 1)
    other = asyncio.create_task(step.sleep("remind", "2d"))
    await step.run("charge", echo, 2)
    await step.sleep("pause", "1d")
    await step.run("ship", echo, 3)
    other.cancel()
    return "shipped"


async def renamed(step: Step) -> None:
    await step.run("check", echo, 1)


async def moved(step: Step) -> None:
    await step.run("charge", echo, 2)
    await step.run("validate", echo, 1)


async def put_before(step: Step) -> None:
    await step.run("new", echo)
    await right(step)


async def put_between(step: Step) -> None:
    await step.run("validate", echo, 1)
    await step.run("new", echo)


async def another_kind(step: Step) -> None:
    await step.sleep("validate", 1)


async def removed(step: Step) -> None:
    await step.run("validate", echo, 1)
    asyncio.create_task(step.sleep("remind", "2d"))  # noqa: RUF006  # nobody keeps it: that is the point
    await step.sleep("other", "1d")


async def ends_early(step: Step) -> str:
    await step.run("validate", echo, 1)
    return "done"


async def does_not_await(step: Step) -> None:
    await step.run("validate", echo, 1)
    step.sleep("remind", "2d")
    step.run("charge", echo, 2)
    await asyncio.Event().wait()


async def forgets_a_wait(step: Step) -> None:
    await step.run("validate", echo, 1)
    await step.run("charge", echo, 2)


async def asks_later(step: Step) -> None:
    await step.run("validate", echo, 1)
    asyncio.create_task(step.sleep("remind", "2d"))  # noqa: RUF006  # nobody keeps it: that is the point
    await asyncio.gather(step.run("charge", echo, 2), step.sleep("pause", "1d"))


def standing() -> Stage:
    """A run of the right code, parked."""
    return Stage(define(right)).play(until=lambda stage: stage.store.status == "waiting" and not stage.is_held)


def deploy(stage: Stage, code: Workflow | WorkflowDefinition[Any, Any]) -> None:
    stage.definition = code if isinstance(code, WorkflowDefinition) else define(code)
    stage.store.status = "pending"
    stage.store.due_at_ms = 0


@pytest.mark.parametrize(
    ("code", "record", "instead"),
    [
        (
            renamed,
            "step.run('validate'), call number 0, at the start",
            "step.run('check'), call number 0, at the start",
        ),
        (moved, "step.run('charge'), call number 2, after record 0", "step.run('charge'), call number 0, at the start"),
        (put_before, "step.run('validate'), call number 0", "step.run('new'), call number 0"),
        (
            put_between,
            "step.sleep('remind'), call number 1, after record 0",
            "step.run('new'), call number 1, after rec",
        ),
        (another_kind, "step.run('validate')", "step.sleep('validate')"),
        (removed, "step.run('charge'), call number 2, after record 0", "step.sleep('other'), call number 2, after rec"),
        (ends_early, "step.sleep('remind'), call number 1", "does not ask for it"),
        (does_not_await, "step.run('charge'), call number 2", "does not wait for it"),
        (forgets_a_wait, "step.run('charge'), call number 2", "step.run('charge'), call number 1"),
        (
            asks_later,
            "step.sleep('pause'), call number 3, after record 2",
            "step.sleep('pause'), call number 3, after record 0",
        ),
    ],
)
def test_a_changed_workflow_is_suspended_with_both_lines_and_the_right_code_goes_on(
    code: Workflow, record: str, instead: str
):
    stage = standing()
    stored, starts = list(stage.store.records), len(stage.starts)
    deploy(stage, code)
    stage.play()
    assert stage.store.status == "suspended"
    assert stage.failure is not None
    assert stage.failure.error_type == "redisflow.errors.NonDeterminismError"
    _, line, changed, *_ = stage.store.message.splitlines()
    assert line.startswith(f"  - record: {record}")
    assert changed.startswith("  + code:   ")
    assert instead in changed
    assert stage.store.records == stored
    assert len(stage.starts) == starts

    deploy(stage, right)
    stage.play()
    assert stage.output == "shipped"
    assert stage.counts == {"validate": 1, "charge": 1, "ship": 1}


def test_the_message_names_the_line_of_the_code():
    stage = standing()
    deploy(stage, renamed)
    stage.play()
    line = renamed.__code__.co_firstlineno + 1
    assert f"{__file__}:{line} in renamed" in stage.store.message


def test_names_made_of_clocks_or_chance_are_drift():
    clock = itertools.count(1_000)

    async def workflow(step: Step) -> None:
        await step.run(f"charge at {next(clock)}", echo)
        await step.sleep("pause", 1)

    stage = Stage(define(workflow)).play()
    assert stage.store.status == "suspended"
    assert re.search(
        r"record: step\.run\('charge at 1000'\).*\n.*code:   step\.run\('charge at 1001'\)", stage.store.message
    )


def test_code_that_catches_everything_cannot_go_on_after_drift():
    stage = standing()

    async def stubborn(step: Step) -> str:
        for name in ("other", "validate", "charge", "more"):
            try:
                await step.run(name, echo)
            except BaseException:
                pass
        return "pretends to be done"

    deploy(stage, stubborn)
    stage.play()
    assert stage.store.status == "suspended"
    assert "step.run('other')" in stage.store.message
    deploy(stage, right)
    assert stage.play().output == "shipped"


def test_code_that_catches_everything_in_a_loop_without_end_is_suspended_too(monkeypatch):
    stage = standing()
    ignored: list[str] = []
    monkeypatch.setattr("sys.unraisablehook", lambda unraisable: ignored.append(str(unraisable.exc_value)))

    async def stubborn(step: Step) -> None:
        while True:
            try:
                await step.run("other", echo)
            except BaseException:
                pass

    deploy(stage, stubborn)
    assert stage.play().store.status == "suspended"
    gc.collect()
    assert ignored == ["coroutine ignored GeneratorExit"]


def test_more_steps_at_the_end_are_no_drift():
    stage = standing()

    async def longer(step: Step) -> str:
        await right(step)
        return await step.run("survey", echo, "asked")

    deploy(stage, longer)
    assert stage.play().output == "asked"


def test_a_step_that_was_running_when_its_worker_crashed_may_be_changed():
    stage = standing()
    stage.play(until=lambda stage: stage.running() == ["ship"])
    stage.crash()

    async def changed(step: Step) -> str:
        await step.run("validate", echo, 1)
        other = asyncio.create_task(step.sleep("remind", "2d"))
        await step.run("charge", echo, 2)
        await step.sleep("pause", "1d")
        other.cancel()
        return await step.run("ship by air", echo, "flown")

    deploy(stage, changed)
    assert stage.play().output == "flown"


def test_a_wait_that_the_record_holds_must_be_asked_for_before_anything_new_happens():
    stage = standing()

    async def without_the_pause(step: Step) -> None:
        await step.run("validate", echo, 1)
        asyncio.create_task(step.sleep("remind", "2d"))  # noqa: RUF006  # nobody keeps it: that is the point
        await step.run("charge", echo, 2)
        await asyncio.get_running_loop().create_future()

    deploy(stage, without_the_pause)
    stage.play()
    assert stage.store.status == "suspended"
    assert "- record: step.sleep('pause')" in stage.store.message


def test_a_wait_that_drifting_code_asks_for_is_not_recorded():
    async def original(step: Step) -> str:
        running = asyncio.create_task(step.run("running", echo, 1))
        await step.run("validate", echo, 2)
        await step.run("charge", echo, 3)
        await running
        return "charged"

    async def astray(step: Step) -> None:
        # The step that was running left no record, so that a sleep may stand in its place; what follows may not.
        asyncio.create_task(step.sleep("in its place", "1h"))  # noqa: RUF006  # nobody keeps it: that is the point
        await step.run("validate", echo, 2)
        await step.run("refund", echo, 3)

    stage = Stage(define(original))
    stage.claim()
    for key in ("validate", "charge"):
        stage.play(until=_running(key))
        stage.end_body(key)
    stage.play(until=lambda stage: len(stage.store.records) == 2)
    stage.crash()
    stored = list(stage.store.records)
    deploy(stage, astray)
    assert stage.play().store.status == "suspended"
    assert "step.run('refund')" in stage.store.message
    assert stage.store.records == stored
    deploy(stage, original)
    assert stage.play().output == "charged"


def _running(key: str) -> Callable[[Stage], bool]:
    return lambda stage: key in stage.running() and not stage.can_store


def test_code_that_never_rests_is_not_to_be_taken_up_again_by_itself():
    """Each pass may begin bodies of which nothing is recorded; code that does not match begins none."""

    async def spins(step: Step) -> None:
        begun = asyncio.ensure_future(step.run("begun", echo))
        while not begun.done():
            await asyncio.sleep(0)

    stage = Stage(define(spins)).play()
    assert (stage.store.status, stage.store.is_runaway) == ("suspended", True)
    drifted = standing()
    deploy(drifted, spins)
    drifted.play()
    assert (drifted.store.status, drifted.store.is_runaway) == ("suspended", False)
