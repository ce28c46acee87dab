"""Workflows for worker processes that are stopped, blocked, or kill themselves. Their bodies write to one file."""

from __future__ import annotations

import asyncio
import os
import time

from redisflow import RedisFlow, RetryPolicy, Step, StepOptions
from redisflow.authoring.body import current_body

flow = RedisFlow(os.environ["REDISFLOW_URL"], namespace=os.environ["TRAPS_NAMESPACE"])
LEASE_S = float(os.environ["TRAPS_LEASE_S"])
ONCE = RetryPolicy(maximum_attempts=1)
_log = os.open(os.environ["TRAPS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(event: str) -> None:
    """One line, in one write."""
    body = current_body.get()
    assert body is not None
    os.write(_log, f"{event} {body.run_id} {body.key} {os.getpid()}\n".encode())


async def short() -> str:
    note("start")
    await asyncio.sleep(0.02)  # the work itself
    note("end")
    return "short"


async def block_the_loop() -> str:
    note("start")
    time.sleep(3 * LEASE_S)  # noqa: ASYNC251  # the fault itself
    note("end")
    return "blocked"


async def hold_on() -> str:
    note("start")
    await asyncio.sleep(0.5)  # long enough to be stopped in
    note("end")
    return "held on"


async def kill_the_process() -> None:
    note("start")
    os._exit(137)


@flow.define_workflow("blocking")
async def blocking(step: Step) -> str:
    return await step.run("block", block_the_loop)


@flow.define_workflow("stopped")
async def stopped(step: Step) -> list[str]:
    return [await step.run("hold-on", hold_on), await step.run("then", short), await step.run("last", short)]


@flow.define_workflow("poison")
async def poison(step: Step) -> None:
    await step.run(StepOptions("kill", retry=ONCE), kill_the_process)


@flow.define_workflow("neighbour")
async def neighbour(step: Step) -> int:
    return len([await step.run("turn", short) for _ in range(50)])


@flow.define_workflow("killer")
async def killer(step: Step) -> None:
    await step.run("before", short)
    os._exit(137)
