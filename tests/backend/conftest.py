from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from redisflow.backend.caller import Caller
from redisflow.backend.connect import read_url
from redisflow.backend.link import Link
from redisflow.backend.outage import OutageLog
from redisflow.backend.single import ServerEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from redisflow.backend.wire import Endpoint


@pytest.fixture
def server(valkey_url: str) -> tuple[str, int]:
    """Return the address of a real server."""
    return read_url(valkey_url).hosts[0]


@pytest.fixture
def raw(valkey_url: str) -> Iterator[Callable[..., Any]]:
    """Return what sends a command past all faults."""
    target = read_url(valkey_url)
    caller = Caller(target, {})
    yield lambda *command: caller.call(target.hosts[0], command)
    caller.close()


@pytest.fixture
def key(namespace: str) -> str:
    """Return a key that no other test has."""
    return f"{{{namespace}}}"


@pytest.fixture
def open_link() -> Callable[..., Any]:
    """Return what opens a link for as long as a block lasts."""

    @asynccontextmanager
    async def opened(url: str, *, endpoint: Endpoint | None = None, **options: Any) -> AsyncIterator[Link]:
        target = read_url(url)
        link = Link(endpoint or ServerEndpoint(target), OutageLog(target.masked), **options)
        try:
            yield link
        finally:
            await link.close()

    return opened
