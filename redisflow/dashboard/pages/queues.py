"""Queues with what lies in them, workers with what they hold, and what nobody serves."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from urllib.parse import urlencode

from starlette.requests import Request

from redisflow.dashboard.filters import Query
from redisflow.dashboard.services import Services
from redisflow.dashboard.views import View
from redisflow.fleet import HeldRun

HELD = 5
"""Runs of each worker that are shown."""


async def queues(_request: Request, services: Services) -> View:
    """Each queue, who reads it, and the control under which it is."""
    flow = services.flow
    found, alive, controls, delayed, counts = await asyncio.gather(
        flow.queues(), flow.workers(), flow.controls.list(), flow.count_delayed(), flow.count_runs()
    )
    readers: dict[str, list[str]] = defaultdict(list)
    for worker in alive:
        for queue in worker.queues:
            readers[queue].append(worker.name)
    return View(
        template="queues.html",
        title="Queues",
        nav="queues",
        context={
            "queues": found,
            "totals": [
                ("Ready", sum(queue.ready for queue in found), _runs("pending")),
                ("Held by workers", sum(queue.held for queue in found), _runs("running")),
                ("Waiting", counts.waiting, _runs("waiting")),
                ("Stranded", counts.stuck, _runs("waiting:stranded", "waiting:suspended")),
            ],
            "delayed": delayed,
            "readers": readers,
            "controls": {control.name: control for control in controls if control.kind == "queue"},
        },
    )


def _runs(*statuses: str) -> str:
    return f"runs?{urlencode({'q': Query(statuses=statuses).to_text()})}"


async def workers(_request: Request, services: Services) -> View:
    """Those that live, those that ended without a word, and what none of them serves."""
    flow = services.flow
    found, stranded, runs = await asyncio.gather(flow.workers(gone=True), flow.stranded(), flow.held_runs(most=HELD))
    held: dict[str, list[HeldRun]] = defaultdict(list)
    for each in runs:
        held[each.worker].append(each)
    return View(
        template="workers.html",
        title="Workers",
        nav="workers",
        context={"workers": found, "stranded": stranded, "held": held},
    )
