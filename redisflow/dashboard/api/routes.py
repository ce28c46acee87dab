"""The routes of the API, made of the table of its endpoints."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import Receive, Scope, Send

from redisflow.dashboard.access.refusals import problem
from redisflow.dashboard.api.endpoint import Endpoint
from redisflow.dashboard.api.health import Readiness, live
from redisflow.dashboard.api.openapi import ALL_ENDPOINTS
from redisflow.dashboard.api.problems import problem_of
from redisflow.dashboard.services import Services

BASE = "/api/v1"


def make_routes(services: Services) -> list[BaseRoute]:
    """The API below `/api/v1`, `/healthz` and `/readyz`. They expect `access_middleware` in front of them."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in ALL_ENDPOINTS:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    api = Router(
        [Route(_with_slashes(path), _Path(services, methods)) for path, methods in by_path.items()],
        default=_not_found,
        redirect_slashes=False,
    )
    return [
        Mount(BASE, app=api),
        Route("/healthz", live),
        Route("/readyz", Readiness(services.flow).respond),
    ]


def _with_slashes(path: str) -> str:
    """Signals are named by any text: what was escaped comes here as it was before."""
    return path.replace("{signal}", "{signal:path}")


class _Path:
    """The methods of one path. HEAD is what GET is, without a body."""

    def __init__(self, services: Services, methods: Mapping[str, Endpoint]) -> None:
        self._services = services
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        await (await self._respond(request))(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        endpoint = self._methods.get("GET" if request.method == "HEAD" else request.method)
        if endpoint is None:
            allowed = ", ".join([*self._methods, *(["HEAD"] if "GET" in self._methods else [])])
            return problem(405, f"this is done with {allowed}", {"Allow": allowed})
        return await endpoint.respond(self._services, request)


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await problem_of(HTTPException(404, "the API has no such path"))(scope, receive, send)
