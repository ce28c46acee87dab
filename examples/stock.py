"""A stock that is never oversold: the reservation is a script that runs with the record of its step, exactly once."""

import asyncio
import os
import uuid
from dataclasses import dataclass

from redisflow import NonRetryableError, RedisFlow, Step, StepError

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace=f"stock-{uuid.uuid4().hex[:8]}")

# Look first, write last: Redis does not take back what a script wrote before it failed.
RESERVE = """
local left = tonumber(redis.call('GET', KEYS[1]) or '0')
local wanted = tonumber(ARGV[1])
if left < wanted then return false end
redis.call('HINCRBY', KEYS[2], ARGV[2], wanted)
return redis.call('DECRBY', KEYS[1], wanted)
"""
RELEASE = """
redis.call('HDEL', KEYS[2], ARGV[2])
return redis.call('INCRBY', KEYS[1], ARGV[1])
"""


@dataclass
class Order:
    sku: str
    amount: int
    card: str = "good"


async def charge(order: Order) -> str:
    if order.card != "good":
        msg = "the card was declined"
        raise NonRetryableError(msg)
    return f"charged for {order.amount} {order.sku}"


@flow.define_workflow("deliver")
async def deliver(order: Order, step: Step) -> int:
    """More of it has come."""
    script = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
    in_stock: int = await step.redis("deliver", script, keys=[order.sku], args=[order.amount])
    return in_stock


@flow.define_workflow("buy")
async def buy(order: Order, step: Step) -> str:
    keys = [order.sku, f"{order.sku}:reserved"]
    left = await step.redis("reserve", RESERVE, keys=keys, args=[order.amount, step.info.id])
    if left is None:
        return "sold out"
    try:
        return await step.run("charge", charge, order)
    except StepError:
        await step.redis("release", RELEASE, keys=keys, args=[order.amount, step.info.id])
        return "declined"


async def main() -> None:
    async with flow, flow.new_worker():
        print("in stock:", await (await deliver.run(Order("cup", 5))).result(timeout="1m"))
        handles = [await buy.run(Order("cup", 1)) for _ in range(20)]
        ends = [await handle.result(timeout="1m") for handle in handles]
        print("bought:", ends.count("charged for 1 cup"), "| sold out:", ends.count("sold out"))

        print("in stock:", await (await deliver.run(Order("cup", 5))).result(timeout="1m"))
        print(await (await buy.run(Order("cup", 3, card="stolen"))).result(timeout="2m"))
        print(await (await buy.run(Order("cup", 5))).result(timeout="1m"))
    # Any other program on the same Redis reads and writes the stock under this key.
    print("the key:", flow.redis_key("cup").replace(flow.namespace, "<namespace>"))


if __name__ == "__main__":
    asyncio.run(main())
