"""Durable sleep: for milliseconds or months, beside running steps too. A sleeping run holds no worker.

The time is the server's: a run that slept through a deploy wakes when it is due, on whatever worker there is.
"""

import asyncio
import os
from datetime import UTC, datetime, timedelta

from redisflow import RedisFlow, Step

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="sleep")


async def send(what: str) -> str:
    return f"sent {what}"


async def build(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "built"


@flow.define_workflow("trial")
async def trial(period: str, step: Step) -> list[str]:
    """A welcome now, a reminder later."""
    first = await step.run("welcome", send, "a welcome")
    await step.sleep("trial-period", period)
    return [first, await step.run("reminder", send, "a reminder")]


@flow.define_workflow("launch")
async def launch(at: datetime, step: Step) -> str:
    """Until an instant."""
    await step.sleep_until("launch-time", at)
    return await step.run("announce", send, "the announcement")


@flow.define_workflow("build-at-least")
async def build_at_least(seconds: float, step: Step) -> str:
    """A sleep beside a running step: whichever is longer."""
    built, _ = await asyncio.gather(step.run("build", build, seconds), step.sleep("at-least", "100ms"))
    return built


async def main() -> None:
    async with flow, flow.new_worker():
        long = await trial.run("14d")
        run = await long.get()
        while run.status in {"pending", "running"}:
            await asyncio.sleep(0.02)
            run = await long.get()
        print("asleep:", run.status, run.waiting_for)
        await long.cancel()
        print("trial:", await (await trial.run("200ms")).result(timeout="1m"))
        due = datetime.now(UTC) + timedelta(milliseconds=200)
        print("launch:", await (await launch.run(due)).result(timeout="1m"), "| early:", datetime.now(UTC) < due)
        print("beside a step:", await (await build_at_least.run(0.05)).result(timeout="1m"))


if __name__ == "__main__":
    asyncio.run(main())
