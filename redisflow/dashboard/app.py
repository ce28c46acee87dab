"""`dashboard_app(flow)`: the dashboard as an ASGI application, alone or mounted into another one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Lifespan

from redisflow.dashboard.access.failures import log_failure
from redisflow.dashboard.access.middleware import SAFE_HEADERS, access_middleware
from redisflow.dashboard.access.redact import Redact
from redisflow.dashboard.access.refusals import refuse
from redisflow.dashboard.access.roles import Auth
from redisflow.dashboard.api import make_routes
from redisflow.dashboard.live import Live
from redisflow.dashboard.pages import PAGES
from redisflow.dashboard.services import DashboardOptions, Services
from redisflow.dashboard.switching import PLACE, Namespaces, check_names
from redisflow.dashboard.views import STATIC, Page, Renderer, View
from redisflow.errors import (
    BackendError,
    CannotDecode,
    InvalidName,
    RedisflowError,
    RunDamaged,
    RunNotFound,
    ScheduleNotFound,
)
from redisflow.flow import RedisFlow


def dashboard_app(
    flow: RedisFlow,
    *,
    others: Sequence[RedisFlow] = (),
    auth: Auth | None = None,
    read_only: bool = False,
    redact: Redact | None = None,
    allowed_hosts: Sequence[str] = (),
    trust_prefix: bool = False,
) -> Starlette:
    """The dashboard of a namespace, as an ASGI application: to be served alone, or mounted into another one.

    Without `auth` everybody who reaches it may do everything: bind it to loopback, or mount it behind your own check.
    `auth` says who a request comes from and what they may do (`BasicAuth`, `BearerAuth`, or a callable that returns a
    `Role`, an `Identity` or None). `read_only` changes nothing, whoever asks. `redact(path, value)` is called with each
    payload before it is shown. `allowed_hosts` are names by which it may be called, besides those of loopback.
    `trust_prefix` believes `X-Forwarded-Prefix` of a proxy that takes a prefix off. `others` are flows of further
    namespaces: their pages are below `/ns/NAME`, and each leads to each.

    It connects in the event loop that serves it. What it shows is read from Redis each time; nothing is kept here but
    the progress of bulk actions, which end with this process.
    """
    names = check_names([each.namespace for each in (flow, *others)])
    options = DashboardOptions(
        auth=auth, read_only=read_only, redact=redact, allowed_hosts=allowed_hosts, trust_prefix=trust_prefix
    )
    shown = [
        Services.of(each, replace(options, namespaces=Namespaces(names, each.namespace))) for each in (flow, *others)
    ]

    @contextlib.asynccontextmanager
    async def live(_app: Starlette) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await asyncio.gather(*(services.close() for services in shown))

    first, *rest = (_app_of(services, live) for services in shown)
    if not rest:
        return first
    below = [Mount(f"{PLACE}{name}", app) for name, app in zip(names[1:], rest, strict=True)]
    return Starlette(routes=[*below, Mount("", first)], lifespan=live)


def _app_of(services: Services, live: Lifespan[Starlette]) -> Starlette:
    """That of one namespace."""
    desk, options = _Desk(services), services.options
    return Starlette(
        routes=desk.routes(),
        middleware=access_middleware(
            auth=options.auth,
            hosts=options.allowed_hosts,
            read_only=options.read_only,
            trust_prefix=options.trust_prefix,
        ),
        exception_handlers={HTTPException: desk.refused, Exception: _broken},
        lifespan=live,
    )


class _Desk:
    """Where requests become pages."""

    def __init__(self, services: Services) -> None:
        """Of one dashboard."""
        self._services = services
        self._renderer = Renderer(services)
        self._live = Live()

    def routes(self) -> list[BaseRoute]:
        """Each page twice: as it is, and as it goes on."""
        files = StaticFiles(directory=STATIC)
        return [
            Route("/", self._home),
            Mount(f"/static/{self._renderer.version}", files),
            *make_routes(self._services),
            *(Route(path, self._show(page), name=page.__name__) for path, page in PAGES),
            *(Route(f"/live{path}", self._follow(page)) for path, page in PAGES),
        ]

    async def _home(self, request: Request) -> Response:
        return RedirectResponse(f"{request.scope.get('root_path', '').rstrip('/')}/runs", 302)

    def _show(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def show(request: Request) -> Response:
            try:
                view = await page(request, self._services)
                text = self._renderer.whole(request, view)
            except Exception as error:  # noqa: BLE001  # whatever it is, somebody waits for a page
                return self._refuse(request, error)
            return HTMLResponse(text, view.status)

        return show

    def _follow(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def follow(request: Request) -> Response:
            async def make() -> str:
                try:
                    return self._renderer.inner(request, await page(request, self._services))
                except BackendError:
                    raise  # what was shown last stays, until the server is back
                except Exception as error:  # noqa: BLE001  # what is watched may go, as a run that is deleted
                    return self._renderer.inner(request, _problem_of(request, error))

            return self._live.respond(request, make)

        return follow

    async def refused(self, request: Request, error: Exception) -> Response:
        """No such page, or no such method."""
        return self._refuse(request, error)

    def _refuse(self, request: Request, error: Exception) -> Response:
        view = _problem_of(request, error)
        if not hasattr(request.state, "identity"):  # at what is open to everybody: a page would say what is here
            return refuse(request.scope, view.status, HTTPStatus(view.status).phrase, view.headers)
        return HTMLResponse(self._renderer.whole(request, view), view.status, view.headers)


async def _broken(request: Request, _error: Exception) -> Response:
    """What failed before it was known who asks: they are told nothing. It is raised again, and so told in the log.

    It is answered outside of the middleware that adds these headers.
    """
    return refuse(request.scope, 500, "something went wrong: the log of the dashboard says what", SAFE_HEADERS)


def _problem_of(request: Request, error: Exception) -> View:
    """Why something cannot be shown, and what to do."""
    if isinstance(error, HTTPException):
        return _problem(error.status_code, error.detail, error.headers)
    if isinstance(error, RunNotFound | ScheduleNotFound | InvalidName):
        return _problem(404, str(error))
    if isinstance(error, RunDamaged):
        return _problem(422, str(error))
    if isinstance(error, CannotDecode):
        return _problem(422, f"it is stored, and cannot be read here: {error}")
    if isinstance(error, BackendError):
        return _problem(503, str(error), {"Retry-After": "2"})
    if isinstance(error, RedisflowError):
        return _problem(400, str(error))
    log_failure(f"{request.method} {request.url.path!r}", error)
    return _problem(500, f"{type(error).__name__}: the log of the dashboard has more")


def _problem(status: int, why: str, headers: Mapping[str, str] | None = None) -> View:
    context = {"code": status, "why": why}
    return View(template="problem.html", title="Problem", nav="", context=context, status=status, headers=headers or {})
