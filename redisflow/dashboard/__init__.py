"""The dashboard: an ASGI application of pages, live updates and a JSON API over one namespace."""

from redisflow.dashboard.access.credentials import BasicAuth, BearerAuth
from redisflow.dashboard.access.roles import Identity, Role
from redisflow.dashboard.app import dashboard_app

__all__ = ["BasicAuth", "BearerAuth", "Identity", "Role", "dashboard_app"]
