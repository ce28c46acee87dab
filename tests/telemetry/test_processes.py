"""`redisflow worker` as an orchestrator runs it: its log as JSON, a port for each process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from redisflow import RedisFlow
from tests.stories.world import eventually
from tests.telemetry import worker_app
from tests.telemetry.test_probes import ask

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def worker(valkey_url: str, namespace: str, log: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process, started by hand and stopped with SIGTERM."""
    command = [sys.executable, "-m", "redisflow", "worker", "tests/telemetry/worker_app.py:flow", *options]
    environment = {**os.environ, "REDISFLOW_URL": valkey_url, "TELEMETRY_NAMESPACE": namespace}
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody listens on."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = int(first.getsockname()[1])
            with contextlib.ExitStack() as stack, contextlib.suppress(OSError, OverflowError):
                for more in range(1, count):
                    stack.enter_context(socket.create_server(("127.0.0.1", port + more)))
                return port


async def answers(url: str) -> Any:
    try:
        status, body = await ask(url)
    except OSError:
        return None
    return body if status == 200 else None


async def test_a_line_of_the_log_is_one_of_json_and_says_which_run_it_is_about(
    valkey_url: str, namespace: str, tmp_path: Path
) -> None:
    log = tmp_path / "worker.log"
    async with RedisFlow(valkey_url, namespace=namespace) as flow:
        with worker(valkey_url, namespace, log, "--log-format", "json", "--http", ":0"):
            handle = await flow.run_workflow(worker_app.order.spec, 5)
            await handle.result(timeout=60)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    run = {"run_id": handle.id, "workflow": "order"}
    said = {line["message"]: line for line in lines if line["logger"] == "shop"}
    fields = {
        text: {key: line.get(key) for key in ("run_id", "workflow", "step", "attempt")} for text, line in said.items()
    }
    assert fields == {
        "an order": {**run, "step": None, "attempt": None},
        "charging 5": {**run, "step": "charge", "attempt": 1},
        "sent\ntwo lines": {**run, "step": "send", "attempt": 1},
    }
    started = next(line for line in lines if line["message"].startswith("worker ") and "started" in line["message"])
    assert started["level"] == "INFO"
    assert "run_id" not in started


async def test_each_process_has_a_port_of_its_own(valkey_url: str, namespace: str, tmp_path: Path) -> None:
    port = free_ports(2)
    log = tmp_path / "worker.log"
    async with RedisFlow(valkey_url, namespace=namespace) as flow:
        with worker(valkey_url, namespace, log, "--processes", "2", "--http", f"127.0.0.1:{port}", "--log-format=json"):
            for number in (0, 1):
                assert await eventually(partial(answers, f"http://127.0.0.1:{port + number}/readyz"))
            handles = [await flow.run_workflow(worker_app.order.spec, number) for number in range(20)]
            await asyncio.gather(*(handle.result(timeout=60) for handle in handles))
            texts = [await answers(f"http://127.0.0.1:{port + number}/metrics") for number in (0, 1)]
    counts = [
        float(line.rpartition(" ")[2])
        for text in texts
        for line in text.splitlines()
        if line.startswith('redisflow_runs_started_total{version="",workflow="order"}')
    ]
    assert sum(counts) == 20
    # What the processes write passes as it is.
    assert all(json.loads(line) for line in log.read_text().splitlines())


async def test_many_processes_need_a_first_port(valkey_url: str, namespace: str, tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    with worker(valkey_url, namespace, log, "--processes", "2", "--http", ":0") as process:
        assert await asyncio.to_thread(process.wait, 60) == 1
    assert "each worker process has a port of its own" in log.read_text()
    with pytest.raises(ValueError, match="HOST:PORT"):
        worker_app.flow.new_worker(processes=2, http="nowhere")
