"""The prefix under which a proxy serves the dashboard: links lead through it, whether the proxy takes it off or not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

_PREFIX: Final = re.compile(r"(/[A-Za-z0-9._~-]+)+")
"""Not `//host`: a link to that would lead to somewhere else."""


def paths_of(routes: Iterable[BaseRoute], above: str = "") -> Iterator[str]:
    """Of all routes, as they are written: `/runs/{run_id}`."""
    for route in routes:
        if isinstance(route, Mount) and route.routes:
            yield from paths_of(route.routes, above + route.path)
        elif isinstance(route, Mount):  # of files
            yield f"{above}{route.path}/{{file:path}}"
        elif isinstance(route, Route):
            yield above + route.path


def is_begun_by(prefix: str, path: str) -> bool:
    """Whether what this path stands for may begin with the prefix: then nobody could tell whether it was taken off."""
    parts = path.split("/")
    for number, wanted in enumerate(prefix.split("/")):
        part = parts[number] if number < len(parts) else ""
        if part.startswith("{") and part.endswith(":path}"):
            return True
        if part != wanted and not part.startswith("{"):
            return False
    return True


def is_prefix(text: str) -> bool:
    """Whether links may begin with it."""
    return _PREFIX.fullmatch(text) is not None


class ForwardedPrefix:
    """Puts back the prefix that a proxy took off and tells in `X-Forwarded-Prefix`."""

    def __init__(self, app: ASGIApp) -> None:
        """Around this application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        if scope["type"] == "http":
            prefix = Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")
            if is_prefix(prefix):
                scope = _below(prefix, scope)
        await self._app(scope, receive, send)


class FixedPrefix:
    """The same prefix for all requests: put back where it was taken off, and known where it was left."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        """Around this application."""
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        if scope["type"] == "http":
            has_it = f"{scope['path']}/".startswith(f"{self._prefix}/")
            scope = {**scope, "root_path": self._prefix} if has_it else _below(self._prefix, scope)
        await self._app(scope, receive, send)


def _below(prefix: str, scope: Scope) -> Scope:
    below = {**scope, "root_path": prefix + scope.get("root_path", ""), "path": prefix + scope["path"]}
    if scope.get("raw_path") is not None:
        below["raw_path"] = prefix.encode() + scope["raw_path"]
    return below
