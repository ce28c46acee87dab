"""Step bodies that use the database: Django closes stale connections around requests, and a worker has no requests."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import close_old_connections

P = ParamSpec("P")
R = TypeVar("R")


def close_old_connections_around(body: Callable[P, R]) -> Callable[P, R]:
    """A sync step body that uses the ORM: its thread's connections are checked before and after, as in a request.

    Without it, a thread of a worker keeps the connection that its first body opened, beyond CONN_MAX_AGE and over
    restarts of the database.
    """

    @functools.wraps(body)
    def around(*args: P.args, **kwargs: P.kwargs) -> R:
        close_old_connections()
        try:
            return body(*args, **kwargs)
        finally:
            close_old_connections()

    return around
