"""The workflows of the golden stores. Whoever makes a store and whoever loads it later has the same code.

It runs on redisflow as it was when its first engine landed: what came later stands in `golden_features.py`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from redisflow import NonRetryableError, RedisFlow, RetryPolicy, Step, StepError, StepOptions

LATER = "90s"
"""Long enough for a store to be made meanwhile, and over when somebody loads it."""
RETRY_LATER = RetryPolicy(initial_interval=LATER, maximum_attempts=3, jitter=0)


@dataclass(frozen=True)
class Money:
    """A value of a type of the user's."""

    amount: Decimal
    at: datetime


@dataclass
class Maker:
    """What its code does otherwise while a store is made: bodies hang or fail, so that runs stay where they are."""

    making: bool = False
    drifts: bool = False

    async def work(self, name: str) -> str:
        return name

    async def hang(self, name: str) -> str:
        if self.making:
            await asyncio.Event().wait()
        return name

    async def fail_then(self, name: str) -> str:
        if self.making:
            raise ConnectionError("not yet")
        return name


def register(flow: RedisFlow, maker: Maker) -> None:
    """All of them."""

    @flow.define_workflow("chain")
    async def chain(prefix: str, step: Step) -> list[str]:
        first = await step.run("first", maker.work, f"{prefix}-first")
        second = await step.run("second", maker.hang if prefix == "held" else maker.work, f"{prefix}-second")
        return [first, second]

    @flow.define_workflow("typed", version="v1", queue="slow")
    async def typed(money: Money, step: Step) -> Money:
        async def double(value: Money) -> Money:
            return Money(value.amount * 2, value.at)

        doubled = await step.run("double", double, money)
        await step.sleep("nap", LATER)
        return await step.run("again", double, doubled)

    @flow.define_workflow("fan")
    async def fan(step: Step) -> list[Any]:
        parts = await asyncio.gather(
            step.run("quick", maker.work, "quick"),
            step.run("slow", maker.hang, "slow"),
            step.run(StepOptions("flaky", retry=RETRY_LATER), maker.fail_then, "flaky"),
        )
        return list(parts)

    @flow.define_workflow("retrying")
    async def retrying(step: Step) -> str:
        return await step.run(StepOptions("flaky", retry=RETRY_LATER), maker.fail_then, "flaky")

    @flow.define_workflow("caught")
    async def caught(step: Step) -> str:
        try:
            await step.run("fails", _fail)
        except StepError as error:
            note = f"caught {error.error_type}"
        await step.sleep("nap", LATER)
        return note

    @flow.define_workflow("failing")
    async def failing(step: Step) -> None:
        await step.run("fails", _fail)

    @flow.define_workflow("again", retry=RETRY_LATER)
    async def again(step: Step) -> str:
        first = await step.run("first", maker.work, "first")
        return first + await step.run(StepOptions("fails", retry=RetryPolicy(maximum_attempts=1)), maker.fail_then, "x")

    @flow.define_workflow("drifting")
    async def drifting(step: Step) -> str:
        name = await step.run("other" if maker.drifts else "one", maker.work, "one")
        await step.sleep("nap", "1s")
        return name

    if not maker.making:

        @flow.define_workflow("unheard-of")
        async def unheard_of(step: Step) -> str:
            return await step.run("one", maker.work, "heard of")


async def _fail() -> None:
    raise NonRetryableError("never")


MONEY = Money(Decimal("10.50"), datetime(2020, 2, 29, 12, tzinfo=UTC))

EXPECTED: dict[str, Any] = {
    "succeeded": ["done-first", "done-second"],
    "pending": ["new-first", "new-second"],
    "held": ["held-first", "held-second"],
    "with-key": ["keyed-first", "keyed-second"],
    "start": ["later-first", "later-second"],
    "timer": Money(Decimal("42.00"), MONEY.at),
    "fan": ["quick", "slow", "flaky"],
    "retry": "flaky",
    "caught": "caught redisflow.errors.NonRetryableError",
    "workflow-retry": "firstx",
    "suspended": "one",
    "stranded": "heard of",
}
"""By name of a run of a store, what it returns in the end. The others do not succeed."""
