"""A world of workflows on a real server, a worker, and a browser of its pages."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from redisflow import RedisFlow
from tests.dashboard.browsing import Browser, browsing
from tests.dashboard.world import define_world


@pytest.fixture
async def flow(valkey_url: str, namespace: str) -> AsyncIterator[RedisFlow]:
    async with RedisFlow(valkey_url, namespace=namespace) as flow:
        define_world(flow)
        yield flow


@pytest.fixture
async def working(flow: RedisFlow) -> AsyncIterator[RedisFlow]:
    async with flow.new_worker(grace=0):
        yield flow


@pytest.fixture
async def browser(flow: RedisFlow) -> AsyncIterator[Browser]:
    async with browsing(flow) as browser:
        yield browser
