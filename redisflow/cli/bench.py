"""`redisflow bench`: how fast this server is from this machine. What it stores is deleted at the end."""

from __future__ import annotations

import asyncio
import platform
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from cyclopts import Parameter

import redisflow
from redisflow.backend.connect import read_url
from redisflow.backend.location import Location
from redisflow.cli.bench_profiles import Profile, define_profile
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import Document, note
from redisflow.cli.progress import Tell, progress
from redisflow.cli.signals import canceled_by_signals
from redisflow.client.namespaces import delete_namespace
from redisflow.contract import ScanPlace
from redisflow.flow import RedisFlow
from redisflow.summaries import nearest

RUNS_AT_MOST = 100_000
AT_ONCE_AT_MOST = 1_000
WARM_UP = 20
"""Runs before anything is measured: scripts are loaded, connections made."""
RESULT_S = 60


@dataclass(slots=True)
class Measured:
    """What was seen of so many runs."""

    runs: int
    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list[float])
    cpu_s: float = 0.0
    server_cpu_s: float | None = None
    """Of the whole server, whoever else uses it."""


async def bench(
    *,
    profile: Annotated[
        Literal["noop", "steps10", "fanout", "sleep"],
        Parameter(help="no step; ten, one after another; ten at once; a durable sleep of 100 ms"),
    ] = "steps10",
    runs: Annotated[int, Parameter(help=f"up to {RUNS_AT_MOST:,}")] = 1_000,
    concurrency: Annotated[int, Parameter(help=f"runs under way at once, up to {AT_ONCE_AT_MOST:,}")] = 50,
    given: Given = PLAIN,
) -> None:
    """Measure this server from this machine, with clients and a worker in this process. It puts load on the server.

    What it stores is in a namespace of its own, which is deleted at the end, also after Ctrl-C and SIGTERM.
    """
    if not (1 <= runs <= RUNS_AT_MOST and 1 <= concurrency <= AT_ONCE_AT_MOST):
        msg = f"--runs is a number from 1 to {RUNS_AT_MOST:,}, --concurrency one from 1 to {AT_ONCE_AT_MOST:,}"
        raise ValueError(msg)
    # The app's payload settings are left out: what goes to a payload store would stay there.
    location = replace(
        given.location(), namespace=f"bench:{secrets.token_hex(4)}", partitions=1, payloads=None, max_pending=None
    )
    where = f"{read_url(location.url).masked}, in namespace {location.namespace}"
    note(f"this puts load on {where}: {runs:,} runs, {concurrency:,} at once")
    flow = RedisFlow("memory://bench")
    chosen = define_profile(flow, profile)
    with canceled_by_signals():
        measured = await _measure_there(location, flow, chosen, runs, concurrency)
    document = _document(profile, chosen, measured, concurrency)
    given.out.one(document, lambda: _text(document))


async def _measure_there(location: Location, flow: RedisFlow, chosen: Profile, runs: int, concurrency: int) -> Measured:
    async with flow.moved_to(location), _thrown_away(location), flow, flow.new_worker(concurrency=concurrency, grace=0):
        await _run_all(chosen, min(WARM_UP, runs), concurrency, lambda _: None)
        with progress(chosen.workflow.name, runs) as tell:
            return await _measure(flow, chosen, runs, concurrency, tell)


@asynccontextmanager
async def _thrown_away(location: Location) -> AsyncGenerator[None]:
    """Delete the namespace afterwards. That this can be done is seen before anything is stored."""
    backend = location.make_backend()
    try:
        await backend.open()
        try:
            await backend.audit.scan(ScanPlace())
            yield
        finally:
            await delete_namespace(backend)
    finally:
        await backend.close()


async def _measure(flow: RedisFlow, chosen: Profile, runs: int, concurrency: int, tell: Tell) -> Measured:
    server = flow.backend.server
    measured = Measured(runs)
    server_s, cpu_s, began_s = await server.cpu_seconds(), time.process_time(), time.perf_counter()
    measured.latencies_ms = sorted(await _run_all(chosen, runs, concurrency, tell))
    measured.seconds = time.perf_counter() - began_s
    measured.cpu_s = time.process_time() - cpu_s
    server_end_s = await server.cpu_seconds()
    if server_s is not None and server_end_s is not None:
        measured.server_cpu_s = max(0.0, server_end_s - server_s)
    return measured


async def _run_all(chosen: Profile, runs: int, concurrency: int, tell: Tell) -> list[float]:
    """Each client starts a run, waits for its result, and starts the next; how long each took, in ms."""
    latencies_ms: list[float] = []
    left = iter(range(runs))

    async def keep_starting() -> None:
        for _ in left:
            began_s = time.perf_counter()
            handle = await chosen.workflow.run()
            await handle.result(timeout=RESULT_S)
            latencies_ms.append((time.perf_counter() - began_s) * 1000)
            tell(len(latencies_ms))

    try:
        async with asyncio.TaskGroup() as clients:
            for _ in range(min(concurrency, runs)):
                clients.create_task(keep_starting())
    except ExceptionGroup as errors:
        # What one client met, the others meet as well: a server that went away.
        raise errors.exceptions[0] from None
    return latencies_ms


def _document(name: str, chosen: Profile, measured: Measured, concurrency: int) -> Document:
    runs, latencies = measured.runs, measured.latencies_ms
    server_s = measured.server_cpu_s
    return {
        "id": name,
        "runs": runs,
        "concurrency": concurrency,
        "seconds": round(measured.seconds, 3),
        "runs_per_s": round(runs / measured.seconds, 1),
        "steps_per_s": round(runs * chosen.steps / measured.seconds, 1),
        "p50_ms": round(nearest(latencies, 0.5) or 0.0, 2),
        "p99_ms": round(nearest(latencies, 0.99) or 0.0, 2),
        "cpu_us_per_run": round(measured.cpu_s / runs * 1e6, 1),
        "server_cpu_us_per_run": None if server_s is None else round(server_s / runs * 1e6, 1),
        "redisflow": redisflow.__version__,
        "python": platform.python_version(),
    }


def _text(document: Document) -> str:
    server = document["server_cpu_us_per_run"]
    done = f"{document['runs']:,} runs in {document['seconds']} s, {document['concurrency']:,} at once"
    return "\n".join(
        (
            f"{document['id']}: {done}",
            f"  {document['runs_per_s']:,} runs/s, {document['steps_per_s']:,} steps/s",
            f"  start to result: p50 {document['p50_ms']} ms, p99 {document['p99_ms']} ms",
            f"  CPU per run: client and worker {document['cpu_us_per_run']:,} us"
            + ("" if server is None else f", server {server:,} us (with all else that it did)"),
        )
    )
