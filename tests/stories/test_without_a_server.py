"""The testing kit: workflows in unit tests, without any server, with every crash that can make a difference."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from pydantic import BaseModel

from redisflow import NonRetryableError, RedisFlow, RetryPolicy, Step, StepError, StepOptions, WorkflowFailed
from redisflow.testing import EndsDiffer, WouldWait, crash_matrix, run_inline

flow = RedisFlow("memory://without-a-server")


class Order(BaseModel):
    id: str
    items: list[str]


class Decision(BaseModel):
    approved: bool


async def charge(order: Order) -> str:
    raise AssertionError("the test gives another")


def reserve(items: list[str]) -> int:
    return len(items)


@flow.define_workflow("order")
async def process(order: Order, step: Step) -> str:
    payment, count = await asyncio.gather(
        step.run("charge", charge, order),
        step.run("reserve", reserve, order.items),
    )
    await step.sleep("cool-off", "30d")
    decision = await step.wait_for_signal("decision", Decision, timeout="3d")
    return f"{payment} for {count}: {decision.approved if decision else 'nobody decided'}"


ORDER = Order(id="1", items=["cup", "pot"])


async def test_bodies_are_replaced_by_name_and_time_is_skipped():
    began_s = time.monotonic()
    run = await run_inline(process, ORDER, steps={"charge": lambda order: f"paid {order.id}"})
    assert run.result() == "paid 1 for 2: nobody decided"
    assert {step.key: (step.kind, step.status) for step in run.steps} == {
        "charge": ("run", "succeeded"),
        "reserve": ("run", "succeeded"),
        "cool-off": ("sleep", "succeeded"),
        "decision": ("signal", "succeeded"),
    }
    assert time.monotonic() - began_s < 86_400  # it slept for a month


async def test_values_errors_and_signals_are_given_as_they_are():
    run = await run_inline(process, ORDER, steps={"charge": "paid"}, signals={"decision": Decision(approved=True)})
    assert run.result() == "paid for 2: True"
    refused = await run_inline(process, ORDER, steps={"charge": NonRetryableError("no card")})
    assert (refused.status, refused.error and refused.error.error_type) == ("failed", "redisflow.errors.StepError")
    with pytest.raises(WorkflowFailed, match="no card"):
        refused.result()


async def test_retries_are_made_at_once_and_counted():
    calls = []

    async def flaky() -> int:
        calls.append(1)
        if len(calls) < 4:
            raise ValueError(len(calls))
        return 7

    @flow.define_workflow("retries")
    async def retries(step: Step) -> int:
        return await step.run("flaky", flaky)

    run = await run_inline(retries)
    assert run.result() == 7
    assert run.starts == (("flaky", 1), ("flaky", 2), ("flaky", 3), ("flaky", 4))


async def test_a_body_that_takes_too_long_is_ended_by_its_timeout():
    @flow.define_workflow("slow")
    async def slow(step: Step) -> str:
        options = StepOptions("slow", timeout="20ms", retry=RetryPolicy(maximum_attempts=2))
        return await step.run(options, asyncio.Event().wait) and "never"

    run = await run_inline(slow)
    assert run.error is not None
    assert "longer than its timeout of 20ms" in run.error.message
    assert len(run.starts) == 2


async def test_a_name_that_is_no_step_is_warned_of():
    with pytest.warns(UserWarning, match="ran no step 'chrage', .* it ran 'charge', 'reserve'"):
        await run_inline(process, ORDER, steps={"charge": ConnectionRefusedError, "chrage": "paid"})


async def test_what_nobody_will_send_is_said():
    @flow.define_workflow("deaf")
    async def deaf(step: Step) -> Any:
        return await step.wait_for_signal("decision")

    with pytest.raises(WouldWait, match="'deaf' waits for 'decision'"):
        await run_inline(deaf)
    assert (await run_inline(deaf, signals={"decision": 5})).result() == 5


async def test_children_end_as_the_test_says():
    @flow.define_workflow("double")
    async def double(number: int, step: Step) -> int:
        raise AssertionError

    @flow.define_workflow("parent")
    async def parent(step: Step) -> list[Any]:
        found: list[Any] = [await step.run_workflow(double, 4)]
        try:
            await step.run_workflow(double, 5)
        except StepError as error:
            found.append(error.error_type)
        return found

    def answer(number: int) -> int:
        if number == 5:
            raise ValueError(number)
        return 2 * number

    assert (await run_inline(parent, children={"double": answer})).result() == [8, "ValueError"]


async def test_children_that_end_at_the_same_time_and_signals_that_came_before():
    @flow.define_workflow("one")
    async def one(number: int, step: Step) -> int:
        raise AssertionError

    @flow.define_workflow("several")
    async def several(step: Step) -> list[int]:
        found = await asyncio.gather(*(step.run_workflow(one, number) for number in range(3)))
        return [*found, await step.wait_for_signal("more", int)]

    report = await crash_matrix(several, children={"one": lambda number: number}, signals={"more": 9})
    assert report.undisturbed.result() == [0, 1, 2, 9]


async def test_every_crash_ends_the_same_and_the_report_names_what_ran_twice():
    report = await crash_matrix(process, ORDER, steps={"charge": "paid"}, signals={"decision": {"approved": True}})
    assert report.undisturbed.result() == "paid for 2: True"
    assert len(report.points) == 2 * report.undisturbed.commits
    assert set(report.ran_twice) == {"charge", "reserve"}
    assert report.points[-1].ran_twice == ()
    assert "before commit 1: ran twice" in str(report)


async def test_a_workflow_that_is_not_the_same_after_a_crash_is_found():
    passes = []

    @flow.define_workflow("forgetful", retry=None)
    async def forgetful(step: Step) -> int:
        passes.append(1)
        await step.run(StepOptions("one", retry=RetryPolicy(maximum_attempts=1)), lambda: 1)
        await step.sleep("pause", "1h")
        return len(passes)

    with pytest.raises(EndsDiffer, match="the outputs differ"):
        await crash_matrix(forgetful)


async def test_what_a_run_says_is_seen():
    async def count(step: Step) -> None:
        step.emit(1, kind="progress")
        step.set_state("counted", 1)

    @flow.define_workflow("talkative")
    async def talkative(step: Step) -> str:
        step.emit("begin")
        step.set_state("phase", "counting")
        await step.run("count", count, step)
        await step.sleep("nap", "1h")
        step.log.info("awake")
        return "done"

    run = await run_inline(talkative)
    assert [(event.kind, event.data, event.step) for event in run.events] == [
        ("data", "begin", None),
        ("progress", 1, "count"),
        ("log", {"level": "INFO", "message": "awake"}, None),
    ]
    assert run.state == {"phase": "counting", "counted": 1}
    assert str(await crash_matrix(talkative)).startswith("talkative: ")
