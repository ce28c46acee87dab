"""Clusters of a test's own, for what happens to them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from redisflow.backend.connect import read_url
from redisflow.backend.redis_backend import RedisBackend
from redisflow.testing import ClusterOptions, ServerCluster, start_cluster
from tests.cluster.raw import ClusterRaw

WHOLE = os.environ.get("REDISFLOW_TEST_SERVERS") == "cluster"
whole = pytest.mark.skipif(not WHOLE, reason="only under make cluster")
Open = Callable[[ServerCluster], AbstractAsyncContextManager[RedisBackend]]


@pytest.fixture
def cluster(cluster_provider: str) -> Iterator[ServerCluster]:
    """Return three primaries and three replicas."""
    with start_cluster(ClusterOptions(provider=cluster_provider)) as made:
        yield made


@pytest.fixture
def calm_cluster(cluster_provider: str) -> Iterator[ServerCluster]:
    """Return the same, where nobody is replaced who is only slow: while slots move, that would lose sight of keys."""
    with start_cluster(ClusterOptions(provider=cluster_provider, node_timeout_ms=30_000)) as made:
        yield made


@pytest.fixture
def primaries_only(cluster_provider: str) -> Iterator[ServerCluster]:
    """Return three primaries whom nobody replaces; the others go on when one of them is away."""
    config = {"cluster-require-full-coverage": "no"}
    options = ClusterOptions(provider=cluster_provider, replicas=0, node_timeout_ms=60_000, config=config)
    with start_cluster(options) as made:
        yield made


@pytest.fixture
def open_backend(namespace: str) -> Open:
    """Return what opens a backend of 16 partitions for as long as a block lasts."""

    @asynccontextmanager
    async def opened(cluster: ServerCluster) -> AsyncIterator[RedisBackend]:
        backend = RedisBackend(cluster.url, namespace=namespace, partitions=16, call_timeout_s=60)
        await asyncio.wait_for(backend.open(), 60)
        try:
            yield backend
        finally:
            await backend.close()

    return opened


def raw_of(cluster: ServerCluster) -> ClusterRaw:
    """Bare commands to it; to be closed."""
    return ClusterRaw(read_url(cluster.url))
