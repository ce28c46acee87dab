"""Who waits for which signal, since when and until when, and which others it was sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request

from redisflow.client.unreadable import UNREADABLE, why_unreadable
from redisflow.dashboard.services import Services
from redisflow.dashboard.views import View
from redisflow.errors import InvalidCursor, RunNotFound
from redisflow.names import name_of_key
from redisflow.runs import StepRun
from redisflow.summaries import RunPage, RunSummary

MOST = 50


@dataclass(frozen=True, slots=True)
class Wait:
    """A run with what it waits for, or why that cannot be told."""

    run: RunSummary
    step: StepRun | None
    """None where the run cannot be read here."""
    unreadable: str = ""
    """Why, in a few words."""


async def signals(request: Request, services: Services) -> View:
    """The newest runs that wait for a signal, with what they wait for; `cursor` goes on with older ones."""
    page = await _page(services, request.query_params.get("cursor"))
    found = await asyncio.gather(*(_look(services, each) for each in page.runs))
    waits = [wait for several in found for wait in several]
    buffered = await services.flow.buffered_names({wait.run.id for wait in waits if wait.step})
    return View(
        template="signals.html",
        title="Signals",
        nav="signals",
        context={
            "waits": waits,
            "buffered": buffered,
            "names": sorted({name_of_key(wait.step.key) for wait in waits if wait.step}),
            "is_first": "cursor" not in request.query_params,
            "older": page.cursor and f"?{urlencode({'cursor': page.cursor})}",
        },
    )


async def _page(services: Services, cursor: str | None) -> RunPage:
    with contextlib.suppress(InvalidCursor):
        return await services.flow.list_page(status="waiting:signal", page_size=MOST, cursor=cursor)
    return await services.flow.list_page(status="waiting:signal", page_size=MOST)


async def _look(services: Services, summary: RunSummary) -> Sequence[Wait]:
    """One that cannot be read is a row that says so, and the others are shown beside it."""
    try:
        run = await services.flow.get_run(summary.id)
    except RunNotFound:
        return ()
    except UNREADABLE as error:
        return (Wait(summary, None, why_unreadable(error)),)
    return [Wait(summary, step) for step in run.steps if step.kind == "signal" and step.status == "waiting"]
