"""The list of runs: by status and filter, a page at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from starlette.requests import Request

from redisflow.dashboard.bulk_jobs import MEANT, Verb
from redisflow.dashboard.filters import Query
from redisflow.dashboard.finding import find_page
from redisflow.dashboard.services import Services
from redisflow.dashboard.views import View
from redisflow.errors import InvalidCursor
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
    known = _known(query, counts)
    is_first = "cursor" not in request.query_params
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
            "tabs": _tabs(query, known),
            "reach": _reach(query, known, page if is_first and not page.cursor else None),
            "matching": _matching(query, known, page if is_first and not page.cursor else None),
            "is_mixed": is_first and not query.tags and query.order == "newest" and _is_mixed(page),
            "spans": _spans(query),
            "page": page,
            "shares": {each.id: 100 * _seconds(each) / longest if longest else 0 for each in page.runs},
            "older": page.cursor and f"?{urlencode({'q': text, 'cursor': page.cursor})}",
            "is_first": is_first,
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
    try:
        return await find_page(services.flow, query, page_size=PAGE_SIZE, cursor=cursor), None
    except InvalidCursor as error:
        return await find_page(services.flow, query, page_size=PAGE_SIZE), str(error)


def _seconds(run: RunSummary) -> float:
    if run.started_at is None or run.finished_at is None:
        return 0.0
    return (run.finished_at - run.started_at).total_seconds()


def _link(text: str) -> str:
    return f"?{urlencode({'q': text})}" if text else "?"


def _known(query: Query, counts: RunCounts) -> Mapping[str, int]:
    """How many runs there are of each status, where it is known without a look at each: of all, or of a workflow."""
    others = replace(query, statuses=(), order="newest")
    if others == Query():
        return {status: getattr(counts, status) for status in STATUSES} | {"stranded": counts.stuck}
    if others == Query(workflow=query.workflow) and (of_workflow := counts.workflows.get(query.workflow or "")):
        known = {status: getattr(of_workflow, status) for status in STATUSES[3:]} | {"stranded": of_workflow.stuck}
        return known | dict(of_workflow.by_status or {})
    return {}


def _reach(query: Query, known: Mapping[str, int], whole: RunPage | None) -> Mapping[Verb, int | None]:
    """To how many of those that match each verb would be done, where that is known. `whole` is a page of all."""
    found: dict[Verb, int | None] = {}
    for verb, meant in MEANT.items():
        statuses = query.statuses or meant
        if not any(status.partition(":")[0] in meant or status in meant for status in statuses):
            found[verb] = 0
        elif whole is not None:
            found[verb] = sum(bool({run.status, f"{run.status}:{run.waiting_for}"} & {*statuses}) for run in whole.runs)
        else:
            found[verb] = sum(known[each] for each in statuses) if known.keys() >= {*statuses} else None
    return found


def _matching(query: Query, known: Mapping[str, int], whole: RunPage | None) -> int | None:
    """How many match, where that is known."""
    if whole is not None:
        return len(whole.runs)
    statuses = query.statuses or STATUSES
    return sum(known[each] for each in statuses) if known.keys() >= {*statuses} else None


def _is_mixed(page: RunPage) -> bool:
    """Whether unfinished runs stand before such as have ended: then what was created last is not on top of all."""
    return len({run.finished_at is None for run in page.runs}) > 1


def _tabs(query: Query, known: Mapping[str, int]) -> Sequence[Choice]:
    """With counts where they are known."""
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
