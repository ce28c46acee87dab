"""What a worker answers over HTTP: also when its event loop cannot."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from redisflow import MissingExtra, RedisFlow, RedisflowError, Step
from redisflow.contract.observer import Vitals
from redisflow.telemetry import Prometheus
from redisflow.worker.address import Address
from redisflow.worker.probes import ProbeServer
from tests.stories.world import eventually


def get(url: str) -> tuple[int, str]:
    """Status and body."""
    try:
        with urllib.request.urlopen(url, timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def ask(url: str) -> tuple[int, str]:
    return await asyncio.to_thread(get, url)


def url_in(caplog: pytest.LogCaptureFixture) -> str:
    found = [match for line in caplog.messages if (match := re.search(r"http://\S+", line))]
    return found[-1].group()


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "redisflow")


async def test_a_worker_is_alive_and_ready_until_it_stops(
    valkey_url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()
    metrics = Prometheus(CollectorRegistry())
    async with RedisFlow(valkey_url, namespace=namespace, telemetry=[metrics]) as flow:

        @flow.define_workflow("work")
        async def work(step: Step) -> None:
            async def body() -> None:
                begun.set()
                await goes_on.wait()

            await step.run("body", body)

        worker = flow.new_worker(http="127.0.0.1:0")
        async with worker:
            url = url_in(caplog)
            assert url.startswith("http://127.0.0.1:")
            assert await ask(f"{url}/healthz") == (200, '{"status": "ok", "problems": []}\n')
            assert (await ask(f"{url}/readyz"))[0] == 200
            assert (await ask(f"{url}/other"))[0] == 404
            handle = await work.run()
            await begun.wait()
            status, text = await ask(f"{url}/metrics?name=x")
            assert status == 200
            assert any(family.name == "redisflow_runs_started" for family in text_string_to_metric_families(text))
            stopping = asyncio.create_task(worker.stop())
            # It lets the run go on for a while: alive, but nobody should count on it.
            await eventually(lambda: is_unready(url))
            assert (await ask(f"{url}/healthz"))[0] == 200
            goes_on.set()
            await stopping
            await handle.result(timeout=30)
    with pytest.raises(urllib.error.URLError):
        await ask(f"{url}/healthz")


async def is_unready(url: str) -> bool:
    status, body = await ask(f"{url}/readyz")
    return status == 503 and "it claims no runs" in body


async def test_a_loop_that_hangs_is_seen_from_outside(
    valkey_url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    hangs, goes_on = threading.Event(), threading.Event()
    seen: list[tuple[int, str]] = []

    async with RedisFlow(valkey_url, namespace=namespace) as flow:

        @flow.define_workflow("hang")
        async def hang(step: Step) -> None:
            async def body() -> None:
                hangs.set()
                goes_on.wait(60)  # what no async step should do

            await step.run("body", body)

        def look(url: str) -> None:
            hangs.wait(60)
            deadline_s = time.monotonic() + 30
            while not seen and time.monotonic() < deadline_s:
                if (answer := get(f"{url}/healthz"))[0] == 503:
                    seen.append(answer)
            goes_on.set()

        async with flow.new_worker(http=":0", lease="500ms"):
            url = url_in(caplog)
            thread = threading.Thread(target=look, args=[url])
            thread.start()
            handle = await hang.run()
            await handle.result(timeout=60)
            thread.join()
            await eventually(lambda: is_alive(url))
    assert "the event loop has stood still" in json.loads(seen[0][1])["problems"][0]


async def is_alive(url: str) -> bool:
    return (await ask(f"{url}/healthz"))[0] == 200


@pytest.mark.parametrize("is_installed", [True, False])
async def test_it_has_metrics_where_their_library_is_installed_and_else_says_what_to_install(
    valkey_url: str,
    namespace: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    is_installed: bool,
) -> None:
    flow = RedisFlow(valkey_url, namespace=namespace)

    @flow.define_workflow("work")
    async def work(step: Step) -> None:
        pass

    if not is_installed:
        monkeypatch.delitem(sys.modules, "redisflow.telemetry.prometheus", raising=False)
        monkeypatch.setitem(sys.modules, "prometheus_client", None)
        with pytest.raises(MissingExtra, match=r"pip install 'redisflow\[prometheus\]'"):
            from redisflow.telemetry import Prometheus  # noqa: F401  # that it fails is what is tried
    async with flow.lifespan(worker=True, http="127.0.0.1:0")():
        await (await work.run()).result(timeout=30)
        status, text = await ask(f"{url_in(caplog)}/metrics")
    if is_installed:
        assert status == 200
        assert 'redisflow_redis_command_duration_seconds_count{script="finish_run"}' in text
    else:
        assert status == 501
        assert "pip install 'redisflow[prometheus]'" in text


async def test_a_port_that_is_taken_is_told(flow: RedisFlow) -> None:
    @flow.define_workflow("work")
    async def work(step: Step) -> None:
        pass

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        worker = flow.new_worker(http=f"127.0.0.1:{port}")
        with pytest.raises(RedisflowError, match="cannot listen"):
            await worker.start()


def test_a_heartbeat_that_is_late_makes_a_worker_not_ready_and_leaves_it_alive() -> None:
    vitals = Vitals(held=0, free=1, heartbeat_age_s=2.0, loop_lag_s=0.1)
    server = ProbeServer(Address("127.0.0.1", 0), 1.0, lambda: vitals, lambda: True, None)
    alive, _ = get(f"{server.url}/healthz")
    ready, body = get(f"{server.url}/readyz")
    server.close()
    assert (alive, ready) == (200, 503)  # a restart would not bring the server back
    assert "redis does not answer" in body


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9102", "127.0.0.1", 9102),
        (":9102", "127.0.0.1", 9102),
        ("9102", "127.0.0.1", 9102),
        ("0.0.0.0:80", "0.0.0.0", 80),
        ("[::1]:80", "::1", 80),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    address = Address.parse(text)
    assert address == Address(host, port)
    assert Address.parse(str(address)) == address
    assert address.of_process(2).port == port + 2


@pytest.mark.parametrize("text", ["", "host", "host:", ":70000", "::1:80", "host:-1", "host:x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        RedisFlow().new_worker(http=text)
