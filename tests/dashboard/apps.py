"""The access control and the API of a dashboard as one application, with a page and a form that tests can send."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from redisflow.dashboard.access.middleware import access_middleware
from redisflow.dashboard.api import make_routes
from redisflow.dashboard.services import Services


def application(services: Services) -> Starlette:
    options = services.options
    return Starlette(
        routes=[
            *make_routes(services),
            Route("/page", _page),
            Route("/form", _form, methods=["POST"]),
            Route("/static/app.css", _static),
        ],
        middleware=access_middleware(
            auth=options.auth,
            hosts=options.allowed_hosts,
            read_only=options.read_only,
            trust_prefix=options.trust_prefix,
        ),
    )


async def _page(request: Request) -> Response:
    return HTMLResponse(f"{request.state.csrf_token} {request.state.identity.name} {request.url_for('_page').path}")


async def _form(request: Request) -> Response:
    """What it was sent: the guard has read it before."""
    return PlainTextResponse((await request.body()).decode())


async def _static(_request: Request) -> Response:
    return PlainTextResponse("a { }", media_type="text/css")
