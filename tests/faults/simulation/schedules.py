"""What `make test` simulates: half of its seeds in each of two test files, which two processes share."""

from __future__ import annotations

import os

from tests.faults.simulation.many import run_seeds
from tests.faults.simulation.real_server import RealServer

SCHEDULES = int(os.environ.get("REDISFLOW_SIMULATION_SCHEDULES", "1000"))
AT_ONCE = 20
# In a few of so many schedules nothing happens that concerns one of the others.
CHECKED = ("S2", "S3", "S4", "S5", "S7", "S8", "S9", "S10", "S14", "S18", "S20", "S21", "S22", "T1-T9")


def check_schedules(first: int, simulated: RealServer) -> None:
    """Every second seed from this one on, `AT_ONCE` of them."""
    tally = run_seeds(simulated, range(first, first + 2 * AT_ONCE, 2))
    assert not tally.failed, f"python -m tests.faults.simulation --seed N --trace shows it\n{tally}"
    # A schedule in which nothing is checked, or nothing goes wrong, would prove nothing.
    assert tally.schedules == AT_ONCE
    assert all(tally.checked[name] for name in CHECKED), tally
    assert sum(tally.happened.values()) > 2 * AT_ONCE
