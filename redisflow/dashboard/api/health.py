"""For those who watch the process: whether it lives, and whether it reaches its server. They say nothing else."""

from __future__ import annotations

import asyncio
import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from redisflow.dashboard.access.refusals import problem
from redisflow.errors import RedisflowError
from redisflow.flow import RedisFlow

LOOK_S = 2.0
"""A server that does not answer within it is away."""
FRESH_S = 1.0
"""Anybody may ask, so the server is asked no more often than this."""


async def live(_request: Request) -> Response:
    """It answers."""
    return JSONResponse({"status": "ok"})


class Readiness:
    """Whether the server answers, as it was within the last second."""

    def __init__(self, flow: RedisFlow) -> None:
        """Of this flow's server."""
        self._flow = flow
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")
        self._is_ready = False

    async def respond(self, _request: Request) -> Response:
        """200, or 503."""
        async with self._looking:
            if time.monotonic() - self._looked_at > FRESH_S:
                self._is_ready = await self._look()
                self._looked_at = time.monotonic()
        if self._is_ready:
            return JSONResponse({"status": "ready"})
        return problem(503, "the server of the runs cannot be reached", {"Retry-After": "5"})

    async def _look(self) -> bool:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._flow.workers()
        except (RedisflowError, TimeoutError):
            return False
        return True
