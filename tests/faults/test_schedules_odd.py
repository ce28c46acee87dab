"""The odd seeds of the simulation: real workers, clients and scripts in virtual time, and faults drawn from the seed.

`python -m tests.faults.simulation --seed N --trace` shows what a seed does; `--shrink` leaves out what its failure does
not need.
"""

from __future__ import annotations

import pytest

from tests.faults.simulation.real_server import RealServer
from tests.faults.simulation.schedules import AT_ONCE, SCHEDULES, check_schedules


@pytest.mark.parametrize("first", range(1, SCHEDULES, 2 * AT_ONCE))
def test_what_must_hold_holds_after_every_call(first: int, simulated: RealServer) -> None:
    check_schedules(first, simulated)
