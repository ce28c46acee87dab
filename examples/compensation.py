"""An order as a saga: each step says how it is undone, and whatever ends the order early, everything is undone.

The warehouse has no more blue cups: that order fails by itself. The other one is canceled while it waits for the
courier. In both, what was done is undone in reverse order, as steps that are retried and recorded.
"""

import asyncio
import os

from redisflow import NonRetryableError, RedisFlow, Step, WorkflowCanceled, WorkflowFailed

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="compensation")

ledger: dict[str, str] = {}
"""What the payment provider and the warehouse did: one entry for each idempotency key."""


async def charge(order: str, step: Step) -> None:
    ledger.setdefault(step.idempotency_key, f"charged for {order}")


async def refund(order: str, step: Step) -> None:
    ledger.setdefault(step.idempotency_key, f"refunded {order}")


async def reserve(order: str, step: Step) -> None:
    if "blue" in order:
        msg = f"{order}: none left"
        raise NonRetryableError(msg)
    ledger.setdefault(step.idempotency_key, f"reserved {order}")


async def release(order: str, step: Step) -> None:
    ledger.setdefault(step.idempotency_key, f"released {order}")


@flow.define_workflow("buy")
async def buy(order: str, step: Step) -> str:
    # Before the step that it undoes: a charge whose answer was lost is refunded, too.
    step.on_failure("refund", refund, order, step)
    await step.run("charge", charge, order, step)
    await step.run("reserve", reserve, order, step)
    step.on_failure("release", release, order, step)
    await step.wait_for_signal("courier")
    return "shipped"


async def main() -> None:
    async with flow, flow.new_worker():
        failing = await buy.run("blue cup")
        try:
            await failing.result(timeout="1m")
        except WorkflowFailed as failed:
            print("failed:", failed.failure.message)
        canceled = await buy.run("red cup")
        while (await canceled.get()).waiting_for != "signal":  # noqa: ASYNC110  # another process may have it
            await asyncio.sleep(0.01)
        await canceled.cancel()
        try:
            await canceled.result(timeout="1m")
        except WorkflowCanceled:
            print("canceled")
        for line in ledger.values():
            print("ledger:", line)


if __name__ == "__main__":
    asyncio.run(main())
