"""Where in the dashboard a request leads, wherever that is mounted."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

OPEN: Final = frozenset({"/healthz", "/readyz"})
"""For those who watch processes: they say nothing of what is stored, and ask for no identity."""


def path_within(scope: Scope) -> str:
    """The path behind the prefix under which the dashboard is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in {"", "/"}:
        return path[len(root) :]
    return path


def is_api(scope: Scope) -> bool:
    """Whether a program asks, and not a page."""
    return path_within(scope).startswith("/api/")


def is_open(scope: Scope) -> bool:
    """Whether anybody may ask."""
    return path_within(scope) in OPEN
