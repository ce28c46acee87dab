"""Workflows for worker processes that are stopped, blocked, or kill themselves. Their bodies write to one file."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

from redisflow import RedisFlow, RetryPolicy, Step, StepOptions
from redisflow.authoring.body import current_body
from tests.crash import wall_clock

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


async def fault() -> None:
    note("start")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.kill(os.getpid(), signal.SIGSEGV)


def use_a_gibibyte() -> None:
    """As native code that does not look whether it was given its memory."""
    native = ctypes.CDLL(None)
    native.malloc.restype = ctypes.c_void_p
    ctypes.memset(native.malloc(ctypes.c_size_t(1 << 30)) or 0, 1, 1)


async def exhaust_memory() -> None:
    note("start")
    use_a_gibibyte()  # there is as much
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()  # noqa: ASYNC240  # no disk
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))
    use_a_gibibyte()


@flow.define_workflow("blocking")
async def blocking(step: Step) -> str:
    return await step.run("block", block_the_loop)


@flow.define_workflow("stopped")
async def stopped(step: Step) -> list[str]:
    return [await step.run("hold-on", hold_on), await step.run("then", short), await step.run("last", short)]


@flow.define_workflow("poison")
async def poison(step: Step) -> None:
    await step.run(StepOptions("kill", retry=ONCE), kill_the_process)


@flow.define_workflow("segfault")
async def segfault(step: Step) -> None:
    await step.run(StepOptions("kill", retry=ONCE), fault)


@flow.define_workflow("out-of-memory")
async def out_of_memory(step: Step) -> None:
    await step.run(StepOptions("kill", retry=ONCE), exhaust_memory)


@flow.define_workflow("neighbour")
async def neighbour(step: Step) -> int:
    return len([await step.run("turn", short) for _ in range(50)])


@flow.define_workflow("killer")
async def killer(step: Step) -> None:
    await step.run("before", short)
    os._exit(137)


async def tick() -> float:
    note("start")
    return time.monotonic()


async def read_the_wall_clock() -> list[float]:
    return [time.time(), time.time_ns() / 1e9, datetime.now(UTC).timestamp()]


async def tick_late(step: Step) -> float:
    note("start")
    if step.attempt == 1:
        msg = "once"
        raise ConnectionError(msg)
    return time.monotonic()


async def jump_and_hold_on(offsets_s: list[int]) -> float:
    """Beyond two leases, at several times of the day."""
    note("start")
    for offset_s in offsets_s:
        wall_clock.jump_to(offset_s)
        await asyncio.sleep(2 * LEASE_S / len(offsets_s))  # the work itself
    return time.time()


@flow.define_workflow("clocked")
async def clocked(step: Step) -> tuple[list[float], list[float], list[float]]:
    """Instants of the monotonic clock, which all processes share; what the workflow takes for now; the wall clock."""
    wall = await step.run("wall-clock", read_the_wall_clock)
    began = await step.run("tick", tick)
    first_s = step.now().timestamp()
    await step.sleep("nap", "400ms")
    slept = await step.run("tick", tick)
    options = StepOptions("late", retry=RetryPolicy(initial_interval="400ms", jitter=0))
    tried_again = await step.run(options, tick_late, step)
    return [began, slept, tried_again], [first_s, step.now().timestamp()], wall


@flow.define_workflow("endless")
async def endless(step: Step) -> None:
    await step.run("hold-on", asyncio.Event().wait)


@flow.define_workflow("jumping")
async def jumping(offsets_s: list[int], step: Step) -> float:
    read_s = await step.run("jump", jump_and_hold_on, offsets_s)
    await step.sleep("nap", "100ms")
    return read_s
