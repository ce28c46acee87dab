"""What the server keeps for a run, by what the run does: `python -m benchmarks.memory` prints it.

Each row starts the same number of runs on an empty server, lets all of them come to where they end or wait, and divides
the growth of `used_memory`. A second growth, with twice as many, is what is printed: the first has what a namespace
costs once (streams, listings, scripts).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import redis

from redisflow import RedisFlow, Step, Workflow, WorkflowHandle
from redisflow.testing import ServerOptions, start_server

RUNS = 2_000


def give(size: int) -> str:
    return "x" * size


async def steps(given: list[int], step: Step) -> str:
    """So many steps, with results of so many bytes."""
    count, size = given
    for _ in range(count):
        await step.run("give", give, size)
    return ""


async def sleeps(given: list[int], step: Step) -> None:
    await steps(given, step)
    await step.sleep("long", "30d")


async def waits(given: list[int], step: Step) -> None:
    await steps(given, step)
    await step.wait_for_signal("go-on")


async def told(given: list[int], step: Step) -> None:
    """Events, which whoever follows the run reads."""
    for _ in range(given[0]):
        step.emit("x" * given[1])


async def ended(handle: WorkflowHandle[None]) -> None:
    await handle.result(timeout="5m")


async def waiting(handle: WorkflowHandle[None]) -> None:
    while (await handle.get()).waiting_for not in {"timer", "signal"}:
        await asyncio.sleep(0.01)


ROWS: list[tuple[str, Callable[..., Awaitable[object]], list[int], Callable[..., Awaitable[None]], bool]] = [
    ("finished, no step", steps, [0, 0], ended, False),
    ("finished, 1 step of 20 bytes", steps, [1, 20], ended, False),
    ("finished, 10 steps of 20 bytes", steps, [10, 20], ended, False),
    ("finished, 100 steps of 20 bytes", steps, [100, 20], ended, False),
    ("finished, 10 steps of 1,000 bytes", steps, [10, 1000], ended, False),
    ("finished, no step, idempotency key", steps, [0, 0], ended, True),
    ("sleeping, after 1 step of 20 bytes", sleeps, [1, 20], waiting, False),
    ("waiting for a signal, after 1 step", waits, [1, 20], waiting, False),
    ("finished, 1 event of 20 bytes", told, [1, 20], ended, False),
    ("finished, 100 events of 20 bytes", told, [100, 20], ended, False),
]


async def measure(
    workflow: Any,  # of the workflows above
    given: list[int],
    arrived: Callable[..., Awaitable[None]],
    is_keyed: bool,  # noqa: FBT001  # a column of the table
) -> int:
    """Bytes of one more run."""
    with start_server(ServerOptions(appendonly=False)) as server, redis.Redis.from_url(server.url) as client:
        flow = RedisFlow(server.url, namespace="memory")
        declared: Workflow[list[int], None] = flow.define_workflow("measured")(workflow)
        grown: list[int] = []
        async with flow, flow.new_worker(concurrency=100):
            for round_ in range(2):
                keys = [f"order-{round_}-{number}" if is_keyed else None for number in range(RUNS)]
                handles = [await declared.run(given, idempotency_key=key) for key in keys]
                for handle in handles:
                    await arrived(handle)
                grown.append(int(client.info("memory")["used_memory"]))
        return (grown[1] - grown[0]) // RUNS


def main() -> None:
    for name, workflow, given, arrived, is_keyed in ROWS:
        print(f"| {name} | {asyncio.run(measure(workflow, given, arrived, is_keyed)):,} |")


if __name__ == "__main__":
    main()
