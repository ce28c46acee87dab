"""The servers behind the namespace, and what is not as it should be."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from redisflow.checks.namespace import check_controls, check_fleet
from redisflow.checks.servers import check_servers
from redisflow.dashboard.services import Services
from redisflow.dashboard.views import View


async def system(_request: Request, services: Services) -> View:
    """Each node, with what a tired person has to know; what `redisflow doctor` says of servers and namespace."""
    flow = services.flow
    info, backend, stranded, controls = await asyncio.gather(
        flow.server(), flow.open(), flow.stranded(), flow.controls.list()
    )
    return View(
        template="system.html",
        title="System",
        nav="system",
        context={
            "info": info,
            "partitions": backend.partitions,
            "findings": [
                *check_servers(info, flow.location.durability),
                *check_fleet(stranded),
                *check_controls(controls),
            ],
        },
    )
