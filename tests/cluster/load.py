"""Runs that flow through a cluster while things happen to it, and what is asked of them afterwards.

Workers are processes; their bodies write to one file that all append to (tests/chaos/workflows.py). So what was run is
known from outside of the cluster, and what was recorded from inside.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from redisflow import RedisFlow, RunNotFound, define_workflow_spec
from tests.crash.audit import audit, leftovers
from tests.crash.processes import end_all
from tests.keyspace import Raw, raw_calls

if TYPE_CHECKING:
    from redisflow.runs import WorkflowRun
    from redisflow.testing import ServerCluster

PARTITIONS = 16
WORKFLOWS = ("chain", "fan", "flaky", "fallback", "nap", "loop")
WITHIN_S = 120.0
HANDED_OVER = 0.1
"""Of the migrations of a Valkey: each takes a second or two."""
ROOT = Path(__file__).parents[2]
# What may stand in the log of a worker that did well: that the cluster was away, and which runs failed or were lost.
_TROUBLE = re.compile(r"Traceback|CROSSSLOT|was refused|the worker stops|refused: (?:ASK|MOVED|TRYAGAIN)|non local key")


class Line(NamedTuple):
    """What a body wrote."""

    at_ns: int
    event: str
    run_id: str
    key: str
    token: str


@dataclass
class Load:
    """One namespace on a cluster, its worker processes, and its runs."""

    cluster: ServerCluster
    namespace: str
    folder: Path
    chance: random.Random
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)
    """By idempotency key."""
    happened: Counter[str] = field(default_factory=Counter)

    # -- workers ------------------------------------------------------------------------------------------------------

    def hire(self, count: int, *, lease_s: float) -> None:
        """Start worker processes."""
        environment = {
            **os.environ,
            "REDISFLOW_URL": self.cluster.url,
            "CHAOS_NAMESPACE": self.namespace,
            "CHAOS_CODE": "new",
            "CHAOS_LOG": str(self.folder / "bodies.log"),
        }
        command = [sys.executable, "-m", "redisflow", "worker", "tests.chaos.workflows:flow"]
        options = ["--lease", f"{lease_s}s", "--concurrency", "40"]
        with (self.folder / "workers.log").open("ab") as log:
            for _ in range(count):
                process = subprocess.Popen([*command, *options], cwd=ROOT, env=environment, stdout=log, stderr=log)
                self.workers.append(process)

    def tell(self, number: int) -> None:
        """Send a signal to every worker."""
        for worker in self.workers:
            worker.send_signal(number)

    def lines(self) -> list[Line]:
        """What bodies wrote so far, in the order of the kernel."""
        path = self.folder / "bodies.log"
        text = path.read_text() if path.exists() else ""
        found = [line.split() for line in text.splitlines()]
        return [Line(int(at), event, run, key, token) for at, event, run, key, _, _, token in found]

    def ends(self) -> int:
        """How many bodies have ended."""
        return sum(line.event == "end" for line in self.lines())

    async def wait_for_bodies(self, count: int) -> None:
        """Until so many more bodies have ended: the load is under way."""
        wanted = self.ends() + count
        async with asyncio.timeout(WITHIN_S):
            while self.ends() < wanted:  # noqa: ASYNC110  # other processes have no event
                await asyncio.sleep(0.05)  # between two tries

    # -- what happens to the cluster; each blocks ---------------------------------------------------------------------

    def fail_over(self) -> None:
        """Hand the slots of a primary over, as an operator does before maintenance."""
        self.cluster.fail_over(self.chance.choice(self.cluster.primaries()))
        self.happened["failovers"] += 1
        self.cluster.wait_until_ready()

    def kill_primary(self) -> None:
        """SIGKILL one, wait for its replica to take over, bring it back."""
        lost = self.chance.choice(self.cluster.primaries())
        self.cluster.kill(lost)
        self.cluster.wait_for_failover(lost)
        self.cluster.restart(lost)
        self.happened["kills"] += 1
        self.cluster.wait_until_ready()

    def freeze_primary(self) -> None:
        """SIGSTOP one until its replica has taken over: its connections stay open, and it says nothing."""
        lost = self.chance.choice(self.cluster.primaries())
        os.kill(lost.pid, signal.SIGSTOP)
        try:
            self.cluster.wait_for_failover(lost)
        finally:
            os.kill(lost.pid, signal.SIGCONT)
        self.happened["freezes"] += 1
        self.cluster.wait_until_ready()

    def migrate(self, partition: int) -> None:
        """Move a partition's slot to another primary."""
        owner = self.cluster.owner_of_partition(self.namespace, partition)
        heir = self.chance.choice([node for node in self.cluster.primaries() if node is not owner])
        self.happened["migrations"] += 1
        # Valkey 9 can move slots by itself, too.
        if self.cluster.version.startswith("valkey") and self.chance.random() < HANDED_OVER:
            self.cluster.hand_over_partition(self.namespace, partition, heir)
            self.happened["handed over by the server"] += 1
        else:
            self.cluster.migrate_partition(self.namespace, partition, heir, keys_at_once=10)

    # -- runs ---------------------------------------------------------------------------------------------------------

    async def start(self, flow: RedisFlow, count: int, *, every_s: float) -> None:
        """Start runs evenly over a time; a start that is not answered is made again, with the same key."""
        specs = [define_workflow_spec(name, output=list[str]) for name in WORKFLOWS]
        for number in range(len(self.ids), len(self.ids) + count):
            key = f"load-{number}"
            handle = await flow.run_workflow(specs[number % len(specs)], idempotency_key=key)
            self.ids[key] = handle.id
            await asyncio.sleep(every_s)  # there is to be work at every moment

    async def start_what_was_lost(self, flow: RedisFlow) -> int:
        """Start the runs again that a failover has forgotten, with the same keys; returns how many there were."""
        specs = [define_workflow_spec(name, output=list[str]) for name in WORKFLOWS]
        lost = 0
        for key, run_id in self.ids.items():
            try:
                await flow.get_run(run_id)
            except RunNotFound:
                lost += 1
                number = int(key.removeprefix("load-"))
                handle = await flow.run_workflow(specs[number % len(specs)], idempotency_key=key)
                self.ids[key] = handle.id
        return lost

    async def wait_for_all(self, flow: RedisFlow) -> list[WorkflowRun]:
        """Every run, once all have ended."""
        deadline_s = time.monotonic() + WITHIN_S
        runs: dict[str, WorkflowRun] = {}
        while len(runs) < len(self.ids):
            for run_id in self.ids.values():
                if run_id not in runs:
                    run = await flow.get_run(run_id)
                    if run.is_finished:
                        runs[run_id] = run
                    else:
                        assert time.monotonic() < deadline_s, f"{len(self.ids) - len(runs)} runs do not end, as {run!r}"
                        break
            await asyncio.sleep(0.05)  # between two looks
        return list(runs.values())

    # -- afterwards ---------------------------------------------------------------------------------------------------

    def problems(self, runs: list[WorkflowRun]) -> list[str]:
        """What must not have happened."""
        found = [f"worker {worker.pid} ended with {worker.returncode}" for worker in self.workers if worker.poll()]
        by_step: dict[tuple[str, str], list[Line]] = {}
        for line in self.lines():
            by_step.setdefault((line.run_id, line.key), []).append(line)
        for run in runs:
            outputs = [step.output for step in run.steps if step.kind == "run" and step.status == "succeeded"]
            if run.status != "succeeded" or run.output != outputs:
                found.append(f"{run.id} is {run.status} with {run.output}, recorded are {outputs}: {run.error}")
                continue
            for step in run.steps:
                if step.kind == "run" and step.status == "succeeded":
                    written = by_step.get((run.id, step.key), [])
                    ends = [n for n, line in enumerate(written) if line.event == "end" and line.token == step.output]
                    if len(ends) != 1:
                        found.append(f"{run.id} {step.key}: the recorded body ended {len(ends)} times")
                    elif any(line.event == "start" for line in written[ends[0] + 1 :]):
                        found.append(f"{run.id} {step.key} started after the end that was recorded")
        found += [line for line in (self.folder / "workers.log").read_text().splitlines() if _TROUBLE.search(line)]
        raw, close = raw_calls(self.cluster.url)
        found += audit(raw, self.namespace, PARTITIONS) + leftovers(raw, self.namespace, PARTITIONS)
        close()
        return found

    def summary(self, runs: list[WorkflowRun]) -> str:
        """In words."""
        lines = self.lines()
        ends = [line.at_ns for line in lines if line.event == "end"]
        longest_s = max((after - before) / 1e9 for before, after in itertools.pairwise(ends))
        starts = sum(line.event == "start" for line in lines)
        steps = sum(step.kind == "run" for run in runs for step in run.steps)
        retried = sum(line.event == "fail" for line in lines)
        what = ", ".join(f"{count} {name}" for name, count in sorted(self.happened.items()))
        text = (
            f"{self.cluster.version}: {len(runs)} runs, {steps} steps, {starts} bodies ({retried} failed on purpose);"
            f" {what}; longest time without the end of a body {longest_s:.1f} s"
        )
        if report := os.environ.get("REDISFLOW_CLUSTER_REPORT"):
            with Path(report).open("a") as file:
                file.write(text + "\n")
        return text

    def end(self) -> None:
        """Stop the workers."""
        end_all(self.workers)


def records_of(raw: Raw, namespace: str, partitions: list[int]) -> dict[str, list[bytes]]:
    """By run, its records in order, as they are stored now."""
    found: dict[str, list[bytes]] = {}
    for partition in partitions:
        prefix = f"rf:{{{namespace}:{partition}}}:run:"
        for key in raw("KEYS", f"{prefix}*"):
            flat = raw("HGETALL", key)
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            count = int(fields[b"h"].split(b":")[0])
            found[key.decode().removeprefix(prefix)] = [fields[b"%d" % number] for number in range(count)]
    return found
