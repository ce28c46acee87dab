"""What is done to many runs, in the background of the dashboard's process."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException

from redisflow import documents
from redisflow.dashboard.api.bodies import Nothing, StartBulk
from redisflow.dashboard.api.endpoint import Call, Reply
from redisflow.dashboard.api.params import NoParams
from redisflow.dashboard.bulk_jobs import BulkJobView
from redisflow.dashboard.filters import Query


async def start_bulk(call: Call[NoParams, StartBulk]) -> Any:
    """Begin to do something to many runs: to those of `ids`, or to those that match `q`.

    Where `q` names no status, the runs to which it can be done are meant: to cancel and pause those that go on, to
    retry those that failed, to resume those that are paused, to rerun and delete those that ended.
    """
    body = call.body
    if (body.ids is None) == (body.q is None):
        msg = "say which runs: ids, or q"
        raise ValueError(msg)
    runs = body.ids if body.ids is not None else Query.parse(body.q or "")
    job = call.services.bulk_jobs.start(body.verb, runs, call.identity)
    return Reply(of_job(job), 202, {"Location": f"{call.base}/bulk/{job.id}"})


async def list_bulk(call: Call[NoParams, Nothing]) -> Any:
    """The bulk jobs that this process remembers, the latest first."""
    return {"bulk": [of_job(job) for job in call.services.bulk_jobs.list()]}


async def get_bulk(call: Call[NoParams, Nothing]) -> Any:
    """A bulk job, and how far it has come. Only the process in which it began knows it."""
    return of_job(_found(call, call.services.bulk_jobs.get(call.name)))


async def cancel_bulk(call: Call[NoParams, Nothing]) -> Any:
    """Stop a bulk job: what it has done stays done. Safe to repeat."""
    return of_job(_found(call, call.services.bulk_jobs.cancel(call.name, call.identity)))


def of_job(job: BulkJobView) -> documents.Document:
    """A bulk job."""
    return {
        "id": job.id,
        "verb": job.verb,
        "by": job.by,
        "what": job.what,
        "state": job.state,
        "started_at": documents.iso(job.started_at),
        "finished_at": documents.iso(job.finished_at),
        "total": job.total,
        "done": job.done,
        "refused": job.refused,
        "failed": job.failed,
        "errors": [{"run_id": each.run_id, "error": each.error, "message": each.message} for each in job.errors],
        "problem": job.problem,
    }


def _found(call: Call[Any, Any], job: BulkJobView | None) -> BulkJobView:
    if job is None:
        raise HTTPException(404, f"bulk job {call.name[:80]!r} is not known to this process")
    return job
