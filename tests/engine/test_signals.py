"""Signals: each is taken once, in the order in which they came, whenever they come; and a replay sees the same."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from redisflow.authoring.step import Step
from redisflow.engine.commands import Park
from redisflow.errors import StepError
from tests.engine.director import Chance
from tests.engine.stage import Stage, define, replay, saw


def echo(value: Any) -> Any:
    return value


def has_parked(stage: Stage) -> bool:
    return stage.store.status == "waiting" and not stage.is_held


async def two_signals(step: Step) -> list[Any]:
    first = await step.wait_for_signal("go")
    saw(first)
    second = await step.wait_for_signal("go")
    saw(second)
    return [first, second]


def test_a_run_that_waits_for_a_signal_parks_without_a_due_time_and_says_what_wakes_it():
    stage = Stage(define(two_signals)).play(until=has_parked)
    park = stage.commits[-1].then
    assert isinstance(park, Park)
    assert (park.reason, park.due_at_ms, park.wants) == ("signal", None, "\ns:go\n")


def test_signals_are_taken_in_the_order_in_which_they_came():
    stage = Stage(define(two_signals)).play(until=has_parked)
    for number in (1, 2, 3):
        stage.signal("go", number)
    assert stage.play().output == [1, 2]
    assert [mail.number for mail in stage.store.mail] == [3]
    assert replay(stage).saw == [1, 2]


def test_a_signal_that_came_before_it_was_waited_for_is_taken_at_once():
    stage = Stage(define(two_signals))
    stage.signal("other", 0)
    stage.signal("go", 1)
    stage.signal("go", 2)
    assert stage.play().output == [1, 2]
    assert len(stage.passes) == 1


@pytest.mark.parametrize("told", [True, False])
def test_a_signal_that_comes_while_the_run_is_being_parked_keeps_it_with_its_holder(told):
    stage = Stage(define(two_signals)).play(
        until=lambda stage: isinstance(stage.commits and stage.commits[-1].then, Park)
    )
    stage.signal("go", 1, told=told)
    stage.play(until=has_parked)
    assert len(stage.passes) == 1
    stage.signal("go", 2)
    assert stage.play().output == [1, 2]


def test_a_signal_that_is_not_waited_for_wakes_nobody_and_is_kept():
    stage = Stage(define(two_signals)).play(until=has_parked)
    stage.signal("stop")
    assert stage.store.status == "waiting"
    stage.signal("go", 1)
    stage.signal("go", 2)
    stage.play()
    assert [mail.name for mail in stage.store.mail] == ["stop"]


def test_a_wait_with_a_timeout_gives_none_and_the_signal_stays_for_the_next_wait():
    async def impatient(step: Step) -> list[Any]:
        first = await step.wait_for_signal("go", timeout="1h")
        await step.run("between", echo, 1)
        return [first, await step.wait_for_signal("go", timeout="1h")]

    stage = Stage(define(impatient)).play(until=lambda stage: stage.running() == ["between"])
    stage.signal("go", "late")
    assert stage.play().output == [None, "late"]
    assert stage.store.mail == []


def test_two_waits_for_one_name_are_served_in_the_order_in_which_they_began():
    async def both(step: Step) -> list[Any]:
        return list(await asyncio.gather(step.wait_for_signal("go"), step.wait_for_signal("go")))

    stage = Stage(define(both)).play(until=has_parked)
    stage.signal("go", 1)
    stage.play(until=has_parked)
    stage.signal("go", 2)
    assert stage.play().output == [1, 2]


def test_a_wait_that_was_given_up_takes_nothing():
    async def gives_up(step: Step) -> Any:
        waiting = asyncio.ensure_future(step.wait_for_signal("go"))
        await step.run("between", echo, 1)
        waiting.cancel()
        return await step.wait_for_signal("go")

    stage = Stage(define(gives_up)).play(until=has_parked)
    stage.signal("go", 1)
    assert stage.play().output == 1


@dataclass
class Approval:
    by: str


def test_data_comes_back_as_the_type_that_is_waited_for():
    async def typed(step: Step) -> str:
        approval = await step.wait_for_signal("go", Approval)
        saw(type(approval).__name__)
        return approval.by

    stage = Stage(define(typed)).play(until=has_parked)
    stage.signal("go", {"by": "me"})
    assert stage.play().output == "me"
    assert replay(stage).saw == ["Approval"]


def test_data_that_does_not_fit_is_an_error_that_code_may_catch_and_is_spent():
    async def typed(step: Step) -> str:
        try:
            await step.wait_for_signal("go", Approval)
        except StepError as error:
            saw(error.error_type)
        return (await step.wait_for_signal("go", Approval)).by

    stage = Stage(define(typed)).play(until=has_parked)
    stage.signal("go", "secret")
    stage.signal("go", {"by": "me"})
    assert stage.play().output == "me"
    assert replay(stage).saw == ["redisflow.errors.InvalidSignal"]
    assert b"secret" not in b"".join(stage.store.records)


def test_another_call_where_the_record_has_a_wait_is_drift():
    stage = Stage(define(two_signals)).play(until=has_parked)

    async def sleeps(step: Step) -> None:
        await step.sleep("go", "1h")

    stage.definition = define(sleeps)
    stage.signal("go", 1)
    stage.play()
    assert stage.store.status == "suspended"
    assert "step.wait_for_signal('go')" in stage.store.message


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_each_signal_is_taken_once_and_replay_sees_the_same(seed):
    async def mixed(step: Step) -> list[Any]:
        async def collect(name: str) -> list[Any]:
            found = []
            for number in range(3):
                found.append(await step.wait_for_signal(name))
                found.append(await step.run(f"{name}-{number}", echo, number))
            return found

        both = await asyncio.gather(collect("a"), collect("b"))
        saw(both)
        return [*both[0], *both[1]]

    director = Chance(seed)
    stage = Stage(define(mixed), director=director)
    chance = director._random
    sent = {"a": 0, "b": 0}

    def send() -> None:
        name = chance.choice([name for name in "ab" if sent[name] < 3])
        sent[name] += 1
        stage.signal(name, f"{name}{sent[name]}", told=chance.random() < 0.5)

    def look(_: Stage) -> bool:
        if sum(sent.values()) < 6 and (has_parked(stage) or (stage.is_held and chance.random() < 0.1)):
            send()
        return False

    stage.play(until=look)
    expected = [x for name in "ab" for number in range(3) for x in (f"{name}{number + 1}", number)]
    assert stage.output == expected
    assert stage.store.mail == []
    assert replay(stage).saw == stage.passes[-1].saw[-1:]
