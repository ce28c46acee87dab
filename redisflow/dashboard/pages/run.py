"""The page of one run: what it did when, and what was said of each step."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from redisflow.client.controls import Control
from redisflow.client.events import Event
from redisflow.client.family import read_family
from redisflow.client.unreadable import UNREADABLE
from redisflow.critical_path import critical_steps
from redisflow.dashboard.copies import copies_of, has_to_be_said
from redisflow.dashboard.pages.numbers import page_of
from redisflow.dashboard.services import Services
from redisflow.dashboard.views import View
from redisflow.dashboard.words import short
from redisflow.documents import Document
from redisflow.fleet import HeldRun
from redisflow.names import name_of_key
from redisflow.run_history import HistoryEntry
from redisflow.run_id import check_run_id
from redisflow.runs import StepRun, WorkflowRun
from redisflow.timeline import Row, Zoom, draw_timeline

ROWS = 200
"""Steps on a page."""
EVENTS = 200
SAID = 20
"""Of a step that is looked at."""
SAID_AMONG = 1_000
CLOCKS_APART = timedelta(seconds=2)
"""Events have the server's time, attempts what their worker took for it."""
LONGEST_LEASE = timedelta(hours=1)
"""That a worker may be given."""
SIGNALS = 20
GENERATIONS = 4
FAMILY = 50
"""Runs that are read."""
FAMILY_SHOWN = 500
UNREAD = {
    False: "was not read: there are too many",
    True: "was not read: it is too deep below this run; its own page goes on from here",
}
"""By whether it is of a generation that is not read."""
TABS = ("timeline", "steps", "history", "events", "children", "json")
HISTORY = 1_000
"""Entries of the record: the last ones."""
KEPT = frozenset({"tab", "show", "find", "page", "step", "from", "to"})
"""What of the address stays when something else of it changes."""
SHOWN = {"failed": ("failed",), "open": ("running", "waiting")}


@dataclass(frozen=True, slots=True)
class Kin:
    """A descendant of the run, by the step that started it."""

    depth: int
    step: StepRun
    run: WorkflowRun | None
    """None where it was not read."""
    is_missing: bool
    why_not: str
    """What is said of it where it is stored, or may be, and was not read."""


async def run(request: Request, services: Services) -> View:
    """See the module. The step that is looked at, the tab, the filter and the page stand in the address."""
    run_id = check_run_id(request.path_params["run_id"])
    found = await services.flow.get_run(run_id)
    asked = request.query_params
    tab = asked.get("tab", "timeline")
    chosen = found.step(asked["step"]) if "step" in asked else None
    zoom = _zoom(asked.get("from", ""), asked.get("to", ""))
    now = datetime.now(UTC)
    drawn = draw_timeline(found, now, zoom)
    rows = [row for row in drawn.rows if _is_shown(row.step, asked.get("show", ""), asked.get("find", ""))]
    number, pages = page_of(asked.get("page", ""), len(rows), ROWS)
    tab = tab if tab in TABS else "timeline"

    holder, is_silent = await _holder(services, found)

    def link(**changes: Any) -> str:
        kept = {name: value for name, value in asked.items() if name in KEPT}
        said = {name: str(value) for name, value in {**kept, **changes}.items() if value not in {None, ""}}
        return f"?{urlencode(said)}" if said else "?"

    return View(
        template="run.html",
        title=f"{found.workflow} {short(run_id)}",
        nav="runs",
        context={
            "run": found,
            "document": services.redact.run(found) if tab == "json" else None,
            "payloads": _payloads(services, found),
            "next_due": _next_due(found),
            "step": chosen,
            "shown_step": None if chosen is None else services.redact.step(chosen),
            "said": () if chosen is None else await _said(services, run_id, chosen),
            "retried": None if chosen is None else _retried(chosen),
            "drawn": drawn,
            "scale": json.dumps([[each.left, each.width, each.began_s, each.ended_s] for each in drawn.stretches]),
            "zoom": zoom,
            "around": None if chosen is None else _around(found, chosen, now),
            "critical": critical_steps(found),
            "held_back": await _held_back(services, found),
            "copies": copies_of(found, str(request.base_url), _said_namespace(services)),
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
            "family": await _family(services, found) if tab == "children" else (),
            "family_shown": FAMILY_SHOWN,
            "holder": holder,
            "is_holder_silent": is_silent,
            "signals": _awaited(found),
            "buffered": await _buffered(services, found),
            "is_undone": any(step.kind == "compensation" for step in found.steps),
            "runnable": _runnable(found, chosen, rows[(number - 1) * ROWS : number * ROWS]),
        },
    )


def _said_namespace(services: Services) -> str | None:
    return services.flow.namespace if has_to_be_said(services.flow, services.options.namespaces) else None


def _runnable(found: WorkflowRun, chosen: StepRun | None, rows: Sequence[Row]) -> list[str]:
    """From which steps a fork may begin: those on this page, and the one that is looked at, in the run's order."""
    offered = {step.key for step in (*(row.step for row in rows), chosen) if step}
    return [step.key for step in found.steps if step.key in offered and step.kind != "compensation"]


async def _holder(services: Services, found: WorkflowRun) -> tuple[HeldRun | None, bool]:
    """Who holds it, and whether they have been silent for their whole lease: then it is given to others.

    That is when a worker counts as gone, too. Of one that is not listed (yet) no lease is known.
    """
    if found.status != "running":
        return None, False
    holder, workers = await asyncio.gather(services.flow.find_holder(found.id), services.flow.workers(gone=True))
    leases = {worker.name: worker.lease for worker in workers}
    return holder, holder is not None and holder.idle >= (leases.get(holder.worker) or LONGEST_LEASE)


async def _held_back(services: Services, found: WorkflowRun) -> Control | None:
    """The pause for which it waits in its queue, or will be put aside when a worker meets it."""
    if found.status != "pending" and found.waiting_for != "held":
        return None
    of_it = {("queue", found.queue), ("workflow", found.workflow)}
    controls = await services.flow.controls.list()
    return next((control for control in controls if (control.kind, control.name) in of_it), None)


def _awaited(found: WorkflowRun) -> list[str]:
    """The names of the signals that it waits for."""
    waits = (step for step in found.steps if step.kind == "signal" and step.status == "waiting")
    return list(dict.fromkeys(name_of_key(step.key) for step in waits))


def _is_shown(step: StepRun, show: str, find: str) -> bool:
    return step.status in SHOWN.get(show, (step.status,)) and find.casefold() in step.key.casefold()


def _zoom(began: str, ended: str) -> Zoom | None:
    """None where the address asks for no part of the run's time, or for none that can be."""
    try:
        return Zoom(float(began), float(ended))
    except ValueError:
        return None


def _around(found: WorkflowRun, step: StepRun, now: datetime) -> Zoom | None:
    """The time of this step, and a little around it."""
    began = step.attempts[0].started_at if step.attempts else step.started_at
    if began is None:
        return None
    began_s = (began - found.created_at).total_seconds()
    ended_s = ((step.finished_at or found.finished_at or now) - found.created_at).total_seconds()
    room_s = max((ended_s - began_s) * 0.05, 0.005)
    if ended_s < 0:
        return None  # a forked run has steps that ended before it was created
    return Zoom(round(max(began_s - room_s, 0), 3), round(max(began_s, ended_s) + room_s, 3))


def _retried(step: StepRun) -> tuple[timedelta, timedelta] | None:
    """How long its attempts took together, and how long it waited between them; None where there is one at most."""
    if len(step.attempts) < 2:  # the first one waits for none
        return None
    ran = sum((each.finished_at - each.started_at for each in step.attempts), timedelta())
    return ran, step.attempts[-1].finished_at - step.attempts[0].started_at - ran


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


async def _said(services: Services, run_id: str, step: StepRun) -> Sequence[dict[str, Any]]:
    """What its body said last, the newest first.

    A run may have said 10,000 things: they are read from about where this step began, and so many of them.
    """
    began = step.attempts[0].started_at if step.attempts else step.started_at
    if began is None or step.kind not in {"run", "compensation"}:
        return ()
    after = f"{int((began - CLOCKS_APART).timestamp() * 1000)}-0"
    handle = await services.flow.get_handle(run_id)
    found: list[Event] = []
    looked_at = 0
    async with contextlib.aclosing(handle.events(after, live=False)) as events:
        async for event in events:
            looked_at += 1
            if event.step == step.key:
                found.append(event)
                del found[:-SAID]
            if looked_at == SAID_AMONG:
                break
    return [services.redact.event(event) for event in reversed(found)]


async def _buffered(services: Services, found: WorkflowRun) -> Sequence[Document] | None:
    """What lies in its mailbox; None where that cannot be read here, as without its key."""
    try:
        lying = await services.flow.buffered_signals(found.id, most=SIGNALS)
    except UNREADABLE:
        return None
    return [services.redact.signal(each) for each in lying]


async def _history(services: Services, run_id: str) -> Sequence[tuple[HistoryEntry, Any]]:
    """The last entries of the record, the newest first, with what may be shown of their errors."""
    entries = await services.flow.get_history(run_id)
    return [(entry, services.redact.history(entry)) for entry in reversed(entries[-HISTORY:])]


async def _family(services: Services, found: WorkflowRun) -> Sequence[Kin]:
    """Its descendants, each below its parent: as many as are shown, and one where there are more."""
    family = await read_family(services.flow.get_run, found, depth=GENERATIONS, most=FAMILY)

    def below(run: WorkflowRun, depth: int) -> Iterator[Kin]:
        for step in run.steps:
            if step.child_id is not None:
                child = family.runs.get(step.child_id)
                unreadable = family.unreadable.get(step.child_id)
                why_not = UNREAD[depth >= GENERATIONS] if unreadable is None else f"cannot be read here: {unreadable}"
                yield Kin(depth, step, child, step.child_id in family.missing, why_not)
                if child is not None:
                    yield from below(child, depth + 1)

    return list(islice(below(found, 0), FAMILY_SHOWN + 1))
