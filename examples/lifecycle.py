"""After an outage: hold the runs of a workflow, let them go gently, retry what failed, fork with a result by hand.

    python examples/lifecycle.py

uses $REDISFLOW_URL, or this process's memory.
"""

from __future__ import annotations

import asyncio
import os
import secrets

from redisflow import Control, RedisFlow, RetryPolicy, Step, StepOptions, WorkflowFailed, WorkflowHandle

flow = RedisFlow(os.environ.get("REDISFLOW_URL") or "memory://", namespace=f"lifecycle-{secrets.token_hex(4)}")
bank_is_away = True


async def reserve(order: int) -> str:
    return f"order {order}"


async def charge(reserved: str) -> str:
    if bank_is_away:
        raise ConnectionError("the bank is away")
    return f"{reserved}: paid"


@flow.define_workflow("order")
async def process_order(order: int, step: Step) -> str:
    reserved = await step.run("reserve", reserve, order)
    return await step.run(StepOptions("charge", retry=RetryPolicy(maximum_attempts=1)), charge, reserved)


async def until(state: str, held: int) -> Control:
    """Look until the workflow's pause is in this state, and holds so many runs."""
    while True:
        control = await flow.controls.get(workflow="order")
        if control is not None and control.state == state and control.waiting >= held:
            return control
        await asyncio.sleep(0.02)


async def count_failed(handles: list[WorkflowHandle[str]]) -> int:
    """How many of these have failed, once each of them is held or has ended."""
    failed = 0
    for handle in handles:
        run = await handle.get()
        while run.status in {"pending", "running"}:
            await asyncio.sleep(0.02)
            run = await handle.get()
        failed += run.status == "failed"
    return failed


async def main() -> None:
    global bank_is_away  # noqa: PLW0603  # the outside world
    async with flow, flow.new_worker():
        failed = await process_order.run(1)
        try:
            await failed.result(timeout="1m")
        except WorkflowFailed as error:
            print(f"failed: {error.failure.message}")

        mended = await failed.fork(steps={"charge": "order 1: paid in cash"})
        print(f"by hand: {await mended.result(timeout='1m')}")

        # While the bank is away, orders are taken and held.
        await flow.controls.pause(workflow="order")
        orders = await process_order.run_many(range(2, 22))
        held = await until("paused", held=20)
        print(f"held: {held.waiting}")

        # It is said to be back. It is not: the release stops by itself.
        await flow.controls.release(workflow="order", rate=20, stop_on_failures=0.5, after=3)
        stopped = await until("stopped", held=1)
        print(f"stopped by itself: {stopped.failed >= 3}, still held: {stopped.waiting > 0}")

        failures = await count_failed([failed, *orders])
        bank_is_away = False
        await flow.controls.release(workflow="order", rate=200)
        retried = await flow.bulk.retry(workflow="order")
        print(f"retried all that had failed: {retried.done == failures}, refused: {retried.refused}")
        paid = [await order.result(timeout="1m") for order in [failed, *orders]]
        print(f"paid: {len(paid)}, the first was retried: {(await failed.get()).retries}")


if __name__ == "__main__":
    asyncio.run(main())
