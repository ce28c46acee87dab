"""The list of runs: by status and filter, a page at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from starlette.requests import Request

from redisflow.dashboard.filters import Query
from redisflow.dashboard.services import Services
from redisflow.dashboard.views import View
from redisflow.errors import InvalidCursor, RunNotFound
from redisflow.runs import WorkflowRun
from redisflow.summaries import RunCounts, RunPage, RunSummary

PAGE_SIZE = 50
STATUSES = ("pending", "running", "waiting", "succeeded", "failed", "canceled")
SPANS = (("1 h", "1h"), ("24 h", "24h"), ("7 d", "7d"), ("all", None))


@dataclass(frozen=True, slots=True)
class Choice:
    """A tab, or a span of time."""

    label: str
    href: str
    is_current: bool
    count: int | None = None
    tone: str = ""


async def runs(request: Request, services: Services) -> View:
    """See the module. All that is chosen stands in the address."""
    text = request.query_params.get("q", "")
    problem: str | None = None
    try:
        query = Query.parse(text)
    except ValueError as error:
        query, problem = Query(), str(error)
    counts, (page, lost) = await asyncio.gather(
        services.flow.count_runs(), _page(services, query, request.query_params.get("cursor"), problem)
    )
    longest = max((_seconds(each) for each in page.runs), default=0.0)
    return View(
        template="runs.html",
        title="Runs",
        nav="runs",
        context={
            "text": text,
            "problem": problem or lost,
            "query": query,
            "chips": [(chip, _link(rest)) for chip, rest in query.chips()] if not problem else [],
            "tabs": _tabs(query, counts),
            "spans": _spans(query),
            "page": page,
            "shares": {each.id: 100 * _seconds(each) / longest if longest else 0 for each in page.runs},
            "older": page.cursor and f"?{urlencode({'q': text, 'cursor': page.cursor})}",
            "is_first": "cursor" not in request.query_params,
            "first": _link(query.to_text()),
            "is_empty": not any((counts.pending, counts.running, counts.waiting, *counts.workflows)),
            "workflows": sorted(counts.workflows),
        },
    )


async def _page(
    services: Services, query: Query, cursor: str | None, problem: str | None
) -> tuple[RunPage, str | None]:
    """With what is wrong with the place where it should go on."""
    if problem:
        return RunPage((), None), None
    if query.id is not None:
        try:
            return RunPage([_summary(await services.flow.get_run(query.id))], None), None
        except RunNotFound:
            return RunPage((), None), None
    try:
        return await services.flow.list_page(cursor=cursor, page_size=PAGE_SIZE, **query.find_options()), None
    except InvalidCursor as error:
        return await services.flow.list_page(page_size=PAGE_SIZE, **query.find_options()), str(error)


def _summary(run: WorkflowRun) -> RunSummary:
    """What is shown of it in a list; why it ended is on its own page."""
    return RunSummary(
        id=run.id,
        workflow=run.workflow,
        version=run.version,
        queue=run.queue,
        status=run.status,
        waiting_for=run.waiting_for,
        tags=run.tags,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        claims=run.claims,
        crashes=run.crashes,
        cause=None,
    )


def _seconds(run: RunSummary) -> float:
    if run.started_at is None or run.finished_at is None:
        return 0.0
    return (run.finished_at - run.started_at).total_seconds()


def _link(text: str) -> str:
    return f"?{urlencode({'q': text})}" if text else "?"


def _tabs(query: Query, counts: RunCounts) -> Sequence[Choice]:
    """With counts where they are known without looking at each run: of all, or of a whole workflow's."""
    plain = Query(workflow=query.workflow)
    known: dict[str, int] = {}
    if replace(query, statuses=()) == Query():
        known = {status: getattr(counts, status) for status in STATUSES} | {"stranded": counts.stuck}
    elif replace(query, statuses=()) == plain and (of_workflow := counts.workflows.get(query.workflow or "")):
        known = {status: getattr(of_workflow, status) for status in STATUSES[3:]} | {"stranded": of_workflow.stuck}
        known |= dict(of_workflow.by_status or {})
    chosen = set(query.statuses)
    tabs = [Choice("All", _link(replace(query, statuses=()).to_text()), not chosen)]
    tabs += [
        Choice(
            status.capitalize(),
            _link(query.with_status(status).to_text()),
            chosen == {status},
            known.get(status),
            status,
        )
        for status in STATUSES
    ]
    stuck = ("waiting:stranded", "waiting:suspended")
    href = _link(query.with_status(*stuck).to_text())
    tabs.append(Choice("Stranded", href, chosen == set(stuck), known.get("stranded"), "stranded"))
    return tabs


def _spans(query: Query) -> Sequence[Choice]:
    return [
        Choice(label, _link(replace(query, created_after=since, id=None).to_text()), query.created_after == since)
        for label, since in SPANS
    ]
