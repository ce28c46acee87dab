"""The API behind a real server and real sockets: streams end with their clients, and with the server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import uvicorn

from redisflow import RedisFlow
from redisflow.dashboard.services import DashboardOptions, Services
from tests.dashboard.apps import application

V1 = "/api/v1"
STREAM = {"Accept": "text/event-stream"}


class Server(uvicorn.Server):
    """It says when it is up, and leaves the signals of the test's process alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    @contextlib.contextmanager
    def capture_signals(self):
        yield


@contextlib.asynccontextmanager
async def serving(services: Services) -> AsyncIterator[tuple[Server, str]]:
    config = uvicorn.Config(application(services), port=0, log_config=None, timeout_graceful_shutdown=1, lifespan="off")
    server = Server(config)
    task = asyncio.create_task(server.serve())
    await server.is_up.wait()
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield server, f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@pytest.fixture
def services(shop: RedisFlow) -> Services:
    return Services.of(shop, DashboardOptions(max_streams=1, body_limit=10_000))


async def test_a_stream_ends_with_its_client_and_makes_room(services: Services, working: RedisFlow):
    run = await working.run_workflow("approval")
    async with serving(services) as (_, url), httpx2.AsyncClient(base_url=url) as client:
        for _ in range(3):
            async with client.stream("GET", f"{V1}/runs/{run.id}/events", headers=STREAM) as answer:
                assert answer.status_code == 200
                lines = answer.aiter_lines()  # to let go of it would be to hang up
                assert await anext(lines) == ": events"
                busy = await client.get(f"{V1}/runs/{run.id}/events", headers=STREAM)
                assert busy.status_code == 503
            async with asyncio.timeout(10):
                while services.streams.count:
                    await client.get(f"{V1}/queues")


async def test_a_stream_brings_each_event_as_it_comes(services: Services, working: RedisFlow):
    run = await working.run_workflow("approval")
    async with (
        serving(services) as (_, url),
        httpx2.AsyncClient(base_url=url) as client,
        client.stream("GET", f"{V1}/runs/{run.id}/events", headers=STREAM) as answer,
    ):
        lines = answer.aiter_lines()
        for action in ("pause", "resume"):
            assert (await client.post(f"{V1}/runs/{run.id}:{action}")).status_code == 200
            async for line in lines:
                if f'"action": "{action}"' in line:
                    break
        await working.signal(run.id, "approved")
        assert "event: end" in [line async for line in lines]


async def test_a_server_that_stops_does_not_wait_for_streams(services: Services, working: RedisFlow):
    run = await working.run_workflow("approval")
    async with (
        serving(services) as (server, url),
        httpx2.AsyncClient(base_url=url) as client,
        client.stream("GET", f"{V1}/runs/{run.id}/events", headers=STREAM) as answer,
    ):
        lines = answer.aiter_lines()
        await anext(lines)
        server.should_exit = True
        async with asyncio.timeout(10):
            with contextlib.suppress(httpx2.HTTPError):
                async for _ in lines:
                    pass
    assert services.streams.count == 0


async def test_a_body_without_a_length_is_cut_off_at_the_limit(services: Services):
    async def too_long() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b" " * 1000

    async with serving(services) as (_, url), httpx2.AsyncClient(base_url=url) as client:
        try:
            answer = await client.post(f"{V1}/runs", content=too_long(), headers={"Content-Type": "application/json"})
        except httpx2.HTTPError:
            return  # it was cut off while it was still sending
        assert answer.status_code == 413
