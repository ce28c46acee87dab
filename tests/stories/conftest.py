"""What each story starts with: a flow in a fresh namespace, on a server of each kind in turn, and no side effects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from redisflow import RedisFlow
from redisflow.testing import VirtualClock, refuse_side_effects, virtual_clock
from tests.keyspace import raw_calls
from tests.leaks import leaks, purge_all


@pytest.fixture(autouse=True)
def _no_side_effects() -> Iterator[None]:
    """Workflow code that does what only a step may do fails its story."""
    with refuse_side_effects():
        yield


@pytest.fixture
async def flow(server_url: str, namespace: str) -> AsyncIterator[RedisFlow]:
    """Return a RedisFlow that no other test knows, on a server of each kind in turn."""
    async with RedisFlow(server_url, namespace=namespace) as made:
        yield made


@pytest.fixture
async def valkey_flow(valkey_url: str, namespace: str) -> AsyncIterator[RedisFlow]:
    """Return the same on one kind of server, for stories that are slow or have processes of their own."""
    async with RedisFlow(valkey_url, namespace=namespace) as made:
        yield made


@pytest.fixture
async def no_key_left(flow: RedisFlow, server_url: str) -> AsyncIterator[None]:
    """After the story, when all of its runs are purged, nothing is left of them."""
    yield
    raw, close = raw_calls(server_url)
    try:
        await purge_all(flow, raw)
        assert not leaks(raw, flow.namespace)
    finally:
        close()


@pytest.fixture
async def clock(flow: RedisFlow, server_url: str) -> AsyncIterator[VirtualClock]:
    """Return the clock of the flow, which skips while a `result()` waits. What ended by it is deleted by it."""
    async with virtual_clock(flow) as made:
        yield made
        raw, close = raw_calls(server_url)
        await purge_all(flow, raw)
        close()
