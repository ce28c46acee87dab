"""The workflows of the chaos test, as its worker processes load them: in the code of yesterday, or in that of today.

Each body writes a line when it starts and one when it ends, to one file that all processes append to: the kernel
orders the lines, so no clock is needed to tell what came first. A body returns a token of its own, so that the record
says which of its starts was the one that counted. A workflow gives back what its steps gave it.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time

from redisflow import Limit, RedisFlow, RetryPolicy, Step, StepError, StepOptions
from redisflow.authoring.body import current_body

flow = RedisFlow(os.environ["REDISFLOW_URL"], namespace=os.environ["CHAOS_NAMESPACE"], partitions=2)
IS_NEW = os.environ["CHAOS_CODE"] == "new"

SOON = RetryPolicy(initial_interval="30ms", backoff_coefficient=1, maximum_attempts=3, jitter=0.1)
_log = os.open(os.environ["CHAOS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(event: str, token: str) -> None:
    """One line, in one write."""
    body = current_body.get()
    assert body is not None
    line = f"{time.time_ns()} {event} {body.run_id} {body.key} {body.attempt} {os.getpid()} {token}\n"
    os.write(_log, line.encode())


async def work() -> str:
    """Take a while, as I/O does."""
    token = secrets.token_hex(6)
    note("start", token)
    await asyncio.sleep(random.uniform(0.005, 0.08))  # the work itself
    note("end", token)
    return token


def work_in_thread() -> str:
    """The same in a thread."""
    token = secrets.token_hex(6)
    note("start", token)
    time.sleep(random.uniform(0.005, 0.05))  # the work itself
    note("end", token)
    return token


async def fail_first() -> str:
    """Fail once."""
    body = current_body.get()
    assert body is not None
    if body.attempt == 1:
        note("start", "-")
        note("fail", "-")
        msg = "not yet"
        raise ConnectionError(msg)
    return await work()


async def fail() -> str:
    """Always fail."""
    note("start", "-")
    note("fail", "-")
    msg = "never"
    raise ConnectionError(msg)


@flow.define_workflow("chain")
async def chain(step: Step) -> list[str]:
    """One after the other."""
    first = await step.run("first", work)
    second = await step.run("second", work_in_thread)
    return [first, second, await step.run("third", work)]


@flow.define_workflow("fan")
async def fan(step: Step) -> list[str]:
    """Side by side, then together."""
    parts = await step.gather(*(step.run(f"part-{n}", work) for n in range(4)))
    return [*parts, await step.run("join", work)]


@flow.define_workflow("flaky")
async def flaky(step: Step) -> list[str]:
    """A retry after a wait."""
    before = await step.run("before", work)
    return [before, await step.run(StepOptions("flaky", retry=SOON), fail_first)]


@flow.define_workflow("fallback")
async def fallback(step: Step) -> list[str]:
    """A failure that is caught."""
    try:
        return [await step.run(StepOptions("primary", retry=RetryPolicy(maximum_attempts=1)), fail)]
    except StepError:
        return [await step.run("fallback", work)]


@flow.define_workflow("nap")
async def nap(step: Step) -> list[str]:
    """A wait that nobody holds."""
    before = await step.run("before", work)
    await step.sleep("nap", "150ms")
    return [before, await step.run("after", work)]


@flow.define_workflow("loop")
async def loop(step: Step) -> list[str]:
    """Many short steps."""
    return [await step.run("turn", work) for _ in range(12)]


@flow.define_workflow("family")
async def family(step: Step) -> list[str]:
    """Children beside it, and in another partition."""
    before = await step.run("before", work)
    await step.gather(*(step.run_workflow(nap, name=f"child-{n}", spread=n > 0) for n in range(3)))
    return [before, await step.run("after", work)]


@flow.define_workflow("asking")
async def asking(step: Step) -> list[str]:
    """A word from outside, twice."""
    before = await step.run("before", work)
    for number in range(2):
        assert await step.wait_for_signal("go") == number
    return [before, await step.run("after", work)]


@flow.define_workflow("limited", concurrency=Limit(3, name="three"))
async def limited(step: Step) -> list[str]:
    """No more than three at a time."""
    return [await step.run("first", work), await step.run("second", work)]


@flow.define_workflow("patched")
async def patched(step: Step) -> list[str]:
    """What the code of yesterday does not know yet."""
    before = await step.run("before", work)
    await step.sleep("nap", "50ms")
    more = [await step.run("between", work)] if IS_NEW and step.patched("between") else []
    return [before, *more, await step.run("after", work)]


if IS_NEW:

    @flow.define_workflow("chain", version="v2")
    async def chain_v2(step: Step) -> list[str]:
        """A version that only the code of today has."""
        return [await step.run("only", work), await step.run("last", work_in_thread)]
