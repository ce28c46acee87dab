from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from redisflow.backend.redis_backend import RedisBackend
from tests.conformance.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def world(server_url: str, namespace: str) -> AsyncIterator[World]:
    """Return a namespace of its own on each kind of server, with a clock that the test may set."""
    backend = RedisBackend(server_url, namespace=namespace, clock="test")
    await backend.open()
    world = World(backend, server_url)
    yield world
    keys = world.keys()
    for first in range(0, len(keys), 500):
        world.raw("DEL", *keys[first : first + 500])
    world.close()
    await backend.close()
