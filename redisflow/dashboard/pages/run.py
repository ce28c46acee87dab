"""The page of one run: what it did when, and what was said of each step."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from redisflow.client.events import Event
from redisflow.dashboard.pages.numbers import page_of
from redisflow.dashboard.services import Services
from redisflow.dashboard.views import View
from redisflow.errors import RunNotFound
from redisflow.names import name_of_key
from redisflow.run_history import HistoryEntry
from redisflow.run_id import check_run_id
from redisflow.runs import StepRun, WorkflowRun
from redisflow.timeline import Row, draw_timeline

ROWS = 200
"""Steps on a page."""
EVENTS = 200
CHILDREN = 50
TABS = ("timeline", "steps", "history", "events", "children", "json")
HISTORY = 1_000
"""Entries of the record: the last ones."""
SHOWN = {"failed": ("failed",), "open": ("running", "waiting")}


async def run(request: Request, services: Services) -> View:
    """See the module. The step that is looked at, the tab, the filter and the page stand in the address."""
    run_id = check_run_id(request.path_params["run_id"])
    found = await services.flow.get_run(run_id)
    asked = request.query_params
    tab = asked.get("tab", "timeline")
    chosen = found.step(asked["step"]) if "step" in asked else None
    drawn = draw_timeline(found, datetime.now(UTC))
    rows = [row for row in drawn.rows if _is_shown(row.step, asked.get("show", ""), asked.get("find", ""))]
    number, pages = page_of(asked.get("page", ""), len(rows), ROWS)
    tab = tab if tab in TABS else "timeline"

    def link(**changes: Any) -> str:
        kept = {name: value for name, value in asked.items() if name in {"tab", "show", "find", "page", "step"}}
        said = {name: str(value) for name, value in {**kept, **changes}.items() if value not in {None, ""}}
        return f"?{urlencode(said)}" if said else "?"

    return View(
        template="run.html",
        title=f"{found.workflow} {run_id[:8]}",
        nav="runs",
        context={
            "run": found,
            "document": services.redact.run(found) if tab == "json" else None,
            "payloads": _payloads(services, found),
            "next_due": _next_due(found),
            "step": chosen,
            "shown_step": None if chosen is None else services.redact.step(chosen),
            "drawn": drawn,
            "rows": rows[(number - 1) * ROWS : number * ROWS],
            "matching": len(rows),
            "number": number,
            "pages": pages,
            "tab": tab,
            "link": link,
            "show": asked.get("show", ""),
            "find": asked.get("find", ""),
            "events": await _events(services, run_id) if tab == "events" else (),
            "history": await _history(services, run_id) if tab == "history" else (),
            "children": await _children(services, found) if tab == "children" else (),
            "signals": _awaited(found),
            "is_undone": any(step.kind == "compensation" for step in found.steps),
            "runnable": _runnable(found, chosen, rows[(number - 1) * ROWS : number * ROWS]),
        },
    )


def _runnable(found: WorkflowRun, chosen: StepRun | None, rows: Sequence[Row]) -> list[str]:
    """From which steps a fork may begin: those on this page, and the one that is looked at, in the run's order."""
    offered = {step.key for step in (*(row.step for row in rows), chosen) if step}
    return [step.key for step in found.steps if step.key in offered and step.kind != "compensation"]


def _awaited(found: WorkflowRun) -> list[str]:
    """The names of the signals that it waits for."""
    waits = (step for step in found.steps if step.kind == "signal" and step.status == "waiting")
    return list(dict.fromkeys(name_of_key(step.key) for step in waits))


def _is_shown(step: StepRun, show: str, find: str) -> bool:
    return step.status in SHOWN.get(show, (step.status,)) and find.casefold() in step.key.casefold()


def _next_due(found: WorkflowRun) -> datetime | None:
    dues = [step.next_attempt_at for step in found.steps if step.status == "waiting" and step.next_attempt_at]
    return min(dues, default=found.available_at if not found.steps else None)


def _payloads(services: Services, found: WorkflowRun) -> dict[str, Any]:
    value = services.redact.value
    error = None
    if found.error is not None:
        failure = {"type": found.error.error_type, "message": found.error.message, "traceback": found.error.traceback}
        error = value(("error",), failure)
    return {
        "input": value(("input",), found.input),
        "output": value(("output",), found.output),
        "error": error,
    }


async def _events(services: Services, run_id: str) -> Sequence[dict[str, Any]]:
    """The last ones, the newest first."""
    handle = await services.flow.get_handle(run_id)
    found: list[Event] = []
    async for event in handle.events(live=False):
        found.append(event)
        del found[:-EVENTS]
    return [services.redact.event(event) for event in reversed(found)]


async def _history(services: Services, run_id: str) -> Sequence[tuple[HistoryEntry, Any]]:
    """The last entries of the record, the newest first, with what may be shown of their errors."""
    entries = await services.flow.get_history(run_id)
    return [(entry, services.redact.history(entry)) for entry in reversed(entries[-HISTORY:])]


async def _children(services: Services, found: WorkflowRun) -> Sequence[tuple[StepRun, WorkflowRun | None]]:
    steps = list(islice((step for step in found.steps if step.child_id), CHILDREN))

    async def look(run_id: str) -> WorkflowRun | None:
        try:
            return await services.flow.get_run(run_id)
        except RunNotFound:
            return None

    runs = await asyncio.gather(*(look(step.child_id or "") for step in steps))
    return list(zip(steps, runs, strict=True))
