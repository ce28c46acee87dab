"""Values between bodies and workflow code: equal in value and type on every pass, and never shared."""

from __future__ import annotations

import dataclasses
from collections import deque
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from pydantic import BaseModel
from pydantic_core import core_schema

from redisflow.authoring.options import StepOptions
from redisflow.authoring.step import Step
from redisflow.contract import Mark
from redisflow.errors import StepError
from redisflow.failure import Failure
from redisflow.records import WorkflowAttemptFailed, encode_record
from redisflow.retry import RetryPolicy
from tests.engine.stage import Stage, define, saw


class Color(Enum):
    RED = "red"


class Item(BaseModel):
    name: str
    price: Decimal
    tags: set[str] = set()


@dataclasses.dataclass
class Box:
    items: list[Item]
    color: Color


class Point(NamedTuple):
    x: int
    y: int


BUILT_IN = [
    None,
    True,
    0,
    -(2**63),
    2**64 - 1,
    2**200,
    1.5,
    float("inf"),
    "text \N{SNOWMAN}",
    b"bytes",
    bytearray(b"bytes"),
    (1, "a", (2.0,)),
    [1, [2, [3]]],
    {"a": 1, 2: "b", (1, 2): [3]},
    {1, 2, 3},
    frozenset({"a"}),
    complex(1, 2),
    Decimal("1.10"),
    UUID(int=7),
    datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
    datetime(2024, 2, 29, 12, 30),
    date(2024, 2, 29),
    time(12, 30, 1),
    timedelta(days=1, microseconds=1),
]


async def two_passes(step: Step, fn: Any) -> None:
    value = await step.run("make", fn)
    saw((type(value), value))
    await step.sleep("pause", 1)


def played(workflow: Any, **options: Any) -> Stage:
    return Stage(define(workflow), **options).play()


@pytest.mark.parametrize("value", BUILT_IN, ids=repr)
def test_built_in_values_need_no_annotation(value: Any):
    def make():
        return value

    async def workflow(step: Step) -> None:
        await two_passes(step, make)

    stage = played(workflow)
    assert [one.saw for one in stage.passes] == [[(type(value), value)]] * 2
    assert stage.counts == {"make": 1}


def make_item() -> Item:
    return Item(name="book", price=Decimal("9.90"), tags={"new"})


def make_box() -> Box:
    return Box([make_item()], Color.RED)


def make_color() -> Color:
    return Color.RED


def make_point() -> Point:
    return Point(1, 2)


def make_optional() -> list[Item | None]:
    return [None, make_item()]


async def make_async() -> Item:
    return make_item()


@pytest.mark.parametrize("fn", [make_item, make_box, make_color, make_point, make_optional])
def test_annotated_values_come_back_as_what_they_were(fn: Any):
    async def workflow(step: Step) -> None:
        await two_passes(step, fn)

    stage = played(workflow)
    assert [one.saw for one in stage.passes] == [[(type(fn()), fn())]] * 2


def test_async_bodies_have_the_type_of_what_they_return():
    async def workflow(step: Step) -> None:
        await two_passes(step, make_async)

    assert [one.saw for one in played(workflow).passes] == [[(Item, make_item())]] * 2


def test_a_value_that_could_not_be_read_back_fails_its_step_and_says_what_to_write():
    def make_model():
        return make_item()

    async def workflow(step: Step) -> None:
        await step.run("make", make_model)

    stage = played(workflow)
    assert stage.store.status == "failed"
    assert stage.failure is not None
    assert "`-> Item`" in stage.failure.message
    assert stage.counts == {"make": 1}


def test_a_value_that_cannot_be_recorded_is_not_tried_again_and_can_be_caught():
    async def workflow(step: Step) -> str:
        try:
            await step.run(StepOptions("make", retry=RetryPolicy(maximum_attempts=5)), object)
        except StepError as error:
            return error.error_type
        return "recorded"

    stage = played(workflow)
    assert stage.output == "redisflow.errors.CannotRecord"
    assert stage.counts == {"make": 1}


def test_an_annotation_that_cannot_be_recorded_is_told_at_the_call():
    def make() -> Stage:
        raise NotImplementedError

    async def workflow(step: Step) -> None:
        await step.run("make", make)

    stage = played(workflow)
    assert stage.store.status == "failed"
    assert stage.started == []


def test_an_output_that_cannot_be_recorded_fails_the_run_and_says_what_to_write():
    async def workflow(step: Step):
        return make_item()

    stage = played(workflow)
    assert stage.store.status == "failed"
    assert stage.failure is not None
    assert "`-> Item`" in stage.failure.message


@pytest.mark.parametrize("size", [1_048_570, 1_048_580])
def test_a_result_over_its_limit_fails_the_step_with_a_clear_error(size: int):
    def make() -> str:
        return "x" * size

    async def workflow(step: Step) -> str:
        try:
            return str(len(await step.run("make", make)))
        except StepError as error:
            return error.message

    output = played(workflow).output
    if size == 1_048_570:
        assert output == str(size)
    else:
        assert "the result of step 'make' has 1,048,585 bytes, over the limit of 1,048,576" in output


def test_an_output_over_its_limit_fails_the_run():
    async def workflow(step: Step) -> str:
        return "x" * 101

    stage = played(workflow, payload_limit=100)
    assert stage.failure is not None
    assert stage.failure.error_type == "redisflow.errors.PayloadTooLarge"
    assert "the output of workflow play" in stage.failure.message


def test_what_a_body_does_to_its_arguments_is_not_seen_by_the_workflow():
    item, box = make_item(), make_box()
    arguments = ([1, [2]], {"a": [1]}, {1}, deque([[1]]), item, box, Point(1, 2), bytearray(b"a"), ([1],))

    def change(*values: Any, word: list[int]) -> None:
        numbers, by_name, members, queue, model, record, _, data, (inner,) = values
        numbers[1].append(3)
        by_name["a"].append(2)
        members.add(2)
        queue[0].append(2)
        model.tags.add("changed")
        record.items[0].name = "changed"
        data.append(0)
        inner.append(2)
        word.append(2)

    async def workflow(step: Step) -> str:
        word = [1]
        before = repr((arguments, word))
        await step.run("change", change, *arguments, word=word)
        assert repr((arguments, word)) == before
        return before

    stage = played(workflow)
    assert stage.store.status == "succeeded", stage.failure


def test_each_attempt_gets_the_arguments_as_they_were_at_the_call():
    def change(values: list[int]) -> None:
        got.append(list(values))
        values.append(99)
        if len(got) < 3:
            raise ValueError("again")

    async def workflow(step: Step) -> None:
        values = [1]
        call = step.run("change", change, values)
        values.append(2)
        other = step.run("other", list)
        await step.gather(call, other)

    got: list[list[int]] = []
    assert played(workflow).store.status == "succeeded"
    assert got == [[1], [1], [1]]


def test_what_is_no_data_is_handed_on_as_it_is():
    class Client:
        pass

    client = Client()

    @dataclasses.dataclass
    class Holder:
        client: Client
        numbers: list[int]

    def use(*values: Any) -> bool:
        one, holder, fn = values
        return one is client and holder.client is client and fn is make_item

    async def workflow(step: Step) -> bool:
        return await step.run("use", use, client, Holder(client, [1]), make_item)

    assert played(workflow).output is True


def test_a_workflow_may_change_what_a_step_gave_it_and_replay_sees_the_record():
    def make() -> list[int]:
        return [1]

    async def workflow(step: Step) -> list[int]:
        values = await step.run("make", make)
        saw(list(values))
        values.append(2)
        await step.sleep("pause", 1)
        return values

    stage = played(workflow)
    assert [one.saw for one in stage.passes] == [[[1]], [[1]]]
    assert stage.output == [1, 2]


def old() -> str:
    return "text"


def new() -> int:
    return 1


def test_a_recorded_value_that_does_not_fit_its_type_any_more_suspends_the_run():
    async def before(step: Step) -> Any:
        await step.run("make", old)
        await step.sleep("pause", "1h")

    async def after(step: Step) -> Any:
        await step.run("make", new)
        await step.sleep("pause", "1h")

    stage = Stage(define(before))
    stage.play(until=lambda stage: stage.store.status == "waiting" and not stage.is_held)
    stored = list(stage.store.records)
    stage.definition = define(after)
    stage.play()
    assert stage.store.status == "suspended"
    assert "the recorded result of step 'make' does not fit its type any more" in stage.store.message
    assert stage.store.records == stored
    stage.definition, stage.store.status = define(before), "pending"
    assert stage.play().store.status == "succeeded"


def test_an_input_that_does_not_fit_its_type_any_more_suspends_the_run():
    async def before(value: str, step: Step) -> str:
        return value

    async def after(value: int, step: Step) -> int:
        return value

    stage = Stage(define(before), "text")
    stage.definition = define(after)
    stage.play()
    assert stage.store.status == "suspended"
    assert stage.failure is not None
    assert stage.failure.error_type == "redisflow.errors.CannotDecode"
    assert "the input of this run does not fit the type that workflow play takes" in stage.store.message
    stage.definition, stage.store.status = define(before), "pending"
    assert stage.play().output == "text"


class Odd:
    """A type of users that is compared to see whether it would come back, and cannot be."""

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda _: cls(), serialization=core_schema.plain_serializer_function_ser_schema(lambda _: "odd")
        )

    def __eq__(self, other: object) -> bool:
        raise ValueError("not to be compared")

    __hash__ = object.__hash__


def make_odd() -> Odd:
    return Odd()


def test_a_value_that_fails_while_it_is_looked_at_fails_its_step():
    async def workflow(step: Step) -> str:
        try:
            await step.run("make", make_odd)
        except StepError as error:
            return error.message
        return "recorded"

    assert played(workflow).output == "not to be compared"


def test_an_output_that_fails_while_it_is_looked_at_fails_the_run():
    async def workflow(step: Step) -> Odd:
        return Odd()

    stage = played(workflow)
    assert stage.store.status == "failed"
    assert stage.failure is not None
    assert stage.failure.message == "not to be compared"


def test_a_record_that_contradicts_itself_suspends_the_run():
    async def workflow(step: Step) -> None:
        await step.sleep("pause", 1)

    stage = Stage(define(workflow))
    failed = WorkflowAttemptFailed(stage.now_ms, stage.now_ms, Failure("ValueError", "no", ""), 7)
    stage.store.records.append(encode_record(failed, stage.now_ms))
    stage.store.mark = Mark(1, len(stage.store.input) + len(stage.store.records[0]))
    assert stage.play().store.status == "suspended"
    assert "the record of this run cannot be read" in stage.store.message


def test_a_record_that_cannot_be_read_suspends_the_run():
    async def workflow(step: Step) -> None:
        await step.run("make", old)
        await step.sleep("pause", "1h")

    stage = Stage(define(workflow))
    stage.play(until=lambda stage: stage.store.status == "waiting" and not stage.is_held)
    broken = stage.store.records[0] = b"\xc1" * len(stage.store.records[0])
    assert stage.play().store.status == "suspended"
    assert stage.store.records[0] == broken


def test_inputs_are_typed_and_each_pass_has_its_own():
    async def workflow(item: Item, step: Step) -> Item:
        saw((type(item), set(item.tags)))
        item.tags.add("changed")
        await step.sleep("pause", 1)
        return item

    stage = Stage(define(workflow), make_item()).play()
    assert [one.saw for one in stage.passes] == [[(Item, {"new"})]] * 2
