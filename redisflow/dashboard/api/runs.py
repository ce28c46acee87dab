"""Finding, reading and starting runs."""

from __future__ import annotations

from typing import Any

from redisflow import documents
from redisflow.dashboard.api.bodies import Nothing, Start
from redisflow.dashboard.api.endpoint import Call, Reply
from redisflow.dashboard.api.params import FindRuns, NoParams
from redisflow.dashboard.finding import find_page


async def list_runs(call: Call[FindRuns, Nothing]) -> Any:
    """Runs that match: those that go on first, then those that ended, the latest first.

    A page may hold fewer runs than `limit`; the last one has no cursor.
    """
    query = call.params.query()
    page = await find_page(call.services.flow, query, page_size=call.params.limit, cursor=call.params.cursor)
    return {"runs": [documents.of_summary(run) for run in page.runs], "cursor": page.cursor}


async def get_run(call: Call[NoParams, Nothing]) -> Any:
    """A run with its steps and payloads, as it is now, and the worker that holds it, if one does."""
    run = await call.services.flow.get_run(call.name)
    holder = await call.services.flow.find_holder(run.id) if run.status == "running" else None
    return call.services.redact.run(run) | {"worker": holder and holder.worker}


async def list_steps(call: Call[NoParams, Nothing]) -> Any:
    """The steps of a run."""
    run = await call.services.flow.get_run(call.name)
    return {"steps": [call.services.redact.step(step) for step in run.steps]}


async def list_signals(call: Call[NoParams, Nothing]) -> Any:
    """Signals that were sent to a run and that its code has not taken: the oldest 100."""
    found = await call.services.flow.buffered_signals(call.name)
    return {"signals": [call.services.redact.signal(each) for each in found]}


async def start_run(call: Call[NoParams, Start]) -> Any:
    """Start a run: 201 where it is new, 200 where a key led to one that was there.

    Where the dashboard has the workflow's code, the input is checked here, else where it runs. Without a `key`, a start
    that got no answer may or may not have happened.
    """
    body = call.body
    start = call.services.actions.start
    started = await start(call.identity, body.workflow, body.input, unknown=body.unknown, **body.options())
    document = {
        "id": started.id,
        "workflow": started.workflow,
        "version": started.version,
        "existing": started.existing,
        "available_at": documents.iso(started.available_at),
    }
    location = f"{call.base}/runs/{started.id}"
    return Reply(document, 200 if started.existing else 201, {"Location": location})
