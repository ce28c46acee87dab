"""The answers to rows: awaited or listened to, alone or as one of many that share an error."""

from __future__ import annotations

import asyncio
import traceback

import pytest

from redisflow.backend.row_batches import RowAnswer
from redisflow.errors import BackendError


async def test_an_error_that_many_rows_share_does_not_grow():
    shared = BackendError("out of memory")
    told: list[int] = []
    for _ in range(50):
        answer = RowAnswer()
        answer.set_exception(shared)
        with pytest.raises(BackendError) as raised:
            await answer
        told.append(len(traceback.extract_tb(raised.value.__traceback__)))
    assert told[0] == told[-1]


async def test_an_answer_is_heard_before_and_after_it_came():
    heard: list[object] = []
    early, late = RowAnswer(), RowAnswer()
    early.add_done_callback(lambda answer: heard.append(answer.result()))
    early.set_result(1)
    assert heard == [1]
    late.set_result(2)
    late.add_done_callback(lambda answer: heard.append(answer.result()))
    assert heard == [1]
    await asyncio.sleep(0)
    assert heard == [1, 2]


async def test_whoever_gives_up_waiting_leaves_the_answer_alone():
    answer = RowAnswer()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(_wait_for(answer), 0.01)
    answer.set_result("late")
    assert answer.result() == "late"


async def test_a_listener_that_fails_is_told_to_the_loop_alone():
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    def fail(_: RowAnswer) -> None:
        raise Panic

    answer = RowAnswer()
    answer.add_done_callback(fail)
    answer.set_result(1)
    assert [type(context["exception"]) for context in told] == [Panic]


class Panic(BaseException):
    """What extensions raise that do not mean to be caught."""


async def _wait_for(answer: RowAnswer) -> object:
    return await answer
