"""What came after the first engine, for golden stores of later layouts: a run that waits in each of the newer ways."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import redisflow
from redisflow import NonRetryableError, RedisFlow, Step, define_workflow_spec
from tests.golden.golden_workflows import LATER, Maker

KEY = {"customer": "c1"}


def register_features(flow: RedisFlow, maker: Maker) -> None:
    """All of them."""

    @flow.define_workflow("asks")
    async def asks(step: Step) -> str:
        step.set_state("phase", "asking")
        step.emit({"asked": True})
        return await step.wait_for_signal("answer", str)

    @flow.define_workflow("parent")
    async def parent(step: Step) -> str:
        return "child said " + await step.run_workflow(define_workflow_spec("asks", output=str))

    @flow.define_workflow("one-at-a-time", concurrency=redisflow.Limit(1))
    async def one_at_a_time(name: str, step: Step) -> str:
        return await step.run("hang", maker.hang, name)

    @flow.define_workflow("booking")
    async def booking(step: Step) -> None:
        step.on_failure("refund", maker.hang, "refund")
        await step.run("pay", maker.work, "pay")
        await step.run("fails", _fail)


async def _fail() -> None:
    raise NonRetryableError("never")


async def start_features(
    flow: RedisFlow,
    ids: dict[str, str],
    until: Callable[[Callable[[], Awaitable[object]]], Awaitable[None]],
    stands: Callable[..., Callable[[], Awaitable[bool]]],
) -> None:
    """Bring a run into each of these states."""
    register_features(flow, Maker(making=True))

    async def start(name: str, workflow: str, value: Any = None, **given: Any) -> None:
        ids[name] = (await flow.run_workflow(workflow, value, **given)).id

    await start("signal", "asks", tags=KEY, unique_key="asked")
    await start("parent", "parent")
    await start("holds-the-limit", "one-at-a-time", "first")
    await until(stands("holds-the-limit", "running"))
    await start("limited", "one-at-a-time", "second")
    await start("compensating", "booking")
    await start("paused", "caught")
    await until(stands("paused", "waiting", "timer"))
    handle = await flow.get_handle(ids["paused"], define_workflow_spec("caught"))
    await handle.pause()
    await flow.controls.pause(workflow="again")
    await start("held-back", "again")
    await start("urgent", "chain", "urgent", priority=9, available_at=LATER)
    made = await flow.schedules.create("yearly", "chain", cron="0 0 1 1 *", input="tick")
    await flow.schedules.pause(made.id)
    for name, status, reason in (
        ("signal", "waiting", "signal"),
        ("parent", "waiting", "child"),
        ("limited", "waiting", "limited"),
        ("compensating", "running", None),
        ("paused", "waiting", "paused"),
        ("held-back", "waiting", "held"),
        ("urgent", "waiting", "start"),
    ):
        await until(stands(name, status, reason))


EXPECTED_FEATURES: dict[str, Any] = {
    "signal": "yes",
    "parent": "child said yes",
    "holds-the-limit": "first",
    "limited": "second",
    "paused": "caught redisflow.errors.NonRetryableError",
    "held-back": "firstx",
    "urgent": ["urgent-first", "urgent-second"],
}


async def release_features(flow: RedisFlow, ids: dict[str, str]) -> None:
    """Let go what people hold: answer, resume."""
    await flow.signal(ids["signal"], "answer", "yes")
    (child,) = [run async for run in flow.list_runs(workflow="asks") if run.id != ids["signal"]]
    await flow.signal(child.id, "answer", "yes")
    handle = await flow.get_handle(ids["paused"], define_workflow_spec("caught"))
    await handle.resume()
    await flow.controls.resume(workflow="again")


async def check_features(flow: RedisFlow, ids: dict[str, str]) -> None:
    """What else such a store says."""
    assert [run.id async for run in flow.list_runs(tags=KEY)] == [ids["signal"]]
    schedule = await flow.schedules.get("yearly")
    assert (schedule.workflow, schedule.is_paused) == ("chain", True)
    compensated = await flow.get_run(ids["compensating"])
    assert compensated.status == "failed"
    assert {step.key: step.status for step in compensated.steps} == {
        "pay": "succeeded",
        "fails": "failed",
        "refund": "succeeded",
    }
