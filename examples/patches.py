"""A deploy under runs that are under way: `step.patched` lets each run keep to the way it began with.

One order sleeps when the new code comes, which checks for fraud before it charges. It was past that point, so it goes
on as it was; an order that starts later is checked. A third deploy loses a step by mistake: the order is suspended with
a report of what differs, and goes on once the code is right again.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable

from redisflow import RedisFlow, Step, define_workflow_spec

URL = os.environ.get("REDISFLOW_URL", "memory://")
ORDER = define_workflow_spec("order", input=int, output=list[str])


async def charge(cents: int) -> str:
    return f"charged {cents}"


async def check_fraud(cents: int) -> str:
    return f"checked {cents}"


async def order_as_it_was(cents: int, step: Step) -> list[str]:
    done = [await step.run("charge", charge, cents)]
    await step.wait_for_signal("courier")
    return done


async def order_with_check(cents: int, step: Step) -> list[str]:
    done: list[str] = []
    if step.patched("fraud-check"):
        done.append(await step.run("check-fraud", check_fraud, cents))
    done.append(await step.run("charge", charge, cents))
    await step.wait_for_signal("courier")
    return done


async def order_by_mistake(cents: int, step: Step) -> list[str]:
    step.patched("fraud-check")
    done = [await step.run("charge", charge, cents)]
    await step.wait_for_signal("courier")
    return done


def deployed(code: Callable[[int, Step], Awaitable[list[str]]]) -> RedisFlow:
    """What a process is that runs this code."""
    flow = RedisFlow(URL, namespace="patches")
    flow.implement_workflow(ORDER)(code)
    return flow


async def wait_until(flow: RedisFlow, run_id: str, reason: str) -> None:
    while (await flow.get_run(run_id)).waiting_for != reason:  # noqa: ASYNC110  # another process may have it
        await asyncio.sleep(0.01)


async def main() -> None:
    async with deployed(order_as_it_was) as flow, flow.new_worker():
        old = (await flow.run_workflow(ORDER, 4200)).id
        await wait_until(flow, old, "signal")

    async with deployed(order_with_check) as flow, flow.new_worker():
        new = (await flow.run_workflow(ORDER, 4200)).id
        await wait_until(flow, new, "signal")

    async with deployed(order_by_mistake) as flow, flow.new_worker():
        await flow.signal(new, "courier")
        await wait_until(flow, new, "suspended")
        error = (await flow.get_run(new)).error
        if error is not None:
            print("\n".join(line.strip() for line in error.message.splitlines()[1:4]))

    async with deployed(order_with_check) as flow, flow.new_worker():
        await flow.signal(old, "courier")
        for run_id in (old, new):
            print("order:", await (await flow.get_handle(run_id, ORDER)).result(timeout="1m"))


if __name__ == "__main__":
    asyncio.run(main())
