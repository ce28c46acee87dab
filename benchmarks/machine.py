"""What is measured with: the server's and a process's CPU time, and the worker under test."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import redis as redis_py

import redisflow

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def server_us(client: Any) -> float:
    """CPU time of the server's main thread, in us: what runs cost the resource that all share."""
    info: dict[str, float] = client.info("cpu")
    return (info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"]) * 1e6


def process_us(pid: int) -> float:
    """CPU time of a process with all its threads, in us (to the tick of 10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S * 1e6


@contextlib.contextmanager
def worker_process(url: str, *, durability: str = "redis") -> Iterator[subprocess.Popen[str]]:
    """A worker that has imported and connected, and waits for `go`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.worker"],
        env={**os.environ, "REDISFLOW_URL": url, "BENCH_DURABILITY": durability},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            msg = "the worker did not start"
            raise RuntimeError(msg)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def go(process: subprocess.Popen[str]) -> None:
    """Let the worker begin."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50 and p99."""
    cuts = statistics.quantiles(values, n=100)
    return {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2)}


def describe(client: Any) -> dict[str, Any]:
    """Versions, machine and commit."""
    info = client.info("server")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "redisflow": redisflow.__version__,
        "python": platform.python_version(),
        "redis_py": redis_py.__version__,
        "server": f"valkey {info['valkey_version']}" if "valkey_version" in info else f"redis {info['redis_version']}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "commit": commit.stdout.strip(),
    }
