"""Every call site x every outcome x every workflow: `python -m tests.faults.call_sites`, or `make faults`.

Each process has a server of its own and plays many scenarios at once. At the end it prints what was played, what failed
and the command that repeats just that; it exits with 1 where anything failed, and says what it left out when its time
was up.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import queue
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.outcomes import OUTCOMES
from tests.faults.plan import SEED, Planned, find_sites, plan_all
from tests.faults.scenario import Played
from tests.faults.sites import Site
from tests.faults.stage import AT_ONCE, open_stage
from tests.faults.workflows import WORKFLOWS

_END = "end"
_SHOWN = 20
"""Failures that are printed in full."""


@dataclass
class Table:
    """What was played, by outcome and by workflow."""

    played: Counter[str] = field(default_factory=Counter)
    not_reached: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[Planned, list[str]]] = field(default_factory=list)
    done: set[Planned] = field(default_factory=set)

    def take(self, planned: Planned, played: Played) -> None:
        """One more."""
        self.done.add(planned)
        for row in (planned.outcome, planned.workflow, ""):
            self.played[row] += 1
            self.not_reached[row] += not played.fired
            self.failed[row] += bool(played.problems)
            self.seconds[row] += played.seconds  # type: ignore[assignment]  # a counter of seconds
        if played.problems:
            self.failures.append((planned, played.problems))

    def show(self) -> None:
        """Print it."""
        print(f"{'':14} {'scenarios':>9} {'not reached':>11} {'failures':>8} {'seconds':>8}")
        for title, rows in (("outcome", [one.name for one in OUTCOMES]), ("workflow", [*WORKFLOWS]), ("all", [""])):
            print(title)
            for row in rows:
                if self.played[row]:
                    print(
                        f"  {row:12} {self.played[row]:9} {self.not_reached[row]:11} {self.failed[row]:8}"
                        f" {self.seconds[row]:8.0f}"
                    )


def main() -> int:
    """See the module."""
    given = _arguments()
    began_s = time.monotonic()
    until_s = began_s + 60 * given.minutes
    workflows = given.workflow or list(WORKFLOWS)
    outcomes = [one for one in OUTCOMES if given.outcome is None or one.name in given.outcome]
    if given.site:
        sites = {workflow: [Site.parse(site) for site in given.site] for workflow in workflows}
    else:
        sites = asyncio.run(_find_all(workflows))
    planned = plan_all(sites, outcomes, seed=given.seed)
    count = sum(map(len, sites.values()))
    parts = f"{count} call sites of {len(sites)} workflows, {len(outcomes)} outcomes"
    print(f"{parts}: {len(planned)} scenarios, seed {given.seed}", flush=True)
    table = _play(planned, min(given.processes, len(planned)), until_s, given.at_once)
    table.show()
    for one, problems in table.failures[:_SHOWN]:
        print(f"FAILED {one.command}")
        for problem in problems[:5]:
            print(f"    {problem[:500]}")
    if len(table.failures) > _SHOWN:
        print(f"and {len(table.failures) - _SHOWN} more")
    left_out = len(planned) - len(table.done)
    said = "nothing was left out" if not left_out else f"time was up: {left_out} scenarios were left out, evenly"
    print(f"{len(table.done)} scenarios, {len(table.failures)} failures in {time.monotonic() - began_s:.0f} s; {said}")
    return 1 if table.failures else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.call_sites", description=__doc__)
    parser.add_argument("--workflow", action="append", choices=list(WORKFLOWS), help="only this one; may be repeated")
    parser.add_argument("--outcome", action="append", choices=[one.name for one in OUTCOMES], help="the same")
    parser.add_argument("--site", action="append", help="the same: worker:commit_run:1")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=18.0, help="begin nothing after these")
    parser.add_argument("--seed", type=int, default=SEED, help="of the order; another one leaves out others")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="scenarios of a process at a time")
    return parser.parse_args()


async def _find_all(workflows: Sequence[str]) -> dict[str, list[Site]]:
    async with open_stage() as stage:
        return {workflow: await find_sites(workflow, stage.url, stage.raw) for workflow in workflows}


def _play(planned: list[Planned], processes: int, until_s: float, at_once: int) -> Table:
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    made = [
        context.Process(target=_play_part, args=(planned[number::processes], until_s, at_once, results))
        for number in range(processes)
    ]
    for process in made:
        process.start()
    table, ended, shown_s = Table(), 0, time.monotonic()
    while ended < processes:
        try:
            item = results.get(timeout=5)
        except queue.Empty:
            if not any(process.is_alive() for process in made):
                print("a process died", file=sys.stderr)
                break
            continue
        if item == _END:
            ended += 1
        else:
            table.take(*item)
        if time.monotonic() - shown_s > 10:
            shown_s = time.monotonic()
            print(f"  {len(table.done)} of {len(planned)}, {len(table.failures)} failures", flush=True)
    for process in made:
        process.join()
        if process.exitcode:
            sys.exit(f"a process ended with {process.exitcode}")
    return table


def _play_part(planned: list[Planned], until_s: float, at_once: int, results: Any) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None

    async def end_with_parent() -> None:
        while parent.is_alive():  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(1)
        os._exit(1)

    async def play() -> None:
        async with open_stage() as stage:
            watch = asyncio.create_task(end_with_parent())
            await stage.play(planned, lambda one, played: results.put((one, played)), until_s=until_s, at_once=at_once)
            watch.cancel()

    asyncio.run(play())
    results.put(_END)


if __name__ == "__main__":
    sys.exit(main())
