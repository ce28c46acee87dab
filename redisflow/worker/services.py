"""Keeps the parts of a worker going: what the server refuses is tried again, what only a defect can raise is not.

A worker that lived on without one of its parts would look alive and do nothing, so such a defect stops all of it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

from redisflow.errors import BackendError, BackendUnavailable

FIRST_S = 0.1
LAST_S = 5.0

_log = logging.getLogger("redisflow.worker")


async def keep_going(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work to its end, beginning anew after each refusal: out of memory, not permitted, a key of a wrong type.

    BackendUnavailable is passed on: calls of a worker wait for a server that is away, so its connection was closed.
    """
    delay_s = FIRST_S
    while True:
        began_s = time.monotonic()
        try:
            await work()
        except BackendUnavailable:
            raise
        except BackendError as error:
            if time.monotonic() - began_s > 2 * LAST_S:
                delay_s = FIRST_S
            _log.warning("%s was refused by redis, and is tried again in %.1f s: %s", name, delay_s, error)
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
            delay_s = min(LAST_S, delay_s * 2)
        else:
            return
