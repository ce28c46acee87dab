"""The workflows of the stage, and a run in each state that the dashboard shows."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from redisflow import RedisFlow, RetryPolicy, Step, StepOptions
from redisflow.authoring.definition import untyped
from tests.e2e.stage import Stage

ONCE = RetryPolicy(maximum_attempts=1)
QUICK = RetryPolicy(initial_interval="10ms", maximum_attempts=3)
MANY = 320

SCRIPT = "<script>window.owned = 1</script>"
IMAGE = "<img src=x onerror='window.owned = 1'>"
CLOSED = '"><svg onload="window.owned = 1">'
TURNED = "user\u202egpj.exe"
"""A name that bidi characters turn around."""
MARKUP = (SCRIPT, IMAGE, CLOSED)


@dataclass
class Parts:
    """What tests hold of the workflows."""

    gates: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))
    """A run of `held` goes on when that of its input is open."""
    is_healed: bool = False
    """Whether a run of `brittle` succeeds now."""


def define_shop(flow: RedisFlow) -> Parts:
    """Declare all of them."""
    parts = Parts()
    _define_plain(flow)
    _define_waiting(flow, parts)
    _define_large(flow)
    return parts


def _define_plain(flow: RedisFlow) -> None:
    attempts: dict[str, int] = defaultdict(int)

    async def charge(order: str) -> dict[str, str]:
        attempts[order] += 1
        if attempts[order] < 3:
            msg = f"the bank is busy with {order}"
            raise ConnectionError(msg)
        return {"receipt": f"r-{order}"}

    async def pack(order: str) -> str:
        return f"parcel of {order}"

    @flow.define_workflow("order")
    async def order(name: str, step: Step) -> dict[str, Any]:
        paid = await step.run(StepOptions("charge", retry=QUICK), charge, name)
        parcel = await step.run("pack", pack, name)
        return {"paid": paid, "parcel": parcel}

    async def pay_back(amount: int) -> int:
        return 100 // (amount - amount)

    @flow.define_workflow("refund")
    async def refund(amount: int, step: Step) -> int:
        await step.run("look up", pack, "it")
        return await step.run(StepOptions("pay back", retry=ONCE), pay_back, amount)

    @flow.define_workflow("family")
    async def family(step: Step) -> list[Any]:
        return [
            await step.run_workflow(order, "f-1", name="first"),
            await step.run_workflow(order, "f-2", name="second"),
        ]

    @flow.define_workflow("echo")
    async def echo(value: Any, step: Step) -> Any:
        step.emit(value, kind="said")
        return value


def _define_waiting(flow: RedisFlow, parts: Parts) -> None:
    @flow.define_workflow("nap")
    async def nap(step: Step) -> str:
        await step.sleep("an hour", "1h")
        return "awake"

    @flow.define_workflow("poll")
    async def poll(name: str, step: Step) -> Any:
        return await step.wait_for_signal(name)

    @flow.define_workflow("approval")
    async def approval(step: Step) -> Any:
        return await step.wait_for_signal("approved")

    async def hold(name: str) -> str:
        await parts.gates[name].wait()
        return f"{name} went on"

    @flow.define_workflow("held")
    async def held(name: str, step: Step) -> str:
        return await step.run("hold", hold, name)

    async def touch() -> str:
        if not parts.is_healed:
            msg = "it broke"
            raise RuntimeError(msg)
        return "whole"

    @flow.define_workflow("brittle")
    async def brittle(step: Step) -> str:
        return await step.run(StepOptions("touch", retry=ONCE), touch)


def _define_large(flow: RedisFlow) -> None:
    async def turn(number: int) -> int:
        if number == 7:
            msg = "seven is no number for a lap"
            raise ValueError(msg)
        return number

    @flow.define_workflow("laps")
    async def laps(count: int, step: Step) -> int:
        calls = [step.run(StepOptions(f"lap {n:03}", retry=ONCE), turn, n) for n in range(count)]
        done = await asyncio.gather(*calls, return_exceptions=True)
        return sum(each for each in done if isinstance(each, int))

    async def boast(text: str) -> str:
        return text

    async def fall(text: str) -> str:
        raise ValueError(text)

    @flow.define_workflow("hostile")
    async def hostile(texts: list[str], step: Step) -> None:
        for text in texts:
            await step.run(text if text.isprintable() else "turned", boast, text)
            step.emit({text: text}, kind="said")
        await step.run(StepOptions("fall", retry=ONCE), fall, " ".join(texts))


@dataclass(frozen=True)
class Runs:
    """Their ids, by what has become of them."""

    succeeded: str
    failed: str
    sleeping: str
    waiting: str
    family: str
    running: str
    stranded: str
    large: str
    hostile: str
    queued: str


def fill(stage: Stage) -> Runs:
    """Start them, and wait until each is where it should be."""
    flow = stage.flow
    stage.run(flow.controls.pause(queue="mail"))
    stage.run(flow.schedules.create("hourly", "echo", every="1h", input="tick"))
    stage.run(flow.schedules.create("nightly", "order", cron="0 3 * * *", input="n-1"))
    stage.run(flow.schedules.pause("nightly"))
    for number in range(60):
        stage.start("echo", number, tags={"batch": "sixty"})
    runs = Runs(
        succeeded=stage.finish(stage.start("order", "o-1", tags={"customer": "c1"})),
        failed=stage.finish(stage.start("refund", 5, tags={"customer": "c2"})),
        sleeping=stage.until(stage.start("nap"), "waiting:timer"),
        waiting=stage.until(stage.start("approval"), "waiting:signal"),
        family=stage.finish(stage.start("family")),
        running=stage.until(stage.start("held", "stage"), "running"),
        stranded=stage.until(stage.start(untyped("orphan"), {"id": 1}), "waiting:stranded"),
        large=stage.finish(stage.start("laps", MANY)),
        hostile=stage.finish(
            stage.start(
                "hostile", [*MARKUP, TURNED], tags=dict(zip(("script", "image", "closed"), MARKUP, strict=True))
            )
        ),
        queued=stage.start("echo", "letter", queue="mail"),
    )
    assert stage.status(runs.succeeded) == "succeeded"
    assert stage.status(runs.failed) == "failed"
    assert stage.status(runs.large) == "succeeded"
    assert stage.status(runs.hostile) == "failed"
    return runs
