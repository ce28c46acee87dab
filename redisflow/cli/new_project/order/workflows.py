"""An order: it is charged, approved by a person where it is large, and shipped. Nothing of it happens twice.

`redisflow dev` runs it, and takes up each change of this file. Stop it where you like: the runs go on where they were.
"""

from pydantic import BaseModel

from redisflow import RedisFlow, RetryPolicy, Step, StepOptions

flow = RedisFlow(namespace="shop")  # where Redis is says $REDISFLOW_URL, which `redisflow dev` sets

LARGE_CENTS = 10_000


class Order(BaseModel):
    id: str
    items: list[str]
    cents: int


class Approval(BaseModel):
    approved: bool
    by: str


class NotApproved(Exception):
    """The order fails, and is undone."""


class Receipt(BaseModel):
    payment: str
    parcel: str


# -- steps: ordinary functions, which touch the world. Each result is recorded, and the step never runs again ----------


async def charge(order: Order, step: Step) -> str:
    """`step.idempotency_key` is the same on every attempt: whoever is given it takes the money once."""
    if step.attempt == 1:
        # So that you see a retry. Take it out.
        msg = "the payment provider does not answer"
        raise ConnectionError(msg)
    return f"payment-of-{order.id}"


async def refund(payment: str) -> None:
    print(f"refunded {payment}")


async def ask_for_approval(order: Order) -> None:
    print(f"may {order.id} cost {order.cents / 100:.2f}?")


async def ship(items: list[str]) -> str:
    return f"parcel with {', '.join(items)}"


# -- workflows: they run again from the top after each stop, and find what is recorded --------------------------------

PATIENT = RetryPolicy(maximum_attempts=5, initial_interval="1s", maximum_interval="1m")


@flow.define_workflow("order")
async def process_order(order: Order, step: Step) -> Receipt:
    payment = await step.run(StepOptions("charge", retry=PATIENT), charge, order, step)
    step.on_failure("refund", refund, payment)  # whatever goes wrong from here on
    if order.cents >= LARGE_CENTS:
        await wait_for_approval(order, step)
    await step.sleep("wait for the parcel service", "2s")  # or "3d": a sleeping run holds no worker
    parcel = await step.run_workflow(ship_items, order.items)
    return Receipt(payment=payment, parcel=parcel)


@flow.define_workflow("shipment")
async def ship_items(items: list[str], step: Step) -> str:
    """A run of its own, with its own history: the order waits for its end."""
    return await step.run("hand over", ship, items)


async def wait_for_approval(order: Order, step: Step) -> None:
    """For three days at most: `redisflow run signal approval '{"approved": true, "by": "Ada"}' --run RUN_ID`."""
    await step.run("ask for approval", ask_for_approval, order)
    answer = await step.wait_for_signal("approval", Approval, timeout="3d")
    if answer is None or not answer.approved:
        why = "nobody approved it within three days" if answer is None else f"refused by {answer.by}"
        raise NotApproved(why)
