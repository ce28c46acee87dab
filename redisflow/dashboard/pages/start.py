"""The form that starts a run."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from redisflow.dashboard.services import Services
from redisflow.dashboard.views import View
from redisflow.fleet import place_of


async def new_run(request: Request, services: Services) -> View:
    """With the workflows that live workers serve, or that have runs."""
    counts, alive = await asyncio.gather(services.flow.count_runs(), services.flow.workers())
    served = sorted(
        {place for worker in alive for place in worker.workflows}, key=lambda each: (each[0], each[1] or "")
    )
    others = sorted(set(counts.workflows) - {name for name, _ in served})
    return View(
        template="new_run.html",
        title="New run",
        nav="runs",
        context={
            "served": [(name, version or "", place_of(name, version)) for name, version in served],
            "others": others,
            "chosen": request.query_params.get("workflow", ""),
            "schemas": services.flow.input_schemas(),
        },
    )
