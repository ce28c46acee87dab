"""A program that starts worker processes from Python; what `new_worker` is to take is its argument, as JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from tests.stories.process_flow import flow


async def main() -> None:
    await flow.new_worker(**json.loads(sys.argv[1])).run()


if __name__ == "__main__":
    asyncio.run(main())
