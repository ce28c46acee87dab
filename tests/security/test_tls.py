"""TLS with real certificates of a test's own authority: what is verified works everywhere, everything else is refused.

The server that speaks TLS itself is Redis; for certificates that it would not serve there is a TLS server in front.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import redis

from redisflow import BackendError, BackendUnavailable, InvalidName, RedisFlow, Step
from redisflow.backend.connect import read_url
from redisflow.backend.redis_backend import RedisBackend
from redisflow.testing import Server, ServerOptions, start_server
from redisflow.testing.server_process import pick_port
from tests.security.authority import Authority, Issued, tls_front
from tests.stories.world import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

needs_redis = pytest.mark.usefixtures("redis_url")
SECRET = "c0rrect-h0rse"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"), "our-authority")


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    return authority.issue("server", "localhost", "127.0.0.1")


@pytest.fixture
def behind(valkey_url: str) -> tuple[str, int]:
    """The plain server behind a TLS front."""
    return read_url(valkey_url).hosts[0]


@contextmanager
def tls_redis(authority: Authority, issued: Issued, **config: str) -> Iterator[tuple[Server, int]]:
    """A Redis that speaks TLS itself, and its port for that."""
    port = pick_port()
    files = {
        "tls-port": str(port),
        "tls-cert-file": str(issued.certificate),
        "tls-key-file": str(issued.key),
        "tls-ca-cert-file": str(authority.file),
        "tls-auth-clients": "no",
    }
    provider = shutil.which("redis-server") or "path"
    with start_server(ServerOptions(provider=provider, appendonly=False, config=files | config)) as server:
        yield server, port


async def use(url: str, namespace: str, *, partitions: int = 1) -> None:
    """A run from its start to its end, with a worker, its heartbeat and whoever waits for the result."""
    async with RedisFlow(url, namespace=namespace, partitions=partitions) as flow:

        @flow.define_workflow("greet")
        async def greet(name: str, step: Step) -> str:
            return await step.run("say", "hello {}".format, name)

        backend = await flow.open()
        for partition in range(partitions):
            heartbeat = backend.open_heartbeat()
            await asyncio.to_thread(heartbeat.renew, partition, "thread", 1_000, b"", [])
            heartbeat.close()
        worker = asyncio.create_task(flow.new_worker().run())
        handles = [await greet.run(name) for name in ("a", "b", "c", "d")]
        assert await asyncio.gather(*(handle.result(timeout="60s") for handle in handles)) == [
            f"hello {name}" for name in "abcd"
        ]
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


@needs_redis
async def test_a_verified_server_is_used_by_clients_workers_heartbeats_and_subscriptions(
    authority: Authority, issued: Issued, namespace: str
):
    with tls_redis(authority, issued) as (server, port), redis.Redis(port=server.port) as admin:
        admin.execute_command("ACL", "SETUSER", "default", "resetpass", f">{SECRET}")
        await use(f"rediss://:{SECRET}@localhost:{port}/0?ssl_ca_certs={authority.file}", namespace)


@needs_redis
async def test_a_cluster_over_tls(authority: Authority, issued: Issued, namespace: str):
    # Else it is that of the server and 10,000 more, which somebody may have.
    bus = {"cluster-port": str(pick_port())}
    config = {"cluster-enabled": "yes", "tls-cluster": "yes", "tls-replication": "yes", **bus}
    with tls_redis(authority, issued, **config) as (server, port), redis.Redis(port=server.port) as node:
        node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await eventually(lambda: asyncio.to_thread(lambda: node.cluster("INFO")["cluster_state"] == "ok"))
        url = f"rediss+cluster://127.0.0.1:{port}?ssl_ca_certs={authority.file}"
        await use(url, namespace, partitions=4)


@needs_redis
async def test_sentinels_over_tls(authority: Authority, issued: Issued, namespace: str, tmp_path: Path):
    with ExitStack() as stack:
        _, port = stack.enter_context(tls_redis(authority, issued, **{"tls-replication": "yes"}))
        watching, plain = pick_port(), pick_port()
        config = tmp_path / "sentinel.conf"
        config.write_text(
            f"port {plain}\ntls-port {watching}\nbind 127.0.0.1\ntls-cert-file {issued.certificate}\n"
            f"tls-key-file {issued.key}\ntls-ca-cert-file {authority.file}\ntls-auth-clients no\n"
            f"tls-replication yes\nsentinel monitor shop 127.0.0.1 {port} 1\n"
        )
        command = [shutil.which("redis-server") or "", str(config), "--sentinel"]
        process = stack.enter_context(
            subprocess.Popen(  # noqa: ASYNC220  # it takes no time worth waiting for elsewhere
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=tmp_path
            )
        )
        stack.callback(process.kill)
        await eventually(lambda: asyncio.to_thread(_answers, plain))
        await use(f"rediss+sentinel://localhost:{watching}/shop/0?ssl_ca_certs={authority.file}", namespace)
        stranger = RedisBackend(f"rediss+sentinel://localhost:{watching}/shop/0", namespace=namespace, call_timeout_s=2)
        with pytest.raises(BackendError, match=r"no Sentinel names .* certificate was not accepted"):
            await stranger.open()


def _answers(port: int) -> bool:
    try:
        with redis.Redis(port=port) as client:
            return bool(client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "shop"))
    except redis.RedisError:
        return False


async def test_the_name_of_the_server_is_sent_along(
    authority: Authority, issued: Issued, behind: tuple[str, int], namespace: str
):
    """Servers that share an address choose their certificate by it (SNI)."""
    with tls_front(behind, issued) as front:
        await use(f"rediss://localhost:{front.port}/0?ssl_ca_certs={authority.file}", namespace)
        assert set(front.names) == {"localhost"}
        assert len(front.names) >= 4  # small calls, large ones, a subscription, the heartbeat


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("unknown authority", "unable to get local issuer certificate"),
        ("another name", "not valid for '127.0.0.1'"),
        ("expired", "certificate has expired"),
        ("of its own", "self-signed certificate"),
    ],
)
async def test_a_server_that_does_not_prove_who_it_is_is_refused_at_once(
    authority: Authority, behind: tuple[str, int], namespace: str, tmp_path: Path, host: str, words: str, caplog
):
    caplog.set_level(logging.DEBUG)
    other = Authority(tmp_path, "another-authority")
    certificate = {
        "unknown authority": lambda: other.issue("stranger", "127.0.0.1"),
        "another name": lambda: authority.issue("misnamed", "shop.example"),
        "expired": lambda: authority.issue("expired", "127.0.0.1", is_expired=True),
        "of its own": lambda: other.issue("itself", "127.0.0.1", is_self_signed=True),
    }[host]()
    with tls_front(behind, certificate) as front:
        url = f"rediss://shop:{SECRET}@127.0.0.1:{front.port}/0?ssl_ca_certs={authority.file}"
        backend = RedisBackend(url, namespace=namespace, call_timeout_s=60)
        with pytest.raises(BackendError, match="certificate was not accepted") as refused:
            await backend.open()
        told = f"{refused.value}{refused.value.__cause__!r}{caplog.text}"
        assert words in told
        assert SECRET not in told


async def test_a_heartbeats_thread_verifies_too(
    authority: Authority, issued: Issued, behind: tuple[str, int], namespace: str, tmp_path: Path
):
    stranger = Authority(tmp_path, "another-authority").issue("stranger", "localhost")
    url = "rediss://localhost:{}/0?ssl_ca_certs=" + quote(str(authority.file))
    with tls_front(behind, issued) as front, tls_front(behind, stranger) as false:
        backend = RedisBackend(url.format(front.port), namespace=namespace)
        await backend.open()
        heartbeat = backend.open_heartbeat()
        await asyncio.to_thread(heartbeat.renew, 0, "w", 1_000, b"", [])
        # As if the server had moved: the thread connects where the event loop found it last.
        calls: Any = heartbeat
        calls._calls._endpoint.last = ("localhost", false.port)
        with pytest.raises(BackendUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await asyncio.to_thread(heartbeat.renew, 0, "w", 1_000, b"", [])
        heartbeat.close()
        await backend.close()


async def test_a_server_may_ask_for_a_certificate_of_its_clients(
    authority: Authority, issued: Issued, behind: tuple[str, int], namespace: str, tmp_path: Path
):
    ours = authority.issue("worker-7")
    strange = Authority(tmp_path, "another-authority").issue("worker-8")
    with tls_front(behind, issued, clients=authority) as front:
        url = f"rediss://localhost:{front.port}/0?ssl_ca_certs={authority.file}"
        await use(f"{url}&ssl_certfile={ours.certificate}&ssl_keyfile={ours.key}", namespace)
        for refused in (url, f"{url}&ssl_certfile={strange.certificate}&ssl_keyfile={strange.key}"):
            backend = RedisBackend(refused, namespace=namespace, call_timeout_s=2)
            with pytest.raises(BackendUnavailable, match="no answer from"):
                await backend.open()


async def test_a_server_without_tls_gets_nothing_that_is_secret():
    """Whoever answers in plain text has not proven anything: not even the user's name is sent."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(65536))
                connection.sendall(b"-ERR unknown command\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"rediss://shop:{SECRET}@127.0.0.1:{listener.getsockname()[1]}/0"
        backend = RedisBackend(url, namespace="shop", call_timeout_s=2)
        with pytest.raises(BackendUnavailable) as refused:
            await backend.open()
        thread.join(60)
    assert heard
    assert SECRET.encode() not in heard[0]
    assert b"shop" not in heard[0]
    assert SECRET not in str(refused.value)


async def test_of_a_port_without_tls_it_is_asked_whether_it_speaks_tls(
    behind: tuple[str, int], namespace: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("redisflow.backend.wire.CONNECT_S", 0.2)
    backend = RedisBackend(f"rediss://127.0.0.1:{behind[1]}/0", namespace=namespace, call_timeout_s=2)
    with pytest.raises(BackendUnavailable, match=r"does that port speak TLS\?.*rediss:// where it speaks TLS"):
        await backend.open()


@pytest.mark.parametrize("value", ["none", "optional", "NONE", ""])
@pytest.mark.parametrize("scheme", ["rediss", "rediss+cluster", "rediss+sentinel"])
def test_verification_cannot_be_switched_off(scheme: str, value: str):
    with pytest.raises(InvalidName, match="unverified TLS protects from nobody") as refused:
        RedisFlow(f"{scheme}://:{SECRET}@localhost/service?ssl_cert_reqs={value}")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("option", ["ssl_check_hostname=false", "ssl_verify=0", "ssl_min_version=TLSv1"])
def test_no_other_option_weakens_it(option: str):
    with pytest.raises(InvalidName, match="unknown option"):
        RedisFlow(f"rediss://localhost/0?{option}")


def test_files_for_tls_without_tls_are_refused(authority: Authority):
    with pytest.raises(InvalidName, match="write rediss://"):
        RedisFlow(f"redis://localhost/0?ssl_ca_certs={authority.file}")
