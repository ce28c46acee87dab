"""From what a page has found out to HTML: whole for a browser that comes, its inner part alone for one that is there.

Every value is escaped by the templates (autoescape is on, and no template marks anything as safe). Where the page is
mounted is asked of each request, so that all links lead back through the same prefix.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request

import redisflow
from redisflow.dashboard.access.paths import path_within
from redisflow.dashboard.access.roles import Action, Identity, may
from redisflow.dashboard.payload_trees import tree_of
from redisflow.dashboard.services import Services
from redisflow.dashboard.tracebacks import read_traceback
from redisflow.dashboard.words import WORDS, visible

HERE = Path(__file__).parent
STATIC = HERE / "static"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a page shows."""

    template: str
    title: str
    nav: str
    """The entry of the navigation that it belongs to."""
    context: Mapping[str, Any] = field(default_factory=dict[str, Any])
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


Page: TypeAlias = Callable[[Request, Services], Awaitable[View]]


def _fingerprint() -> str:
    """Of all static files: they are kept by browsers for a year, and so asked for by another name when they change."""
    found = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            found.update(path.read_bytes())
    return found.hexdigest()[:12]


class Renderer:
    """The templates of one dashboard."""

    def __init__(self, services: Services) -> None:
        """Read them when they are asked for."""
        self._services = services
        self._version = _fingerprint()
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=visible,
        )
        words: dict[str, Any] = {**WORDS, "tree": tree_of, "traceback": read_traceback}
        self._environment.filters.update(words)

    @property
    def version(self) -> str:
        """Part of the address of each static file."""
        return self._version

    def whole(self, request: Request, view: View) -> str:
        """The page with all that is around it."""
        return self._render(request, view, "shell.html")

    def inner(self, request: Request, view: View) -> str:
        """What live updates send. It is the same for everybody of the same role."""
        return self._render(request, view, "bare.html")

    def _render(self, request: Request, view: View, layout: str) -> str:
        base = request.scope.get("root_path", "").rstrip("/")
        identity: Identity = request.state.identity
        query = f"?{request.url.query}" if request.url.query else ""
        path = quote(path_within(request.scope).removeprefix("/live"), safe="/:@")

        def is_allowed(action: Action) -> bool:
            return may(identity, action, read_only=self._services.read_only)

        namespaces = self._services.options.namespaces
        return self._environment.get_template(view.template).render(
            view.context,
            layout=layout,
            title=view.title,
            nav=view.nav,
            base=base,
            static=f"{base}/static/{self._version}",
            live=f"{base}/live{path}{query}",
            csrf=getattr(request.state, "csrf_token", ""),
            identity=identity,
            may=is_allowed,
            read_only=self._services.read_only,
            namespace=self._services.flow.namespace,
            namespaces=namespaces.links(base) if namespaces else [],
            now=datetime.now(UTC),
            version=redisflow.__version__,
        )
