"""The worker process that is measured: it says "ready", waits for a line, and works until it is told to stop."""

import asyncio
import gc
import sys

from benchmarks.workflows import flow


async def main() -> None:
    """Import and connect first, so that only work is measured."""
    loop = asyncio.get_running_loop()
    async with flow:
        print("ready", flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)
        gc.collect()
        gc.freeze()
        await flow.new_worker(concurrency=100).run()


if __name__ == "__main__":
    asyncio.run(main())
