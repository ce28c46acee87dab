"""`python -m tests.faults.simulation`: one seed, readably; or many, with a line of progress and a table at the end."""

from __future__ import annotations

import argparse
import multiprocessing
import queue
import sys
import time
from pathlib import Path
from typing import Any

from redisflow.testing import start_server
from tests.faults.simulation.many import SERVER, Tally, kept_seeds, work
from tests.faults.simulation.mutations import scripts_from
from tests.faults.simulation.plan import draw
from tests.faults.simulation.real_server import RealServer
from tests.faults.simulation.shrink import shrink
from tests.faults.simulation.world import simulate

EVERY_S = 10.0
"""Between two lines of progress."""


def main() -> int:
    """Returns 1 where a seed has failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed; with --schedules, the first of many")
    parser.add_argument("--trace", action="store_true", help="show every call of this seed")
    parser.add_argument("--shrink", action="store_true", help="leave out what its failure does not need")
    parser.add_argument("--schedules", type=int, default=1, help="how many seeds")
    parser.add_argument("--processes", type=int, default=1, help="how many at a time, each with a server of its own")
    parser.add_argument("--minutes", type=float, default=0, help="begin none after so long")
    parser.add_argument("--kept", action="store_true", help="the seeds of tests/faults/seeds.txt too")
    parser.add_argument("--until-failure", action="store_true", help="go on only until a seed fails")
    parser.add_argument("--lua", type=Path, help="a folder with other scripts, in the layout of lua/")
    given = parser.parse_args()
    if given.schedules == 1:
        return _one(given)
    return _many(given)


def _one(given: argparse.Namespace) -> int:
    seed = given.seed if given.seed is not None else time.time_ns() % 1_000_000_000
    with start_server(SERVER) as server:
        real = RealServer(server.port, scripts_from(given.lua))
        plan = draw(seed)
        if given.shrink:
            plan = shrink(plan, lambda plan: bool(simulate(plan, real).problems))
        outcome = simulate(plan, real, print if given.trace else None)
    print(plan)
    print(f"seed {seed}: {outcome.steps} steps, {outcome.runs} runs, {outcome.seconds:.1f} s of virtual time")
    print(f"history {outcome.digest}")
    for problem in outcome.problems:
        print(f"  {problem}")
    return 1 if outcome.problems else 0


def _many(given: argparse.Namespace) -> int:
    context = multiprocessing.get_context("spawn")
    said: Any = context.Queue()
    workers = [context.Process(target=work, args=(number, vars(given), said)) for number in range(given.processes)]
    for worker in workers:
        worker.start()
    tally, began_s, shown_s, busy = Tally(), time.perf_counter(), time.perf_counter(), len(workers)
    while busy:
        try:
            word = said.get(timeout=EVERY_S)
        except queue.Empty:
            if not all(worker.is_alive() or worker.exitcode == 0 for worker in workers):
                print("a process of the simulation has died", file=sys.stderr)
                return 1
            continue
        if isinstance(word, int):
            busy -= 1
            continue
        tally.add(word)
        if given.until_failure and tally.failed:
            for worker in workers:
                worker.terminate()  # its server ends with it
            break
        if time.perf_counter() - shown_s > EVERY_S:
            shown_s = time.perf_counter()
            took_s = shown_s - began_s
            print(
                f"{took_s:6.0f} s  {tally.schedules} schedules, {tally.steps} steps, failing: {sorted(tally.failed)}",
                flush=True,
            )
    for worker in workers:
        worker.join()
    first = given.seed or 0
    print(f"seeds {first} to {first + given.schedules - 1} in {time.perf_counter() - began_s:.0f} s")
    print(tally)
    asked = given.schedules + (len(kept_seeds()) if given.kept else 0)
    if tally.schedules < asked:
        print(f"left out: {asked - tally.schedules} schedules, the time was over")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
