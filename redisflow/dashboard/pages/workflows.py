"""Workflows: how many runs each has, which versions are in flight, and who serves them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request

from redisflow.client.controls import Control
from redisflow.dashboard.pages.numbers import page_of
from redisflow.dashboard.services import Services
from redisflow.dashboard.views import View
from redisflow.errors import RunNotFound
from redisflow.fleet import Fleet
from redisflow.summaries import Outcomes, RunPage, RunSummary, WorkflowCounts

SAMPLE = 200
"""Finished runs by which durations and failures of late are told, on a workflow's own page."""
SAMPLE_IN_LIST = 20
"""The same for each of many workflows."""
PAGE_SIZE = 50
"""Workflows of a list: each of them costs a call, and its sample."""
MOST_LOOKED_AT = 2_000
"""Unfinished runs that are looked at one by one, to say of which status and version they are."""


@dataclass(frozen=True, slots=True)
class Line:
    """A workflow in the list."""

    name: str
    counts: WorkflowCounts
    versions: Sequence[str]
    """Those that live workers serve."""
    late: Outcomes
    last: RunSummary | None
    control: Control | None


async def workflows(request: Request, services: Services) -> View:
    """The workflows that have runs, or that a live worker serves: some of them, by name. `find` chooses among them."""
    flow = services.flow
    counts, alive, controls = await asyncio.gather(flow.count_runs(), flow.workers(), flow.controls.list())
    fleet = Fleet(alive)
    find = request.query_params.get("find", "")
    paused = {control.name: control for control in controls if control.kind == "workflow"}
    known = sorted({*counts.workflows, *(name for worker in alive for name, _ in worker.workflows), *paused})
    found = [name for name in known if find.casefold() in name.casefold()]
    number, pages_in_all = page_of(request.query_params.get("page", ""), len(found), PAGE_SIZE)
    names = found[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
    pages = await asyncio.gather(*(_finished(services, name, SAMPLE_IN_LIST) for name in names))
    none = WorkflowCounts(unfinished=0, stuck=0, succeeded=0, failed=0, canceled=0)
    lines = [
        Line(
            name=name,
            counts=counts.workflows.get(name, none),
            versions=fleet.versions_of(name),
            late=Outcomes.of(page.runs),
            last=page.runs[0] if page.runs else None,
            control=paused.get(name),
        )
        for name, page in zip(names, pages, strict=True)
    ]

    def link(page: int) -> str:
        return f"?{urlencode({'find': find, 'page': page} if find else {'page': page})}"

    return View(
        template="workflows.html",
        title="Workflows",
        nav="workflows",
        context={
            "lines": lines,
            "find": find,
            "sample": SAMPLE_IN_LIST,
            "matching": len(found),
            "in_all": len(known),
            "number": number,
            "pages": pages_in_all,
            "link": link,
        },
    )


async def workflow(request: Request, services: Services) -> View:
    """One of them: its versions in flight, its last runs."""
    name = request.path_params["name"]
    flow = services.flow
    counts, alive, controls, page, recent = await asyncio.gather(
        flow.count_runs(),
        flow.workers(),
        flow.controls.list(),
        _finished(services, name, SAMPLE),
        flow.list_page(workflow=name, page_size=20),
    )
    fleet = Fleet(alive)
    control = next((each for each in controls if each.kind == "workflow" and each.name == name), None)
    is_known = name in counts.workflows or fleet.versions_of(name) or control is not None
    if not is_known and not await _is_scheduled(services, name):
        msg = f"no run of a workflow {name!r} is stored, no live worker serves it, and no schedule starts it"
        raise RunNotFound(msg)
    own = counts.workflows.get(name)
    is_counted = own is None or own.unfinished <= MOST_LOOKED_AT
    by_status, in_flight = (
        await _look_at_each(services, name) if own and is_counted else (dict[str, int](), Counter[str]())
    )
    served = {version or "" for worker in alive for each, version in worker.workflows if each == name}
    return View(
        template="workflow.html",
        title=name,
        nav="workflows",
        context={
            "name": name,
            "counts": own,
            "by_status": by_status,
            "is_counted": is_counted,
            "late": Outcomes.of(page.runs),
            "sample": SAMPLE,
            "recent": recent.runs,
            "schema": flow.input_schemas().get(name),
            "control": control,
            "versions": [
                (version, in_flight[version], fleet.has_code(name, version or None))
                for version in sorted({*in_flight, *served})
            ],
        },
    )


async def _is_scheduled(services: Services, name: str) -> bool:
    return any(schedule.workflow == name for schedule in await services.flow.schedules.list())


async def _look_at_each(services: Services, name: str) -> tuple[Mapping[str, int], Counter[str]]:
    """How many unfinished runs there are of each status, and of each version."""
    backend = await services.flow.open()
    by_status, by_version = await asyncio.gather(
        backend.listings.count_statuses(name), backend.fleet.count_versions(name)
    )
    return by_status, Counter(by_version)


async def _finished(services: Services, name: str, most: int) -> RunPage:
    return await services.flow.list_page(workflow=name, status=("succeeded", "failed", "canceled"), page_size=most)
