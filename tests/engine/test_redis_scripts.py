"""`step.redis`: a script is asked for once, however often the run is taken up, and a replay sees what it gave."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from redisflow import RetryPolicy
from redisflow.authoring.step import Step
from redisflow.client.copying import take_prefix
from redisflow.contract import Mark
from redisflow.engine.besides import EFFECT_BYTES_PER_COMMIT
from redisflow.engine.commands import Park
from redisflow.errors import InvalidScript, StepError
from tests.engine.director import Chance
from tests.engine.stage import T0, Stage, define, replay, saw


def echo(value: Any) -> Any:
    return value


async def two_scripts(step: Step) -> list[Any]:
    first = await step.redis("count", "one", keys=["k"], args=["a", b"b", 3])
    saw(first)
    second = await step.redis("count", "two")
    saw(second)
    return [first, second]


def test_a_script_leaves_with_the_record_that_it_was_asked_for_and_its_reply_is_what_a_replay_sees():
    stage = Stage(define(two_scripts)).play()
    assert stage.output == [1, 2]
    assert stage.store.scripts == {":count": ("one", ["k"], ["a", b"b", 3]), ":count#1": ("two", [], [])}
    assert stage.store.mail == []
    assert replay(stage).saw == [1, 2]
    assert len(stage.passes) == 1
    park = stage.commits[0].then
    assert isinstance(park, Park)
    assert (park.reason, park.wants) == ("signal", "\nr::count\n")


def test_a_script_that_failed_is_an_error_that_code_may_catch_and_is_not_asked_for_again():
    async def fails(step: Step) -> Any:
        try:
            await step.redis("sell", "fail")
        except StepError as error:
            saw((error.error_type, str(error)))
        return await step.redis("after", "fine")

    stage = Stage(define(fails)).play()
    assert stage.output == 2
    ((kind, said),) = replay(stage).saw
    assert kind == "redisflow.errors.RedisScriptFailed"
    assert "'sell'" in said
    assert "no" in said


def test_a_script_that_is_given_up_has_run_and_its_reply_is_nobodys():
    async def gives_up(step: Step) -> Any:
        asked = asyncio.ensure_future(step.redis("count", "one"))
        await step.run("between", echo, 1)
        asked.cancel()
        return await step.redis("count", "two")

    assert Stage(define(gives_up)).play().output == 2


def test_another_workflow_attempt_asks_anew_under_another_key():
    async def again(step: Step) -> Any:
        await step.redis("kept", "one")
        await step.redis("again", "fail" if step.info.attempt == 1 else "fine")
        return await step.redis("then", "two")

    stage = Stage(define(again, retry=RetryPolicy(maximum_attempts=2))).play()
    assert stage.output == 4
    assert list(stage.store.scripts) == [":kept", ":again", ":again#01", ":then#01"]


def test_scripts_of_many_bytes_leave_in_several_commits():
    async def many(step: Step) -> Any:
        return await step.gather(*(step.redis("big", "one", args=["x" * 60_000]) for _ in range(9)))

    stage = Stage(define(many)).play()
    assert stage.output == tuple(range(1, 10))
    sizes = [sum(len(str(word)) for word in commit.extension.effects) for commit in stage.commits]
    assert max(sizes) < EFFECT_BYTES_PER_COMMIT + 100_000


def test_a_fork_asks_for_a_script_itself_whose_reply_is_in_another_runs_mailbox():
    async def forked(step: Step) -> Any:
        return await step.gather(step.redis("early", "one"), step.sleep("nap", "1s"), step.redis("late", "two"))

    store = Stage(define(forked)).play().store
    fields = {b"%d" % number: record for number, record in enumerate(store.records)}
    fields |= {b"h": str(store.mark).encode(), b"c": b"0", b"a": str(store.started_at_ms).encode()}
    prefix = take_prefix("run-1", fields, "nap", {})
    mark = Mark(len(prefix.records), len(store.input) + sum(map(len, prefix.records)))

    fork = Stage(define(forked))
    fork.store.records, fork.store.mark, fork.store.started_at_ms = prefix.records, mark, T0
    fork.play()
    assert fork.output == (1, None, 2)
    assert list(fork.store.scripts) == [":early#01", ":late"]


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_each_script_runs_once_and_replay_sees_the_same(seed):
    async def mixed(step: Step) -> list[Any]:
        async def count(name: str) -> list[Any]:
            found = []
            for number in range(3):
                found.append(await step.redis(name, "one"))
                await step.run(f"{name}-{number}", echo, number)
            return found

        both = await asyncio.gather(count("a"), count("b"))
        saw(both)
        return [*both[0], *both[1]]

    stage = Stage(define(mixed), director=Chance(seed)).play()
    assert sorted(stage.output) == [1, 2, 3, 4, 5, 6]
    assert stage.store.mail == []
    assert replay(stage).saw == stage.passes[-1].saw[-1:]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"script": ""}, "the text of a Lua script"),
        ({"script": "x" * 16_385}, "16,385 bytes, over the limit of 16,384"),
        ({"keys": "stock"}, "keys and args are lists"),
        ({"keys": [""]}, "the name that follows the partition's prefix"),
        ({"keys": ["rf:{shop:0}:u:stock"]}, "without its prefix"),
        ({"keys": ["k" * 513]}, "more than 512 bytes"),
        ({"args": [1.5]}, "not a float"),
        ({"args": [True]}, "not a bool"),
        ({"args": [1] * 101}, "101 keys and arguments are over the limit of 100"),
        ({"args": ["x" * 65_537]}, "65,537 bytes, over the limit of 65,536"),
    ],
)
def test_what_cannot_be_asked_is_refused_where_it_is_asked(given, says):
    async def wrong(step: Step) -> None:
        terms = {"script": "return 1", "keys": [], "args": [], **given}
        with pytest.raises(InvalidScript, match=says):
            step.redis("wrong", terms.pop("script"), **terms)

    stage = Stage(define(wrong)).play()
    assert stage.store.status == "succeeded"
    assert stage.store.records == []
