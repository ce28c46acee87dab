"""The workflows that are disturbed: those of the crash points that write in different ways, and two more."""

from __future__ import annotations

import asyncio
from typing import Any

from redisflow import Limit, RedisFlow, Step
from tests.crash.harness import Journal
from tests.crash.reference import REFERENCES, Reference


def _limited(flow: RedisFlow, journal: Journal) -> Any:
    """Runs that wait for one slot, whose limit is decided in one of two partitions."""

    async def work(number: int) -> int:
        journal.body_starts()
        await asyncio.sleep(0.002)
        return number

    @flow.define_workflow("limited-part", concurrency=Limit(1, name="one"))
    async def part(number: int, step: Step) -> int:
        return await step.run(f"work-{number}", work, number)

    @flow.define_workflow("limited")
    async def limited(step: Step) -> list[int]:
        calls = (step.run_workflow(part, n, name=f"kid-{n}", spread=True) for n in range(3))
        return sorted(await asyncio.gather(*calls))

    return part.definition, limited.definition


def _idle(flow: RedisFlow, journal: Journal) -> Any:
    """Long enough for everything that a worker does from time to time."""

    async def work() -> str:
        journal.body_starts()
        await asyncio.sleep(0.8)
        return "done"

    @flow.define_workflow("idle")
    async def idle(step: Step) -> str:
        return await step.run("work", work)

    return (idle.definition,)


LIMITED = Reference(
    name="limited",
    define=_limited,
    output=[0, 1, 2],
    steps=dict.fromkeys(["kid-0", "kid-1", "kid-2"], "succeeded"),
    own=frozenset({"kid-0", "kid-1", "kid-2"}),
    partitions=2,
)
IDLE = Reference(name="idle", define=_idle, output="done", steps={"work": "succeeded"})

_NAMES = (
    *("sequential", "parallel", "retrying", "sleeping", "signaled", "family-2", "announced-2", "undone", "called-off"),
    *("continued", "telling", "canceled", "deadline", "unique", "counted"),
)
WORKFLOWS: dict[str, Reference] = {
    str(reference): reference for reference in REFERENCES if str(reference) in _NAMES
} | {
    "limited-2": LIMITED,
    "idle": IDLE,
}
