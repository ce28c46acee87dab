"""Deletes what no run has any more from the store of large payloads: one worker of a namespace, once an hour.

It is the net under whoever deletes a run, and under starts that failed half-way. Nothing waits for it, so a store that
is away is met again an hour later.
"""

from __future__ import annotations

import asyncio
import logging
import random

from redisflow.contract import Backend
from redisflow.errors import PayloadStoreUnavailable

EVERY_S = 3600.0
OLDER_THAN_MS = 24 * 3600 * 1000
"""A start may have its input in the store before its run is in Redis, and clocks of clients may differ."""
AGAIN_AFTER_MS = 30 * 60 * 1000
"""A start waits for the store and then for Redis, 10 s each if nobody says otherwise (`call_timeout`)."""

_log = logging.getLogger("redisflow.worker")


async def sweep_forever(backend: Backend, worker: str) -> None:
    """Until it is cancelled."""
    while True:
        await asyncio.sleep(EVERY_S * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
        if await backend.take_turn(0, "payloads", worker, int(EVERY_S * 1500)):
            await sweep_once(backend)


async def sweep_once(backend: Backend, again_after_ms: int = AGAIN_AFTER_MS) -> int:
    """One sweep; returns of how many runs something was left."""
    try:
        swept = await backend.payloads.sweep_payloads(OLDER_THAN_MS, again_after_ms)
    except PayloadStoreUnavailable as error:
        _log.warning("payloads without a run are left for later: %s", error)
        return 0
    if swept:
        _log.info("payloads of %d runs that are no longer stored were deleted", swept)
    return swept
