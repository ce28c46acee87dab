"""Workflows for worker processes of their own. What their bodies do is written to a ledger that the story reads."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path

from redisflow import RedisFlow, Step

flow = RedisFlow(
    namespace=os.environ.get("STORY_NAMESPACE", "stories"), call_timeout=os.environ.get("STORY_CALL_TIMEOUT", "10s")
)


def ledger() -> Path:
    """Return the file in which bodies note what they do."""
    return Path(os.environ["STORY_LEDGER"])


def note(line: str) -> None:
    """Append a line, in one write: several processes share the file."""
    with ledger().open("a", encoding="utf-8") as file:
        file.write(line + "\n")


async def charge() -> int:
    note("charged")
    return os.getpid()


async def hold() -> int:
    """Take until the gate is open."""
    note("hold")
    while not ledger().with_suffix(".gate").exists():  # noqa: ASYNC110  # another process opens it
        await asyncio.sleep(0.01)
    return os.getpid()


@flow.define_workflow("hold")
async def holding(step: Step) -> tuple[int, int]:
    return await step.run("charge", charge), await step.run("hold", hold)


async def work(number: int) -> int:
    note(f"work {number}")
    await asyncio.sleep(0.02)
    return os.getpid()


@flow.define_workflow("work")
async def working(number: int, step: Step) -> int:
    return await step.run("work", work, number)


async def crash() -> None:
    note("crash")
    os.kill(os.getpid(), signal.SIGKILL)


@flow.define_workflow("crash")
async def crashing(step: Step) -> None:
    await step.run("crash", crash)


def hang() -> None:
    """A thread that nothing can end."""
    note("hang")
    threading.Event().wait()


@flow.define_workflow("hang")
async def hanging(step: Step) -> None:
    await step.run("hang", hang)


@flow.define_workflow("careless")
async def careless(step: Step) -> None:
    note("a file is written in workflow code")
