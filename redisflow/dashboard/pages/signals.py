"""Who waits for which signal, since when and until when."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from redisflow.dashboard.services import Services
from redisflow.dashboard.views import View
from redisflow.errors import RunNotFound
from redisflow.runs import StepRun, WorkflowRun

MOST = 100


async def signals(_request: Request, services: Services) -> View:
    """The newest runs that wait for a signal, with what they wait for."""
    page = await services.flow.list_page(status="waiting:signal", page_size=MOST)
    runs = await asyncio.gather(*(_look(services, each.id) for each in page.runs))
    waits: list[tuple[WorkflowRun, StepRun]] = [
        (run, step)
        for run in runs
        if run is not None
        for step in run.steps
        if step.kind == "signal" and step.status == "waiting"
    ]
    return View(
        template="signals.html", title="Signals", nav="signals", context={"waits": waits, "has_more": page.cursor}
    )


async def _look(services: Services, run_id: str) -> WorkflowRun | None:
    try:
        return await services.flow.get_run(run_id)
    except RunNotFound:
        return None
