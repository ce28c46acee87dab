"""The form that starts a run."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from starlette.requests import Request

from redisflow.dashboard.pages.examples import example_of
from redisflow.dashboard.services import Services
from redisflow.dashboard.views import View


async def new_run(request: Request, services: Services) -> View:
    """With the workflows that live workers serve, or that have runs."""
    counts, alive = await asyncio.gather(services.flow.count_runs(), services.flow.workers())
    served: dict[str, set[str]] = defaultdict(set)
    of_version: dict[str, set[str]] = defaultdict(set)
    for name, version in (place for worker in alive for place in worker.workflows):
        served[name] |= {version} if version else set()
        if version:
            of_version[version].add(name)
    chosen = request.query_params.get("workflow", "")
    if chosen in served:
        of_version = {version: {chosen} for version in served[chosen]}
    schemas = services.flow.input_schemas()
    return View(
        template="new_run.html",
        title="New run",
        nav="runs",
        context={
            "served": {name: ", ".join(sorted(versions)) for name, versions in sorted(served.items())},
            "others": sorted(counts.workflows.keys() - served.keys()),
            "versions": {version: ", ".join(sorted(names)) for version, names in sorted(of_version.items())},
            "chosen": chosen,
            "schema": schemas.get(chosen),
            "example": example_of(schemas.get(chosen)),
        },
    )
