"""Charts of the last hours, from the counters that workers keep by the minute."""

from __future__ import annotations

from starlette.requests import Request

from redisflow.dashboard.services import Services
from redisflow.dashboard.views import View


async def metrics(_request: Request, _services: Services) -> View:
    """See the module."""
    return View(template="metrics.html", title="Metrics", nav="metrics", context={})
