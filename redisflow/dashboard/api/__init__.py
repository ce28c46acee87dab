"""The JSON API under `/api/v1`."""

from redisflow.dashboard.api.routes import make_routes

__all__ = ["make_routes"]
