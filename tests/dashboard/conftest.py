"""A shop on a real server with a real worker, and its dashboard's access control and API as one application."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import httpx2
import pytest

from redisflow import RedisFlow, RetryPolicy, Step, StepOptions
from redisflow.dashboard.services import DashboardOptions, Services
from tests.dashboard.apps import application

Client: TypeAlias = httpx2.AsyncClient
MakeClient: TypeAlias = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
async def shop(valkey_url: str, namespace: str) -> AsyncIterator[RedisFlow]:
    flow = RedisFlow(valkey_url, namespace=namespace)

    async def charge(total: int) -> int:
        if total > 100:
            msg = "declined"
            raise ValueError(msg)
        return total

    @flow.define_workflow("order")
    async def order(total: int, step: Step) -> dict[str, int]:
        return {"charged": await step.run(StepOptions("charge", retry=RetryPolicy(maximum_attempts=1)), charge, total)}

    @flow.define_workflow("approval")
    async def approval(step: Step) -> Any:
        return await step.wait_for_signal("approved")

    @flow.define_workflow("echo")
    async def echo(value: Any, step: Step) -> Any:
        step.emit(value, kind="said")
        return value

    async with flow:
        yield flow


@pytest.fixture
async def working(shop: RedisFlow) -> AsyncIterator[RedisFlow]:
    worker = asyncio.create_task(shop.new_worker(grace=0).run())
    yield shop
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


@pytest.fixture
def make_client(shop: RedisFlow) -> MakeClient:
    """Return what opens a client of a dashboard with these options."""

    @asynccontextmanager
    async def open_client(**options: Any) -> AsyncIterator[Client]:
        services = Services.of(shop, DashboardOptions(**options))
        transport = httpx2.ASGITransport(app=application(services))
        try:
            async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
                yield client
        finally:
            await services.close()

    return open_client


@pytest.fixture
async def client(make_client: MakeClient) -> AsyncIterator[Client]:
    async with make_client() as client:
        yield client


@pytest.fixture
def unused_port() -> int:
    """Return a port of loopback where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
