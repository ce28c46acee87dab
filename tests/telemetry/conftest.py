"""A flow in a namespace of its own, on one kind of server: what is told does not depend on the server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from redisflow import RedisFlow
from redisflow.contract import Claim, Hold, Mark


@pytest.fixture
async def flow(valkey_url: str, namespace: str) -> AsyncIterator[RedisFlow]:
    """Return a RedisFlow that no other test knows."""
    async with RedisFlow(valkey_url, namespace=namespace) as made:
        yield made


@pytest.fixture
def claim() -> Claim:
    """Return a run that a worker has just been given for the first time."""
    return Claim(Hold("0", "default", "1:a", "0:1-0"), "order", None, b"", 1_000, 1_020, None, Mark(0, 0), [], 0)
