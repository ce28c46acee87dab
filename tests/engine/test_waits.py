"""Registering for signals: the store holds what the code waits for, from the step that records it, on every pass."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from redisflow.authoring.step import Step
from redisflow.engine.commands import Commit, Park
from redisflow.mail import hash_signal_name
from redisflow.records import SignalAsked, SignalReceived, decode_record
from redisflow.retry import RetryPolicy
from tests.engine.director import Chance
from tests.engine.stage import T0, Stage, define

GO, STOP = hash_signal_name("go"), hash_signal_name("stop")
TWICE = RetryPolicy(maximum_attempts=2, initial_interval="1s", jitter=0)


def has_parked(stage: Stage) -> bool:
    return stage.store.status == "waiting" and not stage.is_held


def effects_with(stage: Stage, kind: type) -> list[list[Any]]:
    """What the commits do besides that carry a record of this kind."""

    def carries(commit: Commit) -> bool:
        return any(isinstance(decode_record(data, T0), kind) for data in commit.extension.records)

    return [list(commit.extension.effects) for commit in stage.commits if carries(commit)]


async def one_then_another(step: Step) -> list[Any]:
    first = await step.wait_for_signal("go")
    between = await step.run("between", lambda: 1)
    return [first, between, await step.wait_for_signal("stop")]


def test_a_run_is_registered_by_the_step_that_says_it_waits_until_the_one_that_says_it_does_not():
    stage = Stage(define(one_then_another)).play(until=has_parked)
    assert stage.store.waits == [GO]
    stage.signal("go", 7)
    stage.play(until=has_parked)
    assert stage.store.waits == [STOP]
    stage.signal("stop", 8)
    assert stage.play().output == [7, 1, 8]
    assert stage.store.waits == []
    assert effects_with(stage, SignalAsked) == [["wait", GO], ["wait", STOP]]
    assert effects_with(stage, SignalReceived)[0] == ["take", 1, "unwait", GO]


def test_waiting_again_at_once_and_in_parallel_is_one_registration():
    async def collects(step: Step) -> list[Any]:
        return list(await asyncio.gather(*(step.wait_for_signal("go") for _ in range(3))))

    stage = Stage(define(collects)).play(until=has_parked)
    for number in range(3):
        assert stage.store.waits == [GO]
        stage.signal("go", number)
        stage.play(until=lambda stage: has_parked(stage) or stage.has_ended)
    assert stage.output == [0, 1, 2]
    assert [part for commit in stage.commits for part in commit.extension.effects if part == "wait"] == ["wait"]


@pytest.mark.parametrize("how", ["timeout", "given up"])
def test_a_wait_that_ends_without_a_signal_is_registered_no_longer(how):
    async def stops_waiting(step: Step) -> None:
        waiting = asyncio.ensure_future(step.wait_for_signal("go", timeout="1h" if how == "timeout" else "2h"))
        await step.sleep("nap", "90m")
        waiting.cancel()
        await step.wait_for_signal("stop")

    stage = Stage(define(stops_waiting)).play(until=lambda stage: has_parked(stage) and stage.store.due_at_ms is None)
    assert stage.store.waits == [STOP]


def test_a_wait_that_was_given_up_before_another_for_the_same_name_takes_nothing_from_it_on_a_later_pass():
    async def again(step: Step) -> list[Any]:
        waiting = asyncio.ensure_future(step.wait_for_signal("go"))
        await step.run("between", lambda: 1)
        waiting.cancel()
        first = asyncio.ensure_future(step.wait_for_signal("go"))
        await step.sleep("nap", "1h")
        return [await first]

    stage = Stage(define(again)).play(until=has_parked)
    assert stage.store.waits == [GO]
    stage.play(until=lambda stage: has_parked(stage) and stage.store.due_at_ms is None)
    assert stage.store.waits == [GO]
    stage.signal("go", 1)
    assert stage.play().output == [1]
    assert stage.store.waits == []


def test_another_workflow_attempt_registers_anew():
    async def fails_once(step: Step) -> Any:
        waiting = asyncio.ensure_future(step.wait_for_signal("go"))
        await step.run("between", lambda: 1)
        if step.info.attempt == 1:
            raise ValueError("not yet")
        return await waiting

    stage = Stage(define(fails_once, retry=TWICE)).play(until=has_parked)
    assert isinstance(stage.commits[-1].then, Park)
    assert (stage.commits[-1].then.reason, stage.store.waits) == ("retry", [])
    stage.play(until=lambda stage: has_parked(stage) and stage.store.due_at_ms is None)
    assert stage.store.waits == [GO]


def test_what_is_kept_for_a_run_that_starts_to_wait_is_taken_by_its_holder():
    stage = Stage(define(one_then_another))
    stage.store.kept = [("go", 7), ("stop", 8)]
    assert stage.play().output == [7, 1, 8]
    assert len(stage.passes) == 1


def test_a_run_without_signals_does_nothing_for_them():
    async def plain(step: Step) -> int:
        return await step.run("one", lambda: 1)

    stage = Stage(define(plain)).play()
    assert [list(commit.extension.effects) for commit in stage.commits] == [[]]


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_a_parked_run_is_registered_for_what_it_waits_for_and_one_that_ended_for_nothing(seed):
    async def mixed(step: Step) -> list[Any]:
        async def chain(name: str) -> list[Any]:
            found: list[Any] = []
            for number in range(3):
                found.append(await step.wait_for_signal(name, timeout="5s" if number == 1 else "99d"))
                found.append(await step.run(f"{name}-{number}", lambda: 7))
            return found

        both = await step.gather(chain("go"), chain("stop"))
        return [*both[0], *both[1]]

    director = Chance(seed)
    stage = Stage(define(mixed), director=director)
    chance = director._random

    def look(_: Stage) -> bool:
        if has_parked(stage):
            wanted = {hash_signal_name(name[2:]) for name in stage.store.wants.split()}
            assert set(stage.store.waits) == wanted
        if has_parked(stage) or chance.random() < 0.1:
            stage.signal(chance.choice(["go", "stop"]), 1, told=chance.random() < 0.5)
        return False

    stage.play(until=look)
    assert len(stage.output) == 12
    assert stage.store.waits == []
