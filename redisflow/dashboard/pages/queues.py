"""Queues with what lies in them, workers with what they hold, and what nobody serves."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from starlette.requests import Request

from redisflow.dashboard.services import Services
from redisflow.dashboard.views import View


async def queues(_request: Request, services: Services) -> View:
    """Each queue, who reads it, and the control under which it is."""
    flow = services.flow
    found, alive, controls = await asyncio.gather(flow.queues(), flow.workers(), flow.controls.list())
    readers: dict[str, list[str]] = defaultdict(list)
    for worker in alive:
        for queue in worker.queues:
            readers[queue].append(worker.name)
    return View(
        template="queues.html",
        title="Queues",
        nav="queues",
        context={
            "queues": found,
            "readers": readers,
            "controls": {control.name: control for control in controls if control.kind == "queue"},
        },
    )


async def workers(_request: Request, services: Services) -> View:
    """Those that live, those that ended without a word, and what none of them serves."""
    found, stranded = await asyncio.gather(services.flow.workers(gone=True), services.flow.stranded())
    return View(
        template="workers.html", title="Workers", nav="workers", context={"workers": found, "stranded": stranded}
    )
