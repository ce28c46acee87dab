"""Measuring a server leaves figures, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable

import pytest

from redisflow.testing.server import start_server
from tests.cli.conftest import Cli
from tests.keyspace import raw_calls


@pytest.fixture
def left_over_on():
    """Return what gives, for a server, what gives the keys of benchmarks that are stored there now."""
    with contextlib.ExitStack() as stack:

        def on(url: str) -> Callable[[], list[bytes]]:
            raw, close = raw_calls(url)
            stack.callback(close)
            return lambda: sorted(key for key in raw("KEYS", "rf:{bench:*"))

        yield on


@pytest.fixture
def left_over(valkey_url: str, left_over_on):
    return left_over_on(valkey_url)


@pytest.mark.parametrize(("profile", "steps"), [("noop", 0), ("steps10", 10), ("fanout", 10), ("sleep", 1)])
async def test_a_server_is_measured_and_nothing_stays(cli: Cli, left_over, profile: str, steps: int):
    before = left_over()
    said = await cli("bench", "--profile", profile, "--runs", "30", "--concurrency", "10", "--json")
    assert (said.code, said.json["runs"], said.json["concurrency"]) == (0, 30, 10)
    assert said.json["runs_per_s"] > 0
    assert said.json["steps_per_s"] == pytest.approx(steps * said.json["runs_per_s"], rel=0.01)
    assert 0 < said.json["p50_ms"] <= said.json["p99_ms"]
    assert said.json["p50_ms"] > (100 if profile == "sleep" else 0)
    assert said.json["cpu_us_per_run"] > 0
    assert said.json["server_cpu_us_per_run"] > 0
    assert "puts load on" in said.err
    assert left_over() == before


async def test_for_people_it_is_a_few_lines(cli: Cli):
    said = await cli("bench", "--profile", "noop", "--runs", "5")
    assert said.out.startswith("noop: 5 runs in ")
    assert "start to result: p50 " in said.out


@contextlib.asynccontextmanager
async def measuring(url: str, left_over, *, within: str = "") -> AsyncIterator[asyncio.subprocess.Process]:
    """A long measurement that is under way; it is killed where a test fails."""
    before = left_over()
    words = ["-m", "redisflow", "bench", "--profile", "sleep", "--runs", "50000", "--url", url]
    command = [*within.split(), sys.executable, *words]
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, "REDISFLOW_APP": ""}, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            while len(left_over()) < len(before) + 30:
                await asyncio.sleep(0.02)
            yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
async def test_a_signal_takes_all_of_it_away_again(valkey_url: str, left_over, number: signal.Signals, code: int):
    before = left_over()
    async with measuring(valkey_url, left_over) as process:
        process.send_signal(number)
        _, errors = await process.communicate()
    assert process.returncode == code
    assert b"Traceback" not in errors
    assert re.search(rb"in namespace bench:[0-9a-f]{8}: 50,000 runs", errors)
    assert left_over() == before


async def test_under_nohup_a_terminal_that_is_closed_does_not_end_it(valkey_url: str, left_over):
    async with measuring(valkey_url, left_over, within="nohup") as process:
        process.send_signal(signal.SIGHUP)
        seen = len(left_over())
        while len(left_over()) < seen + 30:
            await asyncio.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert process.returncode == 143


async def test_a_server_that_goes_away_meanwhile_is_told_in_a_line(cli: Cli, left_over_on, monkeypatch):
    monkeypatch.setattr("redisflow.cli.given.CALL_TIMEOUT_S", 0.3)
    monkeypatch.setattr("redisflow.worker.worker.GOOD_BYE_S", 0.3)
    with start_server() as server:
        left_over = left_over_on(server.url)
        said = asyncio.ensure_future(cli("bench", "--runs", "50000", "--url", server.url))
        async with asyncio.timeout(60):
            while len(left_over()) < 30:
                await asyncio.sleep(0.02)
        server.kill()
        assert (await said).code == 3
    assert (await said).err.splitlines()[-1].startswith("redisflow: no answer from")


@pytest.mark.parametrize("words", [["--runs", "0"], ["--runs", "100001"], ["--concurrency", "1001"]])
async def test_it_is_bounded(cli: Cli, words: list[str]):
    said = await cli("bench", *words)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
