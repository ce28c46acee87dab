"""Workers: queues, a connection pool for all steps of a worker, and the progress of a long step.

In production a worker is a process: `redisflow worker examples/workers.py:flow --queues mail,default`.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

from redisflow import RedisFlow, Step


@dataclass
class Pool:
    """Stands for a connection pool."""

    queries: int = 0
    is_open: bool = True

    async def query(self, text: str) -> str:
        self.queries += 1
        return f"answer to {text!r}"


@contextlib.asynccontextmanager
async def resources() -> AsyncIterator[Pool]:
    """Open what all steps of a worker share, and close it when the worker stops."""
    pool = Pool()
    print("pool opened")
    yield pool
    pool.is_open = False
    print(f"pool closed after {pool.queries} queries")


flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="workers", resources=resources)


async def ask_database(text: str, step: Step) -> str:
    pool: Pool = step.resources
    return await pool.query(text)


@flow.define_workflow("ask", queue="database")
async def ask(text: str, step: Step) -> str:
    return await step.run("ask-database", ask_database, text, step)


looked = asyncio.Event()
"""Somebody has looked at the import: for this example, that is long enough."""


async def import_rows(most: int, step: Step) -> int:
    """Say how far it is; who looks at the run sees it once the step has run for a second."""
    rows = 0
    while rows < most and not looked.is_set():
        rows += 1
        step.heartbeat({"rows": rows})
        await asyncio.sleep(0.05)
    return rows


@flow.define_workflow("import", queue="batch")
async def import_table(most: int, step: Step) -> int:
    return await step.run("import-rows", import_rows, most, step)


async def main() -> None:
    async with flow:
        async with flow.new_worker(queues=["database"]):
            print(await (await ask.run("how many?")).result(timeout="1m"))
            waiting = await import_table.run(1000)
            print("another queue:", (await waiting.get()).status)
        # Few long runs: hold few of them at once.
        async with flow.new_worker(queues=["batch"], concurrency=10):
            while not (run := await waiting.get()).is_finished:
                seen = run.step("import-rows")
                if seen is not None and seen.progress is not None:
                    print("progress:", seen.status, sorted(seen.progress))
                    break
                await asyncio.sleep(0.05)
            looked.set()
            print("imported:", await waiting.result(timeout="1m"), "rows")


if __name__ == "__main__":
    asyncio.run(main())
