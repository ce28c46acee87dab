"""A worker beside something else: in a web application's own process, in a script, in a test.

The hard thing is that nobody waits for it: what makes it fail must be seen all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator

from redisflow.worker.worker import Worker

_log = logging.getLogger("redisflow.worker")


@contextlib.asynccontextmanager
async def work_beside(worker: Worker) -> AsyncGenerator[None]:
    """Work until it is left. A failure of the worker is logged when it happens, and raised when this is left.

    It installs no signal handlers: its surroundings have theirs.
    """
    await worker.start()
    watch = asyncio.create_task(_watch(worker), name=f"watch {worker.name}")
    try:
        yield
    finally:
        await worker.stop()
        await watch
    await worker.wait()


async def _watch(worker: Worker) -> None:
    try:
        await worker.wait()
    except Exception as error:  # noqa: BLE001  # whatever it is, it is raised by work_beside
        _log.critical(
            "worker %s has failed (%s), and its runs go to other workers; this process goes on without it: restart it",
            worker.name,
            type(error).__name__,
        )
