"""The servers behind the namespace, and what of their settings matters."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from redisflow.dashboard.services import Services
from redisflow.dashboard.views import View


async def system(_request: Request, services: Services) -> View:
    """Each node, with what a tired person has to know."""
    flow = services.flow
    info, backend, controls = await asyncio.gather(flow.server(), flow.open(), flow.controls.list())
    return View(
        template="system.html",
        title="System",
        nav="system",
        context={"info": info, "partitions": backend.partitions, "controls": controls, "flow": repr(flow)},
    )
