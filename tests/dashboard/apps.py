"""The access control and the API of a dashboard as one application, without its pages."""

from __future__ import annotations

from starlette.applications import Starlette

from redisflow.dashboard.access.middleware import access_middleware
from redisflow.dashboard.api import make_routes
from redisflow.dashboard.services import Services


def application(services: Services) -> Starlette:
    options = services.options
    return Starlette(
        routes=make_routes(services),
        middleware=access_middleware(
            auth=options.auth,
            hosts=options.allowed_hosts,
            read_only=options.read_only,
            trust_prefix=options.trust_prefix,
        ),
    )
