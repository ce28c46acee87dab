"""Broadcast: one signal for every run that waits for its name, and for those that start to wait a little later."""

import asyncio
import os

from pydantic import BaseModel

from redisflow import RedisFlow, Step

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="broadcast")


class Opening(BaseModel):
    store: str
    voucher: int


async def send_voucher(customer: str, voucher: int) -> str:
    return f"{customer}: {voucher} % off"


@flow.define_workflow("customer")
async def tell_customer(customer: str, step: Step) -> str:
    opening = await step.wait_for_signal("store-opens", Opening, timeout="30d")
    if opening is None:
        return f"{customer}: nothing new"
    return await step.run("send voucher", send_voucher, customer, opening.voucher)


@flow.define_workflow("open-store")
async def open_store(store: str, step: Step) -> int:
    # A step like any other: sent once, however often the run is replayed.
    reached = await step.send_signal("store-opens", Opening(store=store, voucher=10), retain="7d")
    return reached.count


async def main() -> None:
    async with flow, flow.new_worker():
        waiting = [await tell_customer.run(name) for name in ("Ada", "Bob", "Cleo")]
        for handle in waiting:
            while (await handle.get()).waiting_for != "signal":  # noqa: ASYNC110  # it has no event to wait for
                await asyncio.sleep(0.01)

        print("reached:", await (await open_store.run("Oslo")).result(timeout="1m"))
        for handle in waiting:
            print(await handle.result(timeout="1m"))

        # Whoever starts to wait within seven days gets it as well.
        print("later,", await (await tell_customer.run("Dora")).result(timeout="1m"))

        reached = await flow.send_signal("store-opens", Opening(store="Bergen", voucher=20), idempotency_key="bergen")
        print("nobody waits any more:", reached.run_ids)


if __name__ == "__main__":
    asyncio.run(main())
