"""How far a bulk action has come."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request

from redisflow.dashboard.services import Services
from redisflow.dashboard.views import View


async def bulk_job(request: Request, services: Services) -> View:
    """It goes on while this process lives."""
    job = services.bulk_jobs.get(request.path_params["job_id"])
    if job is None:
        raise HTTPException(404, "there is no such bulk action (any more): they are kept while the dashboard runs")
    return View(template="bulk.html", title=f"Bulk {job.verb}", nav="runs", context={"job": job})
