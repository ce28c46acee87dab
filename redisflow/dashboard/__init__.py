"""The dashboard: an ASGI application of pages, live updates and a JSON API over one namespace.

    from redisflow.dashboard import BasicAuth, Role, dashboard_app
    app.mount("/redisflow", dashboard_app(flow, auth=BasicAuth({"ada": ("a long password", Role.ADMIN)})))

Each name is imported when it is first asked for, since the libraries of the dashboard are an extra
(`redisflow[dashboard]`): MissingExtra says so where they are not installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from redisflow.errors import MissingExtra

if TYPE_CHECKING:
    from redisflow.dashboard.access.credentials import AnyOf as AnyOf
    from redisflow.dashboard.access.credentials import BasicAuth as BasicAuth
    from redisflow.dashboard.access.credentials import BearerAuth as BearerAuth
    from redisflow.dashboard.access.redact import Redact as Redact
    from redisflow.dashboard.access.roles import Auth as Auth
    from redisflow.dashboard.access.roles import Identity as Identity
    from redisflow.dashboard.access.roles import Role as Role
    from redisflow.dashboard.app import dashboard_app as dashboard_app

__all__ = ["AnyOf", "Auth", "BasicAuth", "BearerAuth", "Identity", "Redact", "Role", "dashboard_app"]
_WHERE = {
    "AnyOf": "access.credentials",
    "Auth": "access.roles",
    "BasicAuth": "access.credentials",
    "BearerAuth": "access.credentials",
    "Identity": "access.roles",
    "Redact": "access.redact",
    "Role": "access.roles",
    "dashboard_app": "app",
}
_LIBRARIES = frozenset({"jinja2", "sse_starlette", "starlette"})


def __getattr__(name: str) -> Any:
    """Import what is asked for."""
    if name not in _WHERE:
        msg = f"module 'redisflow.dashboard' has no attribute {name!r}"
        raise AttributeError(msg)
    try:
        module = import_module(f"redisflow.dashboard.{_WHERE[name]}")
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in _LIBRARIES:
            raise
        msg = f"the dashboard needs {library}, which is not installed here: pip install 'redisflow[dashboard]'"
        raise MissingExtra(msg) from error
    return getattr(module, name)
