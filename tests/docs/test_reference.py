"""The page that names everything: what is exported is on it, and what is on it is there."""

from __future__ import annotations

import re
from inspect import isclass, isfunction
from pathlib import Path

import pytest

import redisflow
import redisflow.testing
import redisflow.testing.faults

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference.md").read_text(encoding="utf-8")
NAMES = set(re.findall(r"`(\w+)`", PAGE))
MODULES = (redisflow, redisflow.testing, redisflow.testing.faults)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_public_name_is_on_the_page_and_says_what_it_is(module):
    assert set(module.__all__) <= NAMES
    exported = {name: getattr(module, name) for name in module.__all__}
    # A type alias has nowhere to say it.
    silent = [name for name, it in exported.items() if (isclass(it) or isfunction(it)) and not it.__doc__]
    assert silent == []


def test_the_tables_name_nothing_that_is_not_public():
    first_cells = re.findall(r"^\| (`[^|]+) \|", PAGE, re.MULTILINE)
    named = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
    assert len(named) > 100
    assert named <= {name for module in MODULES for name in module.__all__}
