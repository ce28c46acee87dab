"""Best practices: steps that may run twice, names that say what they do, one step instead of three.

docs/best-practices.md explains each.
"""

import asyncio
import os

from redisflow import RedisFlow, RetryPolicy, Step, StepOptions, define_step

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="best-practices")

provider: dict[str, int] = {}
"""A payment provider that knows idempotency keys: one charge for each."""


# -- an idempotent step -----------------------------------------------------------------------------------------------


async def charge(cents: int, step: Step) -> str:
    """The key is the same on every attempt, so a retry after a lost answer charges nothing more."""
    provider.setdefault(step.idempotency_key, cents)
    if step.attempt == 1:
        msg = "the connection broke after the charge"
        raise ConnectionError(msg)
    return "paid"


@flow.define_workflow("pay")
async def pay(cents: int, step: Step) -> str:
    options = StepOptions("charge-card", retry=RetryPolicy(initial_interval="50ms"))
    return await step.run(options, charge, cents, step)


# -- one step instead of three ----------------------------------------------------------------------------------------


def parse(text: str) -> list[int]:
    return [int(word) for word in text.split()]


def clean(numbers: list[int]) -> list[int]:
    return [number for number in numbers if number >= 0]


@define_step(timeout="10s")
def summarize(text: str) -> int:
    """Parsing, cleaning and adding have no effects: nothing is gained by recording each of them."""
    return sum(clean(parse(text)))


@flow.define_workflow("summarize")
async def summarize_text(text: str, step: Step) -> int:
    return await step.run("summarize", summarize, text)


async def main() -> None:
    async with flow, flow.new_worker():
        print(await (await pay.run(4200)).result(timeout="1m"), "| charged:", list(provider.values()))
        handle = await summarize_text.run("1 2 -3 4")
        print("sum:", await handle.result(timeout="1m"), "| steps:", [each.key for each in (await handle.get()).steps])


if __name__ == "__main__":
    asyncio.run(main())
