"""Code that changes under its runs: patches that each run keeps to, the report of drift, drift that is tolerated."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from redisflow.authoring.step import Step
from redisflow.errors import NonRetryableError
from redisflow.retry import RetryPolicy
from tests.engine.director import Chance
from tests.engine.stage import Stage, define, replay, saw

Workflow = Callable[[Step], Any]


def echo(value: Any = None) -> Any:
    return value


def refuse() -> None:
    raise NonRetryableError("no")


def parked(stage: Stage) -> bool:
    return stage.store.status == "waiting" and not stage.is_held


def deploy(stage: Stage, code: Workflow, **options: Any) -> None:
    stage.definition = define(code, **options)
    stage.store.status, stage.store.due_at_ms = "pending", 0


# -- patches ----------------------------------------------------------------------------------------------------------


async def old(step: Step) -> list[str]:
    done = [await step.run("first", echo, "first")]
    done.append(await step.run("charge", echo, "old charge"))
    await step.sleep("pause", "1d")
    return [*done, await step.run("last", echo, "last")]


async def new(step: Step) -> list[str]:
    done = [await step.run("first", echo, "first")]
    if step.patched("fraud-check"):
        done.append(await step.run("check", echo, "check"))
    done.append(await step.run("charge", echo, "charge"))
    await step.sleep("pause", "1d")
    if step.patched("survey"):
        done.append(await step.run("survey", echo, "survey"))
    return [*done, await step.run("last", echo, "last")]


def test_a_run_that_was_here_before_keeps_the_old_way_and_takes_the_new_one_further_on():
    stage = Stage(define(old)).play(until=parked)
    deploy(stage, new)
    stage.play()
    assert stage.output == ["first", "old charge", "survey", "last"]
    assert stage.counts == {"first": 1, "charge": 1, "survey": 1, "last": 1}


def test_a_run_that_comes_with_the_new_code_takes_the_new_way_on_every_pass():
    stage = Stage(define(new))
    assert stage.play(until=parked).play().output == ["first", "check", "charge", "survey", "last"]
    for records in range(len(stage.store.records) + 1):
        replay(stage, records)


def test_a_patch_is_recorded_before_anything_that_rests_on_it_starts():
    stage = Stage(define(new)).play(until=lambda stage: stage.running() == ["check"])
    assert [type(record).__name__ for record in stage.store.history()] == ["StepSucceeded", "Patched"]


def test_a_run_whose_step_was_running_when_the_patch_came_takes_the_new_way():
    stage = Stage(define(old)).play(until=lambda stage: stage.running() == ["charge"])
    stage.crash()
    deploy(stage, new)
    assert stage.play().output == ["first", "check", "charge", "survey", "last"]


def test_one_name_gives_one_answer_for_the_whole_run():
    async def before(step: Step) -> list[bool]:
        for number in range(3):
            await step.run(f"step-{number}", echo)
        await step.sleep("pause", "1d")
        return []

    async def after(step: Step) -> list[bool]:
        answers = []
        for number in range(3):
            answers.append(step.patched("loop"))
            await step.run(f"step-{number}", echo)
        await step.sleep("pause", "1d")
        saw([*answers, step.patched("loop"), step.patched("other")])
        return [*answers, step.patched("loop"), step.patched("other")]

    stage = Stage(define(before)).play(until=parked)
    deploy(stage, after)
    assert stage.play().output == [False, False, False, False, True]
    assert replay(stage).saw == [[False, False, False, False, True]]
    assert Stage(define(after)).play().output == [True] * 5


def test_code_from_before_the_patch_does_not_go_on_with_a_run_that_has_come_by_it():
    stage = Stage(define(new)).play(until=lambda stage: stage.running() == ["check"])
    stage.crash()
    deploy(stage, old)
    assert stage.play().store.status == "suspended"
    assert "record: step.patched('fraud-check')" in stage.store.message
    deploy(stage, new)
    assert stage.play().output == ["first", "check", "charge", "survey", "last"]


def test_a_patch_may_lose_its_condition_while_the_call_stays():
    async def later(step: Step) -> list[str]:
        done = [await step.run("first", echo, "first")]
        step.patched("fraud-check")
        done.append(await step.run("check", echo, "check"))
        return [*done, await step.run("charge", echo, "charge")]

    stage = Stage(define(new)).play(until=lambda stage: stage.running() == ["charge"])
    stage.crash()
    deploy(stage, later)
    assert stage.play().output == ["first", "check", "charge"]


def test_a_canceled_run_finds_its_patches_again_while_it_is_undone():
    async def saga(step: Step) -> None:
        step.on_failure("undo", echo)
        await step.run("do", echo)
        if step.patched("more"):
            step.on_failure("undo-more", echo)
        await step.run("more", echo)

    stage = Stage(define(saga)).play(until=lambda stage: stage.running() == ["do"])
    stage.crash()
    # A result that is stored alone: the patch and what follows it are found while the verdict is carried out.
    stage.play(until=lambda stage: len(stage.store.records) == 2)
    stage.end_from_outside("canceled", "canceled")
    stage.play(until=lambda stage: stage.running() == ["undo-more"])
    stage.crash()
    stage.play()
    assert (stage.store.status, stage.started[-3:]) == ("canceled", ["undo-more", "undo-more", "undo"])


@pytest.mark.parametrize("seed", range(100))
def test_whatever_happens_a_run_under_a_patch_is_the_same_on_every_pass(seed):
    def code(patched: bool) -> Workflow:
        async def workflow(step: Step) -> list[Any]:
            async def branch(name: str) -> list[Any]:
                done: list[Any] = []
                for number in range(3):
                    if patched and step.patched(f"{name}-{number}"):
                        done.append(await step.run(f"{name}-{number}-new", echo, number))
                    done.append(await step.run(f"{name}-{number}", echo, number))
                    saw((name, list(done)))
                return done

            both = await asyncio.gather(branch("a"), branch("b"))
            return [*both[0], *both[1]]

        return workflow

    director = Chance(seed)
    stage = Stage(define(code(patched=False)), director=director)
    when = director._random.randint(0, 6)
    stage.play(until=lambda stage: len(stage.store.records) >= when)
    if stage.is_held:
        stage.crash()
    if not stage.has_ended:
        deploy(stage, code(patched=True))
        stage.play()
        assert stage.store.status == "succeeded", stage.store.message
        assert replay(stage).saw == stage.passes[-1].saw
    assert all(count <= 9 for count in stage.counts.values())


# -- the report -------------------------------------------------------------------------------------------------------


async def recorded(step: Step) -> None:
    await step.run("validate", echo)
    await step.run("charge", echo)
    await step.run("ship", echo)
    await step.sleep("pause", "1d")


def written(kind: str, *names: str) -> Workflow:
    async def code(step: Step) -> None:
        for name in names:
            if name == kind:
                await step.sleep(name, "1s")
            else:
                await step.run(name, echo)

    return code


@pytest.mark.parametrize(
    ("code", "likeness"),
    [
        (written("", "validate", "charge-card"), "it looks renamed, from 'charge' to 'charge-card'; or a call"),
        (written("", "validate", "ship"), "it has moved: it was call number 2, and is number 1"),
        (written("charge", "validate", "charge"), "it is of another kind: give the new call another name"),
        (written("", "validate"), "it is missing: the call was taken out of the code"),
        (written("new", "validate", "new"), "a call was added before it, or taken out"),
    ],
)
def test_the_report_says_what_it_looks_like(code: Workflow, likeness: str):
    stage = Stage(define(recorded)).play(until=parked)
    deploy(stage, code)
    stage.play()
    assert f"\n  {likeness}" in stage.store.message


def test_the_report_shows_what_stands_around():
    stage = Stage(define(recorded)).play(until=parked)
    deploy(stage, written("", "validate", "charge-card"))
    stage.play()
    assert stage.store.message.splitlines()[4:] == [
        "  the record there:",
        "          0  step.run('validate')",
        "    ->    1  step.run('charge')",
        "          2  step.run('ship')",
        "          3  step.sleep('pause')",
        "  the code so far:",
        "          0  step.run('validate')",
        "    ->    1  step.run('charge-card')",
    ]


def test_the_report_names_patches_that_the_code_has_not_asked_for():
    async def patched(step: Step) -> None:
        if step.patched("check"):
            await step.run("check", echo)
        await recorded(step)

    stage = Stage(define(patched)).play(until=parked)
    deploy(stage, recorded)
    stage.play()
    assert "  the record has patches that this code has not asked for so far: 'check'\n" in stage.store.message


# -- drift that is tolerated ------------------------------------------------------------------------------------------


def tolerant(stage: Stage, code: Workflow, **options: Any) -> None:
    deploy(stage, code, on_drift="warn", **options)


async def original(step: Step) -> list[Any]:
    done = [await step.run("one", echo, 1), await step.run("two", echo, 2), await step.run("three", echo, 3)]
    await step.sleep("pause", "1d")
    return [*done, await step.run("four", echo, 4)]


async def inserted(step: Step) -> list[Any]:
    done = [await step.run("one", echo, 1), await step.run("new", echo, "new"), await step.run("two", echo, 2)]
    saw(list(done))
    done.append(await step.run("three", echo, 3))
    await step.sleep("pause", "1d")
    return [*done, await step.run("four", echo, 4)]


async def turned(step: Step) -> list[Any]:
    done = [await step.run("three", echo, 3), await step.run("two", echo, 2), await step.run("one", echo, 1)]
    await step.sleep("pause", "1d")
    return [*done, await step.run("four", echo, 4)]


async def shortened(step: Step) -> list[Any]:
    done = [await step.run("one", echo, 1), await step.run("three", echo, 3)]
    return [*done, await step.run("four", echo, 4)]


@pytest.mark.parametrize(
    ("code", "output", "new_bodies"),
    [
        (inserted, [1, "new", 2, 3, 4], {"new", "four"}),
        (turned, [3, 2, 1, 4], {"four"}),
        (shortened, [1, 3, 4], {"four"}),
    ],
)
def test_calls_that_were_added_moved_or_taken_out_are_tolerated(code, output, new_bodies, caplog):
    caplog.set_level(logging.WARNING, "redisflow.workflow")
    stage = Stage(define(original)).play(until=parked)
    before = stage.counts
    tolerant(stage, code)
    stage.play()
    assert stage.output == output
    assert set(stage.counts - before) == new_bodies
    assert all(count == 1 for count in stage.counts.values())
    told = [record for record in caplog.records if record.message.startswith("run.drift run-1: the code no longer")]
    assert len(told) == len(stage.passes) - 1


def test_what_was_tolerated_replays_the_same():
    stage = Stage(define(original)).play(until=parked)
    tolerant(stage, inserted)
    stage.play(until=lambda stage: stage.running() == ["four"])
    stage.crash()
    stage.play()
    assert stage.counts == {"one": 1, "two": 1, "three": 1, "new": 1, "four": 2}
    assert replay(stage).saw == stage.passes[-1].saw == [[1, "new", 2]]


async def with_a_wait(step: Step) -> None:
    await step.sleep("one", 1)


async def without_its_compensation(step: Step) -> None:
    await step.run("one", echo)
    await step.run("ship", refuse)


async def with_a_compensation(step: Step) -> None:
    await step.run("one", echo)
    step.on_failure("undo", echo)
    await step.sleep("pause", "1d")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (original, with_a_wait, "it is of another kind"),
        (with_a_compensation, without_its_compensation, "record: step.on_failure('undo')"),
        (new, old, "record: step.patched('fraud-check')"),
    ],
)
def test_drift_that_others_rest_on_suspends_all_the_same(before: Workflow, after: Workflow, message: str):
    stage = Stage(define(before)).play(until=parked)
    tolerant(stage, after)
    assert stage.play().store.status == "suspended"
    assert message in stage.store.message


@pytest.mark.parametrize("seed", range(100))
def test_whatever_happens_tolerated_drift_is_the_same_on_every_pass(seed):
    def code(order: list[int]) -> Workflow:
        async def workflow(step: Step) -> list[Any]:
            async def branch(name: str) -> list[Any]:
                done = []
                for number in order:
                    done.append(await step.run(f"{name}-{number}", echo, number))
                    saw((name, list(done)))
                    if number == 2:
                        await step.sleep(f"{name}-nap", "1s")
                return done

            both = await asyncio.gather(branch("a"), branch("b"))
            return [*both[0], *both[1]]

        return workflow

    director = Chance(seed)
    order = [0, 1, 2, 3]
    stage = Stage(define(code(order)), director=director)
    when = director._random.randint(1, 9)
    stage.play(until=lambda stage: len(stage.store.records) >= when)
    if stage.is_held:
        stage.crash()
    if stage.has_ended:
        return
    director._random.shuffle(order)
    other = [number for number in order if director._random.random() < 0.8] + [7]
    tolerant(stage, code(other), retry=RetryPolicy(maximum_attempts=1))
    assert stage.play().output == other * 2
    assert replay(stage).saw == stage.passes[-1].saw
