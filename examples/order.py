"""An order: validate, charge and reserve in parallel, ship, confirm. A failed shipment is refunded.

Run a worker for it with `redisflow worker examples/order.py:flow`, and start an order with `python examples/order.py`.
`make demo` does both, and kills the worker in the middle.
"""

import asyncio
import os
import time
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel

from redisflow import RedisFlow, RetryPolicy, Step, StepError, StepOptions

flow = RedisFlow(namespace="shop")

LEDGER = Path(os.environ.get("ORDER_LEDGER", ".redisflow/ledger.txt"))
"""Stands for the outside world: what is written here has really happened."""


class Item(BaseModel):
    """One line of an order."""

    sku: str
    quantity: int
    price: Decimal


class Order(BaseModel):
    """What a customer sends."""

    id: str
    items: list[Item]


class Payment(BaseModel):
    """What the payment provider answers."""

    id: str
    amount: Decimal


class Receipt(BaseModel):
    """What the customer gets."""

    order_id: str
    payment_id: str
    amount: Decimal
    parcel: str


async def validate(order: Order) -> Decimal:
    """Check the order and add it up."""
    if not order.items:
        msg = f"order {order.id} has no items"
        raise ValueError(msg)
    return sum((item.price * item.quantity for item in order.items), Decimal())


async def charge(order_id: str, amount: Decimal, step: Step) -> Payment:
    """Charge the card. The provider knows the idempotency key, so that trying again charges once."""
    _write(f"charged {amount} for {order_id} under {step.idempotency_key}")
    return Payment(id=f"pay-{order_id}", amount=amount)


def reserve(items: list[Item], step: Step) -> int:
    """Reserve the goods. The warehouse is slow to answer the first time: a sync function, retried."""
    time.sleep(0.2)
    if step.attempt == 1:
        msg = "the warehouse did not answer"
        raise ConnectionError(msg)
    return sum(item.quantity for item in items)


async def ship(order_id: str) -> str:
    """Hand the goods to the carrier."""
    await asyncio.sleep(1.5)
    _write(f"shipped {order_id}")
    return f"parcel-{order_id}"


async def refund(payment: Payment) -> None:
    """Give the money back."""
    _write(f"refunded {payment.amount} of {payment.id}")


def _write(line: str) -> None:
    LEDGER.parent.mkdir(parents=True, exist_ok=True)
    with LEDGER.open("a", encoding="utf-8") as ledger:
        ledger.write(line + "\n")


@flow.define_workflow("process-order", version="v1")
async def process_order(order: Order, step: Step) -> Receipt:
    """From an order to a receipt, whatever happens to the workers."""
    total = await step.run("validate", validate, order)
    payment, _ = await asyncio.gather(
        step.run("charge-card", charge, order.id, total, step),
        step.run(
            StepOptions("reserve-inventory", retry=RetryPolicy(initial_interval="500ms"), timeout="5s"),
            reserve,
            order.items,
            step,
        ),
    )
    try:
        parcel = await step.run("ship", ship, order.id)
    except StepError:
        await step.run("refund", refund, payment)
        raise
    await step.sleep("cool-off", "1s")
    return Receipt(order_id=order.id, payment_id=payment.id, amount=payment.amount, parcel=parcel)


ORDER = Order(
    id="order-1",
    items=[
        Item(sku="teapot", quantity=1, price=Decimal("34.50")),
        Item(sku="cup", quantity=4, price=Decimal("6.25")),
    ],
)


async def main() -> None:
    """Start one order and wait for its receipt."""
    async with flow:
        handle = await process_order.run(ORDER, deadline_at="1h")
        print(f"started run {handle.id}")
        print(await handle.result(timeout="1m"))


if __name__ == "__main__":
    asyncio.run(main())
