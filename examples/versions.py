"""Versions: v1 and v2 side by side, so that a deploy never changes the code under a run.

Two ways: one function with conditions on `step.version`, or one function for each version. A run keeps the version with
which it was started. A run whose version no worker has waits, as `stranded`, until one comes that has it.
"""

import asyncio
import os

from redisflow import RedisFlow, Step

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="versions")


async def charge(cents: int) -> str:
    return f"charged {cents}"


async def check_fraud(cents: int) -> bool:
    return cents < 100_000


# -- conditions in one function, registered without a version: it serves runs of every version -------------------------


@flow.define_workflow("checkout")
async def checkout(cents: int, step: Step) -> str:
    if step.version != "v1" and not await step.run("check-fraud", check_fraud, cents):
        return "refused"
    return await step.run("charge", charge, cents)


# -- a function for each version, and one for all the others ----------------------------------------------------------


@flow.define_workflow("bill", version="v1")
async def bill_v1(cents: int, step: Step) -> str:
    return "v1 " + await step.run("charge", charge, cents)


@flow.define_workflow("bill")
async def bill(cents: int, step: Step) -> str:
    """Runs of every other version, and those without one."""
    return f"{step.version} " + await step.run("charge", charge, cents + 1)


async def main() -> None:
    async with flow:
        old = await checkout.run(250_000, version="v1")
        new = await checkout.run(250_000, version="v2")
        exact = await bill_v1.run(100)
        other = await bill.run(100, version="v3")
        plain = await bill.run(100)
        async with flow.new_worker():
            print("checkout v1:", await old.result(timeout="1m"))
            print("checkout v2:", await new.result(timeout="1m"))
            print("bill v1:", await exact.result(timeout="1m"))
            print("bill v3:", await other.result(timeout="1m"))
            print("bill:", await plain.result(timeout="1m"))


if __name__ == "__main__":
    asyncio.run(main())
