"""Types from end to end: a typed order in and out, a typed user between steps, model types that two workflows share.

What a step returns comes back as what its annotation says, on the first pass and on every replay. A type checker knows
the types of inputs, of step results and of `handle.result()`.
"""

import asyncio
import os
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from pydantic import BaseModel

from redisflow import InvalidInput, RedisFlow, Step, define_workflow_spec

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="typed")


# -- model types, written once and shared by the workflows below -----------------------------------------------------


class Plan(Enum):
    FREE = "free"
    PRO = "pro"


class User(BaseModel):
    id: int
    name: str
    plan: Plan


class Item(BaseModel):
    sku: str
    price: Decimal
    quantity: int = 1


class Order(BaseModel):
    id: str
    user_id: int
    items: list[Item]


@dataclass(frozen=True)
class Invoice:
    order_id: str
    customer: str
    total: Decimal


# -- a typed order in, a typed invoice out; a typed user between steps ------------------------------------------------


async def find_user(user_id: int) -> User:
    return User(id=user_id, name="Ada", plan=Plan.PRO)


async def make_invoice(order: Order, user: User) -> Invoice:
    total = sum((item.price * item.quantity for item in order.items), Decimal())
    discount = Decimal(1) if user.plan is Plan.FREE else Decimal("0.9")
    return Invoice(order_id=order.id, customer=user.name, total=total * discount)


@flow.define_workflow("invoice-order")
async def invoice_order(order: Order, step: Step) -> Invoice:
    user = await step.run("find-user", find_user, order.user_id)
    return await step.run("make-invoice", make_invoice, order, user)


# -- the same types in another workflow, declared apart from its implementation ---------------------------------------

WELCOME = define_workflow_spec("welcome-user", input=User, output=str)
"""Enough to start the workflow, and to read its result, in a process that does not have its code."""


async def greet(user: User) -> str:
    return f"Welcome to {user.plan.value}, {user.name}"


@flow.implement_workflow(WELCOME)
async def welcome_user(user: User, step: Step) -> str:
    return await step.run("greet", greet, user)


ORDER = Order(id="order-1", user_id=7, items=[Item(sku="cup", price=Decimal("6.25"), quantity=4)])


async def main() -> None:
    async with flow, flow.new_worker():
        invoice = await (await invoice_order.run(ORDER)).result(timeout="1m")
        print(invoice)
        user = User(id=7, name="Ada", plan=Plan.PRO)
        greeting = await (await flow.run_workflow(WELCOME, user)).result(timeout="1m")
        print(greeting)
        try:
            await invoice_order.run({"id": "order-2"})  # type: ignore[arg-type]  # the checker knows it, too
        except InvalidInput as refused:
            print("refused:", refused)


if __name__ == "__main__":
    asyncio.run(main())
