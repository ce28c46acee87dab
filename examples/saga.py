"""A saga: charge, then reserve; the reservation fails, so the charge is refunded.

The compensation is a step like any other: it is retried, recorded, and happens on whatever worker is alive. The keys
that the payment provider gets are the same on every attempt, so that it charges and refunds once.
"""

import asyncio
import os

from redisflow import NonRetryableError, RedisFlow, Step, StepError, WorkflowFailed

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="saga")

ledger: dict[str, str] = {}
"""The payment provider: one entry for each idempotency key."""


async def charge(order_id: str, cents: int, step: Step) -> str:
    ledger.setdefault(step.idempotency_key, f"charged {cents} for {order_id}")
    return f"payment-{order_id}"


async def reserve(order_id: str) -> str:
    msg = f"{order_id}: out of stock"
    raise NonRetryableError(msg)


async def refund(payment_id: str, cents: int, step: Step) -> None:
    ledger.setdefault(step.idempotency_key, f"refunded {cents} of {payment_id}")


@flow.define_workflow("buy")
async def buy(order_id: str, step: Step) -> str:
    payment_id = await step.run("charge", charge, order_id, 4200, step)
    try:
        return await step.run("reserve", reserve, order_id)
    except StepError as error:
        await step.run("refund", refund, payment_id, 4200, step)
        msg = f"refunded, because {error.message}"
        # Where the workflow has a retry policy of its own, this says that it is over.
        raise NonRetryableError(msg) from None


async def main() -> None:
    async with flow, flow.new_worker():
        handle = await buy.run("order-7")
        try:
            await handle.result(timeout="1m")
        except WorkflowFailed as failed:
            print("failed:", failed.failure.message)
        for line in ledger.values():
            print("ledger:", line)


if __name__ == "__main__":
    asyncio.run(main())
