"""Measuring a server leaves figures, and nothing else."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from tests.cli.conftest import Cli
from tests.keyspace import raw_calls


@pytest.fixture
def left_over(valkey_url: str):
    """Return what gives the keys of benchmarks that are stored now."""
    raw, close = raw_calls(valkey_url)
    yield lambda: sorted(key for key in raw("KEYS", "rf:{bench:*"))
    close()


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


async def test_ctrl_c_takes_all_of_it_away_again(valkey_url: str, left_over):
    before = left_over()
    words = ("-m", "redisflow", "bench", "--profile", "sleep", "--runs", "50000", "--url", valkey_url)
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, env={**os.environ, "REDISFLOW_APP": ""}, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        while len(left_over()) < len(before) + 30:
            await asyncio.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert left_over() == before


@pytest.mark.parametrize("words", [["--runs", "0"], ["--runs", "100001"], ["--concurrency", "1001"]])
async def test_it_is_bounded(cli: Cli, words: list[str]):
    said = await cli("bench", *words)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
