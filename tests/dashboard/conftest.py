"""A shop on a real server with a real worker, and its dashboard's access control and API as one application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import httpx2
import pytest
from starlette.applications import Starlette

from redisflow import RedisFlow, RetryPolicy, Step, StepOptions
from redisflow.dashboard.access.middleware import access_middleware
from redisflow.dashboard.api import make_routes
from redisflow.dashboard.services import DashboardOptions, Services

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
        await step.emit(value, kind="said")
        return value

    async with flow:
        yield flow


@pytest.fixture
async def working(shop: RedisFlow) -> AsyncIterator[RedisFlow]:
    worker = asyncio.create_task(shop.new_worker(grace=0).run())
    yield shop
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


def application(services: Services) -> Starlette:
    options = services.options
    return Starlette(
        routes=make_routes(services),
        middleware=access_middleware(
            auth=options.auth,
            hosts=options.allowed_hosts,
            read_only=options.read_only,
            trust_prefix=options.trust_prefix,
        ),
    )


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
