from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from redisflow.backend.redis_backend import RedisBackend
from tests.conformance.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def world(server_url: str, namespace: str) -> AsyncIterator[World]:
    """Return a namespace of its own on each kind of server, with a clock that the test may set."""
    async with make_world(server_url, namespace, partitions=1) as world:
        yield world


@pytest.fixture
async def wide_world(server_url: str, namespace: str) -> AsyncIterator[World]:
    """Return the same with four partitions."""
    async with make_world(server_url, namespace, partitions=4) as world:
        yield world


@pytest.fixture(params=[1, 4])
async def any_world(request: pytest.FixtureRequest, server_url: str, namespace: str) -> AsyncIterator[World]:
    """Return one with one partition, and one with four."""
    async with make_world(server_url, namespace, partitions=request.param) as world:
        yield world


@contextlib.asynccontextmanager
async def make_world(server_url: str, namespace: str, *, partitions: int) -> AsyncIterator[World]:
    backend = RedisBackend(server_url, namespace=namespace, partitions=partitions, clock="test")
    await backend.open()
    world = World(backend, server_url)
    yield world
    keys = world.keys()
    for first in range(0, len(keys), 500):
        world.raw("DEL", *keys[first : first + 500])
    world.close()
    await backend.close()
