"""The dashboard of Grafana and the alerts: they ask for metrics and labels that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry

from redisflow.telemetry import Prometheus
from tests.telemetry.test_metrics import NAMES

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
METRIC = re.compile(r"\bredisflow_[a-z_]+\b")
LABELS = re.compile(r"\bby \(([^)]*)\)|\{([^{}]*)\}")
# What Prometheus itself adds.
ITS_OWN = {"le", "instance", "job"}


def texts(value: Any) -> Iterator[tuple[str, str]]:
    """Every text of a document, with the name under which it stands."""
    if isinstance(value, dict):
        for name, each in value.items():
            if isinstance(each, str):
                yield name, each
            else:
                yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)


def dashboard() -> Any:
    return json.loads((DEPLOY / "grafana" / "redisflow.json").read_text(encoding="utf-8"))


def alerts() -> Any:
    return yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))


def expressions() -> list[str]:
    return [text for document in (dashboard(), alerts()) for name, text in texts(document) if name in {"expr", "query"}]


def base_of(name: str) -> str:
    """Of a metric as it is asked for: a histogram has several."""
    return re.sub(r"_(bucket|count|sum)$", "", name)


def test_each_metric_is_one_that_workers_export() -> None:
    # Those without labels are there before anything has happened; test_metrics.py sees all of them with their labels.
    described = set(re.findall(r"^# TYPE (\S+)", Prometheus(CollectorRegistry()).exposition().decode(), re.MULTILINE))
    assert set(NAMES) <= described
    asked = {name for text in expressions() for name in METRIC.findall(text)}
    assert {base_of(name) for name in asked} <= set(NAMES)
    assert len(asked) >= 15


def test_each_label_is_one_that_the_metric_has() -> None:
    for text in expressions():
        known = ITS_OWN.union(*(NAMES[base_of(name)] for name in METRIC.findall(text)))
        for grouped, matched in LABELS.findall(text):
            names = [name.strip() for name in grouped.split(",")] if grouped else re.findall(r"(\w+)\s*[=!]", matched)
            assert set(names) <= known, text


def test_every_metric_is_on_the_dashboard() -> None:
    asked = {base_of(name) for _, text in texts(dashboard()) for name in METRIC.findall(text)}
    assert asked == set(NAMES)


def test_panels_do_not_overlap_and_each_has_a_number() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (x, y)
        for panel in panels
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(places)) == len(places)


def test_each_alert_says_what_to_do() -> None:
    (group,) = alerts()["groups"]
    for rule in group["rules"]:
        assert set(rule) - {"for"} == {"alert", "expr", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
        for parenthesis in ("()", "{}", "[]"):
            assert rule["expr"].count(parenthesis[0]) == rule["expr"].count(parenthesis[1])
