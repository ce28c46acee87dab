"""`redisflow dashboard`: where it listens, who may come in, how it ends."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redisflow import RedisFlow, define_workflow_spec
from tests.cli.conftest import Cli

WITHIN_S = 60.0


class Served:
    def __init__(self, *words: str, **more: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "redisflow", "dashboard", "--port", "0", *words],
            env={**os.environ, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        self.said = self.process.stderr.readline()
        found = re.match(r"http://\S+:(\d+)", self.said)
        assert found, self.said + self.process.stderr.read()
        self.port = int(found[1])

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=WITHIN_S) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=WITHIN_S)
        assert out == ""
        return self.process.returncode


@pytest.fixture
def serve(shop: RedisFlow, valkey_url: str, namespace: str) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(*words: str, **more: str) -> Served:
        made = Served("--url", valkey_url, "-n", namespace, *words, **more)
        started.append(made)
        return made

    yield start
    for each in started:
        with contextlib.suppress(ProcessLookupError):
            each.process.kill()
        each.process.communicate(timeout=WITHIN_S)


async def test_it_shows_the_runs_of_its_namespace_to_this_machine(shop: RedisFlow, serve: Callable[..., Served]):
    handle = await shop.run_workflow("order", 1)
    served = serve()
    assert served.said == f"http://127.0.0.1:{served.port}/ (Ctrl-C ends it)\n"
    status, page = served.get("/runs")
    assert (status, handle.id in page) == (200, True)
    assert served.get("/runs", Host="evil.example")[0] == 400
    assert served.end(signal.SIGINT) == 130


async def test_it_ends_with_0_when_it_is_stopped_also_under_a_stream_that_is_open(serve: Callable[..., Served]):
    served = serve()
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(f"GET /live/runs HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        assert served.end() == 0


async def test_a_further_namespace_is_below_its_name_and_has_to_be_there(
    shop: Any, valkey_url: str, serve: Callable[..., Served], cli: Cli
):
    async with RedisFlow(valkey_url, namespace=f"{shop.namespace}:b") as other:
        handle = await other.run_workflow(define_workflow_spec("elsewhere"))
        served = serve("--also", other.namespace)
        status, page = served.get(f"/ns/{other.namespace}/runs")
        assert (status, handle.id in page) == (200, True)
        assert handle.id not in served.get("/runs")[1]
    refused = {f"{shop.namespace}:none": "there is no namespace", shop.namespace: "shows a namespace once"}
    for name, words in refused.items():
        said = await cli("dashboard", "--also", name, "--port", "0")
        assert said.code != 0
        assert words in said.err


async def test_whoever_has_no_password_stays_outside(serve: Callable[..., Served]):
    served = serve("--auth", "env:WHO", "--host", "127.0.0.1", WHO="bearer:a-token-of-many-letters:viewer")
    assert served.get("/runs")[0] == 401
    assert served.get("/runs", Authorization="Bearer a-token-of-many-letters")[0] == 200


async def test_it_is_called_by_the_names_that_are_allowed_and_under_its_prefix(serve: Callable[..., Served]):
    served = serve("--allow-host", "runs.example.com", "--root-path", "/redisflow")
    assert served.said.startswith(f"http://127.0.0.1:{served.port}/redisflow/ ")
    # As a proxy asks that takes the prefix off, as one that leaves it, and at the address that is told.
    for path in ("/runs", "/redisflow/runs", "/redisflow/", "/redisflow", "/"):
        status, page = served.get(path, Host="runs.example.com" if path == "/runs" else f"127.0.0.1:{served.port}")
        assert (path, status) == (path, 200)
        assert 'href="/redisflow/runs"' in page
        assert 'hx-sse:connect="/redisflow/live/runs"' in page
    for prefix in ("", "/redisflow"):
        assert served.get(f"{prefix}/healthz")[0] == 200
        assert served.get(f"{prefix}/api/v1/queues")[0] == 200
        assert served.get(f"{prefix}/nowhere")[0] == 404


@pytest.mark.parametrize("written", ["/", "/redisflow/"])
async def test_a_slash_at_the_end_of_the_prefix_changes_nothing(serve: Callable[..., Served], written: str):
    served = serve("--root-path", written)
    status, page = served.get("/runs")
    assert status == 200
    assert f'href="{written}runs"' in page


async def test_it_listens_elsewhere_only_where_somebody_says_who_may_come_in(serve: Callable[..., Served], cli: Cli):
    for host in ("0.0.0.0", "192.0.2.1", "somewhere.example", "::"):
        said = await cli("dashboard", "--host", host, "--port", "0")
        assert (said.code, "--auth" in said.err) == (2, True)
    served = serve("--host", "0.0.0.0", "--insecure")
    assert served.said.startswith(f"http://localhost:{served.port}/ ")
    assert served.get("/runs", Host=f"localhost:{served.port}")[0] == 200
    assert serve("--host", "0.0.0.0", "--auth", "bearer:a-token-of-many-letters").get("/runs")[0] == 401


async def test_a_prefix_that_is_a_path_of_the_dashboard_is_refused(cli: Cli, shop: RedisFlow):
    """A proxy that takes it off would leave what looks as if it had not."""
    await shop.open()
    own = ("/runs", "/bulk", "/workflows/a", "/api", "/api/v1", "/static", "/live", "/live/runs", "/healthz", "/readyz")
    for prefix in (*own, "/api/", "/ns", "/ns/other"):
        said = await cli("dashboard", "--root-path", prefix, "--also", "other", "--port", "0")
        assert (prefix, said.code, "nobody could tell" in said.err) == (prefix, 2, True)


@pytest.mark.parametrize("prefix", ["/ns", "/api/redisflow", "/static/redisflow"])
async def test_a_prefix_that_is_like_a_path_of_the_dashboard_and_none_is_taken(
    serve: Callable[..., Served], prefix: str
):
    served = serve("--root-path", prefix)
    for path in ("/runs", f"{prefix}/runs", "/api/v1/runs", f"{prefix}/api/v1/runs", f"{prefix}/healthz", "/readyz"):
        assert served.get(path)[0] == 200


async def test_what_cannot_be_meant_is_told_without_secrets(cli: Cli, shop: Any):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = await cli("dashboard", "--port", port)
        assert (said.code, f"cannot listen on 127.0.0.1 port {port}" in said.err) == (2, True)
    for prefix in ("redisflow", "//evil.example", "/a b", "/<x>"):
        assert (await cli("dashboard", "--root-path", prefix)).code == 2
    said = await cli("dashboard", "--auth", "basic:secret")
    assert (said.code, "secret" in said.err) == (2, False)
    assert (await cli("dashboard", "-n", "nobody-made-it")).code == 4
    assert (await cli("dashboard", "--url", "redis://127.0.0.1:1")).code == 3
