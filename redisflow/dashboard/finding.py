"""Pages of runs for a query, also for one that names a single run."""

from __future__ import annotations

from redisflow.dashboard.filters import Query
from redisflow.errors import RunNotFound
from redisflow.flow import RedisFlow
from redisflow.runs import WorkflowRun
from redisflow.summaries import RunPage, RunSummary


async def find_page(flow: RedisFlow, query: Query, *, page_size: int, cursor: str | None = None) -> RunPage:
    """Some of the runs that match, and the cursor for the next page; see `RedisFlow.list_page`."""
    if query.id is None:
        return await flow.list_page(cursor=cursor, page_size=page_size, **query.find_options())
    try:
        run = await flow.get_run(query.id)
    except RunNotFound:
        return RunPage((), None)
    return RunPage((summary_of(run),), None)


def summary_of(run: WorkflowRun) -> RunSummary:
    """The run as a list shows it."""
    return RunSummary(
        id=run.id,
        workflow=run.workflow,
        version=run.version,
        queue=run.queue,
        status=run.status,
        waiting_for=run.waiting_for,
        schedule=run.schedule,
        tags=run.tags,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        claims=run.claims,
        crashes=run.crashes,
        cause=_cause_of(run),
    )


def _cause_of(run: WorkflowRun) -> str | None:
    """A verdict from outside, by the failure that stands for it."""
    verdict = None if run.error is None else _VERDICTS.get(run.error.error_type)
    return "canceled" if verdict is None and run.status == "canceled" else verdict


_VERDICTS = {
    "DeadlineExceeded": "deadline",
    "Poisoned": "poisoned",
    "WorkflowExpired": "expired",
    "WorkflowReplaced": "replaced",
}
