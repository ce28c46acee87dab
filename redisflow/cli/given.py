"""The options that every command has: where its runs are, and in which form it prints."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from redisflow.backend.connect import is_same_place
from redisflow.backend.location import Location
from redisflow.cli.output import Format, Output
from redisflow.cli.settings import DEV, Setting, follow_dev, read_settings

if TYPE_CHECKING:
    from redisflow.contract import Backend
    from redisflow.flow import RedisFlow

CALL_TIMEOUT_S = 5.0
"""Whoever types a command waits no longer for a server that is away."""


@Parameter(name="*", group="Common options")
@dataclass(frozen=True, kw_only=True)
class Given:
    """See the module."""

    url: Annotated[str | None, Parameter(help="of Redis; REDISFLOW_URL, else redis://localhost:6379/0")] = None
    namespace: Annotated[
        str | None, Parameter(alias="-n", help="REDISFLOW_NAMESPACE, else `default`; it is not created")
    ] = None
    app: Annotated[
        str | None,
        Parameter(help="MODULE:NAME of a RedisFlow object, for types and encrypted payloads; REDISFLOW_APP"),
    ] = None
    output: Annotated[
        Literal["table", "json", "jsonl", "yaml", "id"] | None, Parameter(alias="-o", help="how results are printed")
    ] = None
    json: Annotated[bool, Parameter(negative=(), help="the same as -o json; errors are JSON as well")] = False
    utc: Annotated[bool, Parameter(negative=(), help="instants in tables instead of `3 min ago`")] = False
    debug: Annotated[bool, Parameter(negative=(), help="errors with their traceback")] = False

    @property
    def out(self) -> Output:
        """Where results go."""
        form: Format = "json" if self.json else self.output or "table"
        return Output(form, utc=self.utc)

    def settings(self) -> dict[str, Setting]:
        """What flags, environment and files say together."""
        return read_settings({"url": self.url, "namespace": self.namespace, "app": self.app})

    def flow(self) -> RedisFlow:
        """The app's own flow where there is one, unless flags say where to look; else one that knows no workflow."""
        settings = self.settings()
        app = settings["app"].value
        if app is not None and self.asks_the_app(settings):
            from redisflow.cli.target import load_for_command  # noqa: PLC0415  # it imports the code of users

            follow_dev(settings)
            flow = load_for_command(app, None if self.app else "--url URL -n NAMESPACE does without the app")
            for name in contradictions(settings, flow):
                # Nobody is to change the runs of another place than the one that they named.
                msg = f"{settings[name].source} says another {name} than {app} has: leave one of them out"
                raise ValueError(msg)
            return flow
        from redisflow.flow import RedisFlow  # noqa: PLC0415  # listing runs needs half of what it imports

        return RedisFlow(
            settings["url"].value,
            namespace=settings["namespace"].value or "default",
            partitions=None,
            call_timeout=CALL_TIMEOUT_S,
        )

    def asks_the_app(self, settings: Mapping[str, Setting]) -> bool:
        """Whether commands take the app's own flow: flags that say where to look leave it out."""
        is_elsewhere = self.app is None and (self.url is not None or self.namespace is not None)
        return settings["app"].value is not None and not is_elsewhere

    def _says_where(self, settings: dict[str, Setting]) -> bool:
        """Whether the place is said in full, so that the app need not be asked for it."""
        # A default says nothing: the app may have another place. And what is typed beside an app has to agree with it.
        return self.app is None and all(settings[name].source != "default" for name in ("url", "namespace"))

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncGenerator[Backend]:
        """For commands that read no payload: they need not import what workflows are made of."""
        settings = self.settings()
        if self.asks_the_app(settings) and not self._says_where(settings):
            async with self.flow() as flow:
                yield flow.backend
            return
        backend = _location(settings).make_backend()
        try:
            await backend.open()
            yield backend
        finally:
            await backend.close()

    def location(self) -> Location:
        """Where a backend would be opened: for commands about other namespaces than that of their settings."""
        settings = self.settings()
        return self.flow().location if self.asks_the_app(settings) else _location(settings)


def contradictions(settings: Mapping[str, Setting], flow: RedisFlow) -> Iterator[str]:
    """What somebody has said about the place, and the app says otherwise: `url`, `namespace`."""
    url, namespace = settings["url"], settings["namespace"]
    if url.source not in ("default", DEV) and not is_same_place(url.value or "", flow.location.url):
        yield "url"
    if namespace.source != "default" and namespace.value != flow.namespace:
        yield "namespace"


def with_own_place(settings: Mapping[str, Setting], flow: RedisFlow) -> dict[str, Setting]:
    """The settings as commands follow them: what nobody has said about the place is what the app has."""
    url, namespace, app = settings["url"], settings["namespace"], settings["app"].value or ""
    found = dict(settings)
    if url.source in ("default", DEV) and not is_same_place(url.value or "", flow.location.url):
        found["url"] = Setting(flow.location.url, app)
    if namespace.source == "default" and namespace.value != flow.namespace:
        found["namespace"] = Setting(flow.namespace, app)
    return found


def _location(settings: dict[str, Setting]) -> Location:
    return Location(
        url=settings["url"].value or "",
        namespace=settings["namespace"].value or "default",
        partitions=None,
        call_timeout_s=CALL_TIMEOUT_S,
    )


PLAIN = Given()
"""Nothing is said."""
