"""The ways to reach a server, each with a real one: unix socket, TLS, Sentinel."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
import redis

from redisflow.backend.redis_backend import RedisBackend
from redisflow.contract import Beat, Created, NewRun
from redisflow.errors import BackendError
from redisflow.run_id import new_run_id
from redisflow.testing import ServerOptions, start_server
from redisflow.testing.server_process import pick_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# It speaks TLS and serves as a Sentinel; the packaged Valkey does neither everywhere.
needs_redis = pytest.mark.usefixtures("redis_url")


async def check(backend: RedisBackend) -> None:
    """Every kind of connection that a backend makes works."""
    await backend.open()
    run = NewRun(run_id=new_run_id(0), workflow="w", version=None, queue="default", input=b"x" * 70_000)
    assert await backend.create_run(run) == Created(run.run_id, existing=False)
    assert await backend.wait_bell(0, ["default"], 5) is True
    assert len((await backend.claim_runs(0, "w", "op", 1, ["default"])).claims) == 1
    async with backend.watch_end(run.run_id) as ticks:
        assert await backend.get_end(run.run_id) is not None
        await backend.cancel_run(run.run_id)
        await asyncio.wait_for(anext(ticks), 5)
    heartbeat = backend.open_heartbeat()
    assert await asyncio.to_thread(heartbeat.renew, 0, "w", 1_000, b"", []) == Beat([], {})
    heartbeat.close()
    await backend.close()


async def test_a_unix_socket(tmp_path: Path, namespace: str):
    path = tmp_path / "redis.sock"
    with start_server(ServerOptions(appendonly=False, config={"unixsocket": str(path)})):
        await check(RedisBackend(f"unix://{path}?db=3", namespace=namespace))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory, missing) -> Path:
    """Return a folder with an authority, and with a certificate of it for localhost."""
    openssl = shutil.which("openssl") or missing("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificates")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", "2",
        "-subj", "/CN=test authority", "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "own.key", "-out", "own.csr", "-subj", "/CN=localhost")
    (folder / "own.ext").write_text("subjectAltName=DNS:localhost\n")
    run("x509", "-req", "-in", "own.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out", "own.crt",
        "-days", "2", "-extfile", "own.ext")  # fmt: skip
    return folder


@contextmanager
def tls_server(certificates: Path) -> Iterator[int]:
    port = pick_port()
    config = {
        "tls-port": str(port),
        "tls-cert-file": str(certificates / "own.crt"),
        "tls-key-file": str(certificates / "own.key"),
        "tls-ca-cert-file": str(certificates / "ca.crt"),
    }
    with start_server(ServerOptions(provider=shutil.which("redis-server") or "path", appendonly=False, config=config)):
        yield port


@needs_redis
async def test_tls_with_a_certificate_of_our_own(certificates: Path, namespace: str):
    files = (
        f"ssl_ca_certs={certificates / 'ca.crt'}&ssl_certfile={certificates / 'own.crt'}"
        f"&ssl_keyfile={certificates / 'own.key'}"
    )
    with tls_server(certificates) as port:
        await check(RedisBackend(f"rediss://localhost:{port}/0?{files}", namespace=namespace))


@needs_redis
async def test_a_server_that_cannot_prove_who_it_is_is_refused_at_once(certificates: Path, namespace: str):
    with tls_server(certificates) as port:
        stranger = RedisBackend(f"rediss://localhost:{port}/0", namespace=namespace)
        with pytest.raises(BackendError, match="certificate"):
            await asyncio.wait_for(stranger.open(), 5)
        other_name = RedisBackend(
            f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificates / 'ca.crt'}", namespace=namespace
        )
        with pytest.raises(BackendError, match="certificate"):
            await asyncio.wait_for(other_name.open(), 5)


@contextmanager
def sentinel(tmp_path: Path, primary_port: int) -> Iterator[int]:
    port = pick_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\nsentinel monitor shop 127.0.0.1 {primary_port} 1\n"
        "sentinel down-after-milliseconds shop 500\nsentinel failover-timeout shop 3000\n"
    )
    binary = shutil.which("redis-server")
    assert binary is not None
    with subprocess.Popen(
        [binary, str(config), "--sentinel"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=tmp_path
    ) as process:
        try:
            yield port
        finally:
            process.kill()


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                if await asyncio.to_thread(condition):
                    return
            except redis.RedisError:
                pass
            await asyncio.sleep(0.02)


@needs_redis
async def test_sentinels_name_the_primary_and_its_successor(tmp_path: Path, namespace: str):
    options = ServerOptions(provider=shutil.which("redis-server") or "path", appendonly=False)
    with ExitStack() as stack:
        primary, replica = (stack.enter_context(start_server(options)) for _ in range(2))
        port = stack.enter_context(sentinel(tmp_path, primary.port))
        client, watcher = (stack.enter_context(redis.Redis(port=number)) for number in (replica.port, port))
        client.replicaof("127.0.0.1", primary.port)
        await until(lambda: client.info("replication")["master_link_status"] == "up")
        await until(lambda: watcher.execute_command("SENTINEL", "REPLICAS", "shop"))
        url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{port}/shop/0"
        await check(RedisBackend(url, namespace=namespace))

        backend = RedisBackend(url, namespace=namespace, call_timeout_s=60)
        await backend.open()
        await until(lambda: client.info("replication").get("master_link_status") == "up")
        run = NewRun(run_id=new_run_id(0), workflow="w", version=None, queue="late", input=b"\x01")
        await asyncio.to_thread(primary.kill)
        assert await backend.create_run(run) == Created(run.run_id, existing=False)
        assert client.exists(f"rf:{{{namespace}:0}}:run:{run.run_id}")
        await backend.close()
