"""The pytest plugin: fixtures for tests of workflows, on a server of the test run, in a namespace of each test.

    redisflow_url   the server: $REDISFLOW_TEST_REDIS_URL, else an embedded one, started when a test first asks for it
    redisflow_app   the flow whose workflows are tested: the ini option of that name ("shop.workflows:flow"), or a
                    fixture of this name in your conftest.py
    rf              that flow, on that server, in a namespace of its own, which is deleted after the test
    worker          a worker of it, in this process
    clock           its virtual clock, which skips by itself while a `result()` waits

Async tests and fixtures are run by anyio's plugin, on asyncio: mark them `@pytest.mark.anyio`, or set `anyio_mode`.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import AsyncGenerator, Generator

import pytest
from anyio import pytest_plugin as anyio_plugin

from redisflow.flow import RedisFlow
from redisflow.testing.clock import VirtualClock, virtual_clock
from redisflow.testing.namespaces import fresh_namespace
from redisflow.testing.server import start_server
from redisflow.worker.worker import Worker

URL = "REDISFLOW_TEST_REDIS_URL"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Called by pytest."""
    parser.addini("redisflow_app", 'The RedisFlow that the fixture `rf` gives, as "module:variable".', default="")


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Called by pytest: what uses these fixtures runs on asyncio alone, unless the project has its own say on it."""
    if "rf" not in metafunc.fixturenames:
        return
    fixtures = metafunc.definition.session._fixturemanager  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001  # there is no other way
    said = fixtures.getfixturedefs("anyio_backend", metafunc.definition)
    if said and said[-1].func.__module__ == anyio_plugin.__name__:
        metafunc.definition.add_marker(pytest.mark.parametrize("anyio_backend", ["asyncio"], scope="session"))


@pytest.fixture(scope="session")
def redisflow_url() -> Generator[str]:
    """The URL of the server for tests: one for each process of pytest-xdist, unless the environment names one."""
    if url := os.environ.get(URL):
        yield url
        return
    with start_server() as server:
        yield server.url


@pytest.fixture
def redisflow_app(pytestconfig: pytest.Config) -> RedisFlow:
    """The flow whose workflows are tested."""
    named = str(pytestconfig.getini("redisflow_app"))
    if not named:
        # An empty one: the test defines its workflows with it.
        return RedisFlow("memory://")
    module, _, variable = named.partition(":")
    found: object = getattr(importlib.import_module(module), variable or "flow", None)
    if not isinstance(found, RedisFlow):
        msg = f"redisflow_app = {named!r} names no RedisFlow: write module:variable"
        raise pytest.UsageError(msg)
    return found


@pytest.fixture
def _redisflow_loop(anyio_backend_name: str) -> None:
    """Said before anything is run there."""
    if anyio_backend_name != "asyncio":
        pytest.fail(f"redisflow runs on asyncio, and the fixture anyio_backend says {anyio_backend_name!r} here")


@pytest.fixture
async def rf(
    _redisflow_loop: None, redisflow_app: RedisFlow, redisflow_url: str, request: pytest.FixtureRequest
) -> AsyncGenerator[RedisFlow]:
    """The flow of the application, on the server for tests, in a namespace of this test."""
    name: str = re.sub(r"[^A-Za-z0-9._-]+", "-", request.node.name).strip("-")[:80]
    async with fresh_namespace(redisflow_app, redisflow_url, name=name):
        yield redisflow_app


@pytest.fixture
async def clock(rf: RedisFlow) -> AsyncGenerator[VirtualClock]:
    """The time of this test's runs."""
    async with virtual_clock(rf) as made:
        yield made


@pytest.fixture
def _redisflow_time(request: pytest.FixtureRequest) -> None:
    """A worker goes by the clock that is there when it starts, whatever the order of a test's arguments."""
    if "clock" in request.fixturenames:
        request.getfixturevalue("clock")


@pytest.fixture
async def worker(rf: RedisFlow, _redisflow_time: None) -> AsyncGenerator[Worker]:
    """A worker for the flow's workflows; what it still holds at the end is dropped at once."""
    async with rf.new_worker(grace=0) as made:
        yield made
