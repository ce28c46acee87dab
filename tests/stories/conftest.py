"""What each story starts with: a flow in a fresh namespace, on a server of each kind in turn, and no side effects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from redisflow import RedisFlow
from redisflow.backend.redis_backend import LAYOUT
from redisflow.backend.scripts import load_scripts
from redisflow.names import partition_prefix
from redisflow.testing import VirtualClock, refuse_side_effects, virtual_clock
from tests.keyspace import raw_calls
from tests.leaks import leaks, purge_all

PARTITIONS_ON_A_CLUSTER = 16


@pytest.fixture(autouse=True)
def _no_side_effects() -> Iterator[None]:
    """Workflow code that does what only a step may do fails its story."""
    with refuse_side_effects():
        yield


@pytest.fixture
def one_partition() -> None:
    """Ask for a namespace of one partition on a cluster, too: what a story is about does not reach farther."""


@pytest.fixture
def namespace(namespace: str, request: pytest.FixtureRequest) -> str:
    """Return a namespace that no other test has; on a cluster it has 16 partitions, spread over its nodes."""
    if "server_kind" in request.fixturenames and request.getfixturevalue("server_kind") == "cluster":
        partitions = 1 if "one_partition" in request.fixturenames else PARTITIONS_ON_A_CLUSTER
        # Whoever opens a namespace first says how many partitions it has.
        raw, close = raw_calls(request.getfixturevalue("cluster_url"))
        opening = load_scripts().open_namespace
        raw("EVAL", opening.text, 1, partition_prefix(namespace, 0), partitions, LAYOUT)
        close()
    return namespace


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
