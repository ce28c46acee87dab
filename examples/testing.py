"""Tests of a workflow: in milliseconds without a server, with every crash that matters, and through a month of waiting.

These are tests as pytest finds them: `pytest examples/testing.py`. Run as a script, it calls them one after another.
With redisflow's pytest plugin the last one would ask for its fixtures `rf`, `worker` and `clock`.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel

from redisflow import NonRetryableError, RedisFlow, RetryPolicy, Step, StepError, StepOptions
from redisflow.testing import assert_replays, crash_matrix, fresh_namespace, run_inline, virtual_clock

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="testing")


class Order(BaseModel):
    id: str
    cents: int


# -- the application --------------------------------------------------------------------------------------------------


async def charge(order: Order, step: Step) -> str:
    # Where the provider is comes from outside: `flow.new_worker(resources=...)`.
    payment: str = await step.resources.charge(order, step.idempotency_key)
    return payment


async def refund(payment: str, step: Step) -> None:
    await step.resources.refund(payment, step.idempotency_key)


async def ship(order: Order) -> str:
    return f"parcel of {order.id}"


async def ask_for_review(order: Order) -> str:
    return f"how do you like {order.id}?"


HOURLY = RetryPolicy(maximum_attempts=5, initial_interval="1h", maximum_interval="1h", jitter=0)


@flow.define_workflow("process-order")
async def process_order(order: Order, step: Step) -> list[str]:
    payment = await step.run(StepOptions("charge", retry=HOURLY), charge, order, step)
    try:
        parcel = await step.run("ship", ship, order)
    except StepError:
        await step.run("refund", refund, payment, step)
        raise
    await step.sleep("try it out", "30d")
    return [payment, parcel, await step.run("ask for review", ask_for_review, order)]


# -- its tests --------------------------------------------------------------------------------------------------------

ORDER = Order(id="teapot", cents=4200)
DONE = ["payment-1", "parcel of teapot", "how do you like teapot?"]


async def test_an_order_is_charged_and_shipped() -> None:
    run = await run_inline(process_order, ORDER, steps={"charge": "payment-1"})
    assert run.result() == DONE


async def test_what_cannot_be_shipped_is_refunded() -> None:
    refunded: list[str] = []
    fakes = {
        "charge": "payment-1",
        "ship": NonRetryableError("out of stock"),
        "refund": lambda payment, _: refunded.append(payment),
    }
    run = await run_inline(process_order, ORDER, steps=fakes)
    assert run.status == "failed"
    assert refunded == ["payment-1"]


async def test_whatever_crashes_the_order_ends_the_same() -> None:
    report = await crash_matrix(process_order, ORDER, steps={"charge": "payment-1"})
    # Each of these may run twice, so each must bear it: the provider gets the same idempotency key both times.
    assert report.ran_twice == ("charge", "ship", "ask for review")


async def test_orders_of_the_last_release_go_on_with_this_code() -> None:
    # Written once: json.dumps(await flow.export_run(run_id))
    assert_replays(Path(__file__).with_name("testing_history.json"), process_order)


class UnreliableProvider:
    def __init__(self) -> None:
        self.keys: list[str] = []

    async def charge(self, order: Order, key: str) -> str:
        self.keys.append(key)
        if len(self.keys) < 3:
            raise ConnectionError(order.id)
        return "payment-1"


async def test_an_order_survives_an_outage_and_waits_for_a_month() -> None:
    provider = UnreliableProvider()

    @contextlib.asynccontextmanager
    async def resources() -> AsyncIterator[UnreliableProvider]:
        yield provider

    # A real server and a real worker; the time is the test's.
    async with fresh_namespace(flow), virtual_clock(flow) as clock, flow.new_worker(resources=resources):
        handle = await process_order.run(ORDER)
        await clock.advance("1h")
        assert len(provider.keys) == 2
        await clock.advance("29d")
        assert (await handle.get()).waiting_for == "timer"
        assert await handle.result() == DONE
        run = await handle.get()
        assert run.finished_at == run.created_at + timedelta(days=30, hours=2)
        assert len(set(provider.keys)) == 1


async def main() -> None:
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            await test()
            print("passed:", name.replace("_", " ").removeprefix("test "))


if __name__ == "__main__":
    asyncio.run(main())
