"""The checkers that mutants are shown to, the quick ones first.

Tests that were written for one script or one class are not among them: what is checked here is that the checkers which
look for what nobody has thought of do find things.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

_PYTEST = (
    "-m",
    "pytest",
    "-x",
    "-q",
    "--no-header",
    "-p",
    "no:cacheprovider",
    "--hypothesis-profile=unshrunk",
    "--tb=line",
)


@dataclass(frozen=True, slots=True)
class Checker:
    """A command that ends with 1 where it finds something."""

    name: str
    arguments: tuple[str, ...]
    minutes: float
    """It has found something, too, where it has not ended by then: something hangs."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def command(self) -> list[str]:
        """As a process of its own."""
        return [sys.executable, *self.arguments]


MODELS = Checker(
    "models of the scripts",
    (
        *_PYTEST,
        "tests/lua/test_model.py",
        "tests/lua/test_lines_model.py",
        "tests/lua/test_meeting_model.py",
        "tests/lua/test_permits_model.py",
    ),
    5,
    {"REDISFLOW_MODEL_EXAMPLES": "200"},
)
PROGRAMS = Checker(
    "random workflows", (*_PYTEST, "tests/engine/test_random_workflows.py", "tests/engine/test_crashes.py"), 3
)
NETWORKS = Checker(
    "bad networks",
    (
        *_PYTEST,
        "tests/backend/test_link.py::test_on_a_bad_network_each_call_is_answered_and_in_order",
        "tests/backend/test_faults.py",
        "tests/backend/test_event_faults.py",
    ),
    4,
)
CRASHES = Checker(
    "crash points",
    (
        *_PYTEST,
        "tests/crash/test_crash_points.py",
        "tests/crash/test_lifecycle_points.py",
        "tests/crash/test_crash_points_of_limits.py",
    ),
    12,
)
SIMULATION = Checker(
    "simulation",
    ("-m", "tests.faults.simulation", "--schedules", "700", "--seed", "0", "--processes", "1", "--until-failure"),
    10,
)
IMPORTS = Checker("imports cut off", (*_PYTEST, "tests/crash/test_import_points.py"), 2)
CALL_SITES = Checker("call sites", (*_PYTEST, "tests/faults/test_call_sites.py"), 8)
CHECKERS = (MODELS, IMPORTS, SIMULATION, PROGRAMS, NETWORKS, CRASHES, CALL_SITES)
