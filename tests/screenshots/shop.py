"""A shop with something of everything that the dashboard shows: what the pictures are taken of."""

from __future__ import annotations

import asyncio
import math
import random

from pydantic import BaseModel

from redisflow import NonRetryableError, RedisFlow, RetryPolicy, Schedule, Step, StepOptions


class Item(BaseModel):
    """A line of an order."""

    sku: str
    quantity: int


class Order(BaseModel):
    """What a customer wants."""

    id: str
    customer: str
    items: list[Item]
    total: float


RETRY = RetryPolicy(initial_interval="400ms", maximum_attempts=4)
FLAKY, DECLINED = 0.2, 0.04
"""Parts of the charges that fail at first, and for good."""


def define_shop(flow: RedisFlow, chance: random.Random) -> None:
    """Its workflows."""

    async def validate(order: Order) -> dict[str, int]:
        await asyncio.sleep(0.05)
        return {"lines": len(order.items)}

    async def reserve(order: Order) -> list[str]:
        await asyncio.sleep(chance.uniform(0.1, 0.4))
        return [f"bin-{1 + number}" for number, _ in enumerate(order.items)]

    async def charge(order: Order) -> dict[str, object]:
        await asyncio.sleep(0.15)
        draw = random.Random(order.id).random()
        if draw < DECLINED:
            refuse_card(order)
        if draw < FLAKY and chance.random() < 0.7:
            msg = "the payment gateway did not answer within 150 ms"
            raise ConnectionError(msg)
        return {"payment": f"pay_{order.id}", "amount": order.total, "currency": "EUR"}

    async def book() -> dict[str, str]:
        await asyncio.sleep(0.2)
        return {"carrier": "DHL", "tracking": f"JD{chance.randrange(10**9):09}"}

    async def wait_a_little() -> None:
        await asyncio.sleep(0.1)

    @flow.define_workflow("ship-parcel")
    async def ship_parcel(order: Order, step: Step) -> dict[str, str]:
        booked = await step.run("book-carrier", book)
        await step.sleep("pickup", "700ms")
        await step.run("print-label", wait_a_little)
        return booked

    @flow.define_workflow("order", version="2")
    async def process_order(order: Order, step: Step) -> dict[str, str]:
        await step.run("validate", validate, order)
        await step.gather(
            step.run("reserve-stock", reserve, order),
            step.run(StepOptions("charge-card", retry=RETRY), charge, order),
        )
        step.log.info("paid by card")
        if order.total > 500:
            await step.wait_for_signal("approved", timeout="2d")
        if order.items[0].quantity > 8:
            await step.sleep("cooling-off", "1d")
        booked = await step.run_workflow(ship_parcel, order)
        await step.run("send-mail", wait_a_little)
        return {"order": order.id, "tracking": booked["tracking"]}

    @flow.define_workflow("fulfil-batch")
    async def fulfil_batch(orders: list[Order], step: Step) -> int:
        return len(await step.map("order", process_order, orders, limit=3))

    @flow.define_workflow("nightly-report", schedule=Schedule(cron="0 3 * * *", id="nightly"))
    async def report(step: Step) -> str:
        await step.run("collect-rows", wait_a_little)
        return "4211 rows"

    @flow.define_workflow("import-catalogue", queue="bulk")
    async def import_catalogue(rows: int, step: Step) -> int:
        async def take(row: int) -> int:
            await asyncio.sleep(0.02)
            return row

        return len(await step.map("row", take, list(range(rows)), limit=20))

    @flow.define_workflow("crawl", queue="bulk")
    async def crawl(address: str, step: Step) -> None:
        async def fetch() -> None:
            step.heartbeat({"pages": 211, "of": 1800, "at": address})
            await asyncio.sleep(3600)

        await step.run("fetch", fetch)


def refuse_card(order: Order) -> None:
    """As a gateway would."""
    msg = f"the card of {order.customer} was declined: insufficient funds"
    raise NonRetryableError(msg)


def make_order(chance: random.Random, **given: object) -> Order:
    """One of some customer's."""
    items = [
        Item(sku=f"A-{chance.randrange(100, 999)}", quantity=chance.randrange(1, 10))
        for _ in range(chance.randrange(1, 4))
    ]
    total = round(chance.expovariate(1 / 150), 2)
    made = Order(
        id=f"o-{chance.randrange(10_000, 99_999)}", customer=f"c{chance.randrange(40)}", items=items, total=total
    )
    return made.model_copy(update=given)


async def trade(flow: RedisFlow, seconds: float, chance: random.Random) -> None:
    """Start orders for so long, more and fewer by turns."""
    crawl, catalogue = flow.find_workflow("crawl"), flow.find_workflow("import-catalogue")
    process, report = flow.find_workflow("order", "2"), flow.find_workflow("nightly-report")
    await crawl.run("https://shop.example/sitemap")
    await catalogue.run(240)
    await report.run(None)
    one = Item(sku="A-1", quantity=1)
    await flow.find_workflow("fulfil-batch").run(
        [make_order(chance, items=[one], total=total) for total in (80, 900, 120, 45)]
    )
    for tick in range(int(seconds * 2)):
        for _ in range(round(3 + 2 * math.sin(tick / 25) + chance.random())):
            order = make_order(chance)
            region = chance.choice(["eu", "us", "apac"])
            await process.run(order, tags={"customer": order.customer, "region": region})
        await asyncio.sleep(0.5)
    async for waiting in flow.list_runs(workflow="order", status="waiting:signal"):
        await flow.signal(waiting.id, "approve", {"by": "ada"})
        return
