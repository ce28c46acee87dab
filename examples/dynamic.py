"""Dynamic workflows: branches, loops over the input, hundreds of steps, and a context that steps share.

Workflow code is ordinary Python. A name that is used again becomes `name`, `name#1`, `name#2` in the order of calls.
"""

import asyncio
import os
from typing import Literal

from pydantic import BaseModel

from redisflow import RedisFlow, Step

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="dynamic")

outbox: list[str] = []


# -- premium or standard e-mail ---------------------------------------------------------------------------------------


class Customer(BaseModel):
    email: str
    tier: Literal["premium", "standard"]


async def send(template: str, email: str) -> str:
    outbox.append(f"{template} to {email}")
    return template


async def book_call(email: str) -> str:
    return f"call with {email}"


@flow.define_workflow("welcome")
async def welcome(customer: Customer, step: Step) -> list[str]:
    """Branch on the input: the record keeps the branch that was taken."""
    if customer.tier == "premium":
        sent = await step.run("send-premium-email", send, "premium", customer.email)
        call = await step.run("book-call", book_call, customer.email)
        return [sent, call]
    return [await step.run("send-standard-email", send, "standard", customer.email)]


# -- a loop over the input's items ------------------------------------------------------------------------------------


async def pack(item: str) -> str:
    return f"packed {item}"


@flow.define_workflow("pack-items")
async def pack_items(items: list[str], step: Step) -> list[str]:
    """As many steps as there are items; the names are numbered."""
    return [await step.run("pack", pack, item) for item in items]


# -- a context shared between steps -----------------------------------------------------------------------------------


class Context(BaseModel):
    """What the steps of one run pass on: made of their results, so it is the same on every pass."""

    tenant: str
    region: str = ""
    log: list[str] = []


async def find_region(context: Context) -> str:
    return f"eu-{context.tenant}"


async def create_bucket(context: Context) -> str:
    return f"bucket in {context.region}"


async def create_account(context: Context) -> str:
    return f"account for {context.tenant} in {context.region}"


@flow.define_workflow("set-up-tenant")
async def set_up_tenant(tenant: str, step: Step) -> Context:
    """Steps get a copy of the context, and speak by what they return."""
    context = Context(tenant=tenant)
    context.region = await step.run("find-region", find_region, context)
    context.log.append(await step.run("create-bucket", create_bucket, context))
    context.log.append(await step.run("create-account", create_account, context))
    return context


async def main() -> None:
    async with flow, flow.new_worker():
        for customer in (
            Customer(email="a@example.com", tier="premium"),
            Customer(email="b@example.com", tier="standard"),
        ):
            print(f"{customer.tier}:", await (await welcome.run(customer)).result(timeout="1m"))
        items = await pack_items.run(["cup", "pot", "tray"])
        print("packed:", await items.result(timeout="1m"))
        print("steps:", [each.key for each in (await items.get()).steps])
        many = await pack_items.run([f"item {number}" for number in range(300)])
        print("hundreds:", len(await many.result(timeout="1m")))
        print("context:", await (await set_up_tenant.run("acme")).result(timeout="1m"))


if __name__ == "__main__":
    asyncio.run(main())
