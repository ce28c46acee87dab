"""The metrics that are named in `deploy/` and in the documentation are ones that workers export."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from redisflow.telemetry import Prometheus

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "deploy").rglob("*.yaml")), ROOT / "docs" / "production.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_metric_that_is_named_is_exported(page: Path):
    registry = CollectorRegistry()
    Prometheus(registry)
    exported = {name for family in registry.collect() for name in (family.name, f"{family.name}_total")}
    named = set(re.findall(r"\bredisflow_[a-z_]+", page.read_text())) - {"redisflow_worker"}
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in named} <= exported
