"""Who waits for which signal, since when and until when, and which others it was sent."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlencode

from starlette.requests import Request

from redisflow.dashboard.services import Services
from redisflow.dashboard.views import View
from redisflow.errors import InvalidCursor, RunNotFound
from redisflow.names import name_of_key
from redisflow.runs import StepRun, WorkflowRun
from redisflow.summaries import RunPage

MOST = 50


async def signals(request: Request, services: Services) -> View:
    """The newest runs that wait for a signal, with what they wait for; `cursor` goes on with older ones."""
    page = await _page(services, request.query_params.get("cursor"))
    runs = await asyncio.gather(*(_look(services, each.id) for each in page.runs))
    waits: list[tuple[WorkflowRun, StepRun]] = [
        (run, step)
        for run in runs
        if run is not None
        for step in run.steps
        if step.kind == "signal" and step.status == "waiting"
    ]
    buffered = await services.flow.buffered_names({run.id for run, _ in waits})
    return View(
        template="signals.html",
        title="Signals",
        nav="signals",
        context={
            "waits": waits,
            "buffered": buffered,
            "names": sorted({name_of_key(step.key) for _, step in waits}),
            "is_first": "cursor" not in request.query_params,
            "older": page.cursor and f"?{urlencode({'cursor': page.cursor})}",
        },
    )


async def _page(services: Services, cursor: str | None) -> RunPage:
    with contextlib.suppress(InvalidCursor):
        return await services.flow.list_page(status="waiting:signal", page_size=MOST, cursor=cursor)
    return await services.flow.list_page(status="waiting:signal", page_size=MOST)


async def _look(services: Services, run_id: str) -> WorkflowRun | None:
    try:
        return await services.flow.get_run(run_id)
    except RunNotFound:
        return None
