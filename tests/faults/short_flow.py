"""Short runs for worker processes, whose bodies write to one file."""

from __future__ import annotations

import asyncio
import ctypes
import os
from pathlib import Path

from redisflow import RedisFlow, Step
from tests.faults.noted import note

flow = RedisFlow(os.environ["REDISFLOW_URL"], namespace=os.environ["FAULTS_NAMESPACE"])


async def work() -> None:
    note("start")
    await asyncio.sleep(0.02)  # the work itself
    note("end")


async def hold_on(seconds: float) -> str:
    note("start")
    await asyncio.sleep(seconds)  # the work itself
    note("end")
    return "held on"


def hold_the_interpreter() -> str:
    """The first time, one call of native code that does not let go of it: no thread of this process runs meanwhile."""
    note("start")
    if not Path(f"{os.environ['FAULTS_LOG']}.held").exists():
        Path(f"{os.environ['FAULTS_LOG']}.held").touch()
        ctypes.PyDLL(None).sleep(4)
    note("end")
    return str(os.getpid())


@flow.define_workflow("short")
async def short(number: int, step: Step) -> int:
    for name in ("one", "two", "three"):
        await step.run(name, work)
    return number


@flow.define_workflow("long")
async def long(seconds: float, step: Step) -> str:
    await step.run("before", work)
    return await step.run("hold", hold_on, seconds)


@flow.define_workflow("stuck")
async def stuck(step: Step) -> str:
    return await step.run("stuck", hold_the_interpreter)


@flow.define_workflow("states")
async def states(step: Step) -> list[str]:
    """A run that is in every state for a while: in a body, between two, waiting for a timer, a signal, a retry."""
    first = await step.run("body", hold_on, 0.3)
    await step.sleep("nap", "300ms")
    answer = await step.wait_for_signal("answer", str, timeout="300ms")
    both = await asyncio.gather(step.run("left", hold_on, 0.2), step.run("right", hold_on, 0.4))
    return [first, str(answer), *both]
