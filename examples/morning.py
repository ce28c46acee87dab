"""An operator's morning after a bad night: who works, what nobody serves, what was lost, what is damaged and mended.

    python examples/morning.py

uses $REDISFLOW_URL, or this process's memory. In the night, orders of a new version came while only a worker of the old
one lived, and somebody tidied up in Redis.
"""

from __future__ import annotations

import asyncio
import os
import secrets

from redisflow import RedisFlow, Step

URL = os.environ.get("REDISFLOW_URL") or "memory://"
NAMESPACE = f"morning-{secrets.token_hex(4)}"
old = RedisFlow(URL, namespace=NAMESPACE)
new = RedisFlow(URL, namespace=NAMESPACE)

# Never do this: it deletes a key that is redisflow's own, the list of all unfinished orders.
TIDY_UP = "return redis.call('DEL', (string.gsub(KEYS[1], ':u:.*', ':runs:order')))"


@old.define_workflow("order", version="v1")
async def order_v1(number: int, step: Step) -> str:
    return await step.run("by the old code", lambda: f"order {number}")


@new.define_workflow("order", version="v2")
async def order_v2(number: int, step: Step) -> str:
    return await step.run("by the new code", lambda: f"order {number}, by the new code")


@old.define_workflow("tidy-up")
async def tidy_up(step: Step) -> None:
    await step.redis("tidy up", TIDY_UP, keys=["anything"])


async def until_put_aside(count: int) -> None:
    """Until a worker has met all of them, and has no code for any."""
    while True:
        report = await new.stranded()
        if sum(runs.stranded for runs in report.runs) >= count:
            return
        await asyncio.sleep(0.02)


async def look_round() -> None:
    """What an operator does first. Printed whole, each of these reports is to be read as it is."""
    for worker in await new.workers():
        served = [f"{name} {version or 'in all versions'}" for name, version in worker.workflows]
        print(f"worker: serves {', '.join(sorted(served))}")
    report = await new.stranded()
    for runs in report.runs:
        print(f"stranded: {runs.stranded} of {runs.workflow} {runs.version}, {runs.cause}")
    print(f"clear: {report.is_clear}")
    print(f"losses: {len(await new.list_losses())}")
    audit = await new.audit()
    print(f"audit: {audit.total} breaches, {audit.left} left")


async def main() -> None:
    async with old, new:
        async with old.new_worker():
            orders = await order_v2.run_many(range(3))
            await until_put_aside(3)
            await (await tidy_up.run()).result(timeout="1m")

            await look_round()
            mended = await new.audit(repair=True)
            print(f"repaired: {mended.repaired}, {mended.done}, left for a person: {mended.left}")

        # The other cause is mended by a deploy: a worker that has the code takes them up at once.
        async with new.new_worker():
            print([await order.result(timeout="1m") for order in orders][-1])
            print(await new.stranded())
        print(str(await new.audit()).partition(": ")[2].partition(": ")[2])


if __name__ == "__main__":
    asyncio.run(main())
