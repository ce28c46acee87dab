"""The worker process that is measured: it says "ready", waits for a line, and works until it is told to stop."""

import asyncio
import sys

from benchmarks.workflows import flow
from redisflow.worker.process import run_worker_process


async def main() -> None:
    """Import and connect first, so that only work is measured."""
    loop = asyncio.get_running_loop()
    async with flow:
        print("ready", flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)
        await flow.new_worker(concurrency=100).run()


if __name__ == "__main__":
    run_worker_process(main())
