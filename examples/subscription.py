"""A subscription that lives for years: each month is a new beginning of the same run, with an empty history.

The run keeps its id, its unique key and the signals that it has not taken: whoever has its handle follows it, and a
cancellation that comes between two months is found in the next one.
"""

import asyncio
import os
from dataclasses import dataclass

from redisflow import RedisFlow, Step

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="subscription")

PARTNERS = {"grace"}


@dataclass
class Subscription:
    customer: str
    month: int = 1
    paid: int = 0


async def charge(customer: str, month: int) -> int:
    return 0 if month == 1 else 800 if customer in PARTNERS else 900  # the first one is free


@flow.define_workflow("subscribe")
async def subscribe(now: Subscription, step: Step) -> str:
    paid = now.paid + await step.run("charge", charge, now.customer, now.month)
    # In life "30d".
    if await step.wait_for_signal("cancel", timeout="50ms") is not None:
        return f"{now.customer} paid {paid} in {now.month} months"
    return step.continue_as_new(Subscription(now.customer, now.month + 1, paid))


async def main() -> None:
    async with flow, flow.new_worker():
        handle = await subscribe.run(Subscription("ada"), unique_key="ada")
        while (await handle.get()).continued < 2:  # noqa: ASYNC110  # another process may have it
            await asyncio.sleep(0.01)
        await handle.signal("cancel", "too expensive")
        print(await handle.result(timeout="1m"))
        run = await handle.get()
        print("steps since the last beginning:", [step.key for step in run.steps])


if __name__ == "__main__":
    asyncio.run(main())
