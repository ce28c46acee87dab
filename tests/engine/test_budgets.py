"""How large a run may become: what is one byte, one child, one level too many is refused, the same on every pass."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from redisflow import (
    InvalidDuration,
    NestedTooDeep,
    RetryPolicy,
    Step,
    StepError,
    StepOptions,
    codec,
    define_workflow_spec,
)
from redisflow.authoring.children import NESTED_AT_MOST
from redisflow.authoring.definition import CHILDREN_AT_MOST
from redisflow.records import StepFailed, decode_record
from tests.engine.stage import Stage, define, replay, saw

RUN = "0199c0ffee0070008000000000000000"
MiB = 1 << 20


def stage_of(fn: Any, value: Any = None, *, run_limit: int = 32 * MiB, **limits: int) -> Stage:
    stage = Stage(define(fn), value, run_id=RUN, **limits)
    stage.around = replace(stage.around, run_limit=run_limit)
    return stage


async def give(size: int) -> bytes:
    return bytes(size)


async def one_result(size: int, step: Step) -> int:
    return len(await step.run("give", give, size))


def overhead(size: int) -> int:
    return len(codec.encode(bytes(size))) - size


@pytest.mark.parametrize(("over", "is_refused"), [(-1, False), (0, False), (1, True)])
def test_a_steps_result_has_at_most_a_mebibyte(over: int, is_refused: bool) -> None:
    size = MiB + over - overhead(MiB)
    stage = stage_of(one_result, size).play()
    assert (stage.failure is not None) == is_refused
    if is_refused:
        assert "PayloadTooLarge: the result of step 'give' has 1,048,577 bytes" in stage.failure.message
    else:
        assert stage.output == size


@pytest.mark.parametrize(("over", "is_refused"), [(-1, False), (0, False), (1, True)])
def test_an_output_has_at_most_a_mebibyte(over: int, is_refused: bool) -> None:
    async def one_output(size: int, step: Step) -> bytes:
        return bytes(size)

    stage = stage_of(one_output, MiB + over - overhead(MiB)).play()
    assert (stage.failure is not None) == is_refused


async def until_full(size: int, step: Step) -> list[int]:
    kept: list[int] = []
    while True:
        try:
            kept.append(len(await step.run("give", give, size)))
        except StepError as error:
            saw((error.error_type, kept))
            await step.sleep("nap", "1s")
            return kept


def test_a_record_takes_results_up_to_its_limit_to_the_byte_and_replays_so() -> None:
    limit = 40_000
    # What is there before the second result, the second result, and a byte less than that leaves room for.
    first = stage_of(until_full, 10_000).play(until=lambda stage: len(stage.store.records) == 1)
    used = first.store.mark.bytes
    encoded = 10_000 + overhead(10_000)
    for run_limit, fits in ((used + encoded, 2), (used + encoded - 1, 1)):
        stage = stage_of(until_full, 10_000, run_limit=run_limit).play()
        assert stage.output == [10_000] * fits
        assert stage.passes[-1].saw == [("redisflow.errors.HistoryTooLong", [10_000] * fits)]
        assert replay(stage).saw == stage.passes[-1].saw
    stage = stage_of(until_full, 10_000, run_limit=limit).play()
    assert stage.output == [10_000] * 3
    assert stage.store.mark.bytes < limit + 4_096


def test_what_is_sent_counts_too() -> None:
    async def listens(step: Step) -> str:
        try:
            return await step.wait_for_signal("big", str)
        except StepError as error:
            return error.error_type

    for size, expected in ((4_000, "x" * 4_000), (5_200, "redisflow.errors.HistoryTooLong")):
        stage = stage_of(listens, run_limit=5_000).play(until=lambda stage: stage.store.status == "waiting")
        stage.signal("big", "x" * size)
        assert stage.play().output == expected


def test_a_full_record_takes_no_more_attempts_and_short_tracebacks_only() -> None:
    async def fails() -> None:
        raise ConnectionError("x" * 200)

    async def tries(step: Step) -> None:
        await step.run(StepOptions("fails", retry=RetryPolicy(maximum_attempts=0, jitter=0)), fails)

    stage = stage_of(tries, run_limit=8_000).play()
    assert stage.failure is not None
    assert "ConnectionError" in stage.failure.error_type + stage.failure.message
    last = decode_record(stage.store.records[-1], 0)
    assert isinstance(last, StepFailed)
    assert len(last.failure.traceback.encode()) <= 1_024
    assert stage.store.mark.bytes < 8_000 + 4_096


CHILD = define_workflow_spec("child", output=int)


@pytest.mark.parametrize("count", [CHILDREN_AT_MOST, CHILDREN_AT_MOST + 1])
def test_a_run_has_at_most_ten_thousand_children(count: int) -> None:
    async def many(count: int, step: Step) -> None:
        for _ in range(count):
            step.run_workflow(CHILD)
        raise StopAsyncIteration("all were asked for")

    stage = stage_of(many, count).play()
    assert stage.failure is not None
    is_refused = "has started 10,000 child runs" in stage.failure.message
    assert is_refused == (count > CHILDREN_AT_MOST)


@pytest.mark.parametrize("depth", [NESTED_AT_MOST - 1, NESTED_AT_MOST])
def test_children_are_nested_sixteen_levels_deep(depth: int) -> None:
    async def parent(step: Step) -> str:
        try:
            call = step.run_workflow(CHILD)
        except NestedTooDeep as error:
            return str(error)
        call.close()
        return "asked"

    stage = stage_of(parent)
    stage.store.depth = depth
    output = stage.play().output
    assert (output == "asked") == (depth < NESTED_AT_MOST)
    if depth == NESTED_AT_MOST:
        assert "17 levels below the first: 16 are allowed" in output


@pytest.mark.parametrize(("over_ms", "is_refused"), [(0, False), (1, True)])
def test_a_sleep_ends_within_ten_years(over_ms: int, is_refused: bool) -> None:
    async def sleeps(step: Step) -> str:
        until = step.now() + timedelta(days=3_653, milliseconds=over_ms)
        try:
            await step.sleep_until("nap", until)
        except InvalidDuration as error:
            return str(error)
        return "slept"

    output = stage_of(sleeps).play().output
    assert (output != "slept") == is_refused
    assert not is_refused or "more than 10 years from now" in output
