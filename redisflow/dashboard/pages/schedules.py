"""Schedules: what starts runs by the clock."""

from __future__ import annotations

from starlette.requests import Request

from redisflow.dashboard.services import Services
from redisflow.dashboard.views import View


async def schedules(_request: Request, services: Services) -> View:
    """Each with its next ticks."""
    found = await services.flow.schedules.list()
    return View(template="schedules.html", title="Schedules", nav="schedules", context={"schedules": found})
