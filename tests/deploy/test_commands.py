"""Every command line in `deploy/` is one that this version of redisflow understands."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from redisflow.cli.app import make_app
from redisflow.cli.worker import make_parser
from redisflow.durations import to_ms

DEPLOY = Path(__file__).parents[2] / "deploy"


def commands() -> dict[str, list[str]]:
    """The words after `redisflow`, by where they stand."""
    found: dict[str, list[str]] = {}
    for name, service in yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())["services"].items():
        if "build" in service:
            found[f"compose {name}"] = service["command"]
    for path in (DEPLOY / "kubernetes").glob("*.yaml"):
        for each in yaml.safe_load_all(path.read_text()):
            if each["kind"] == "Deployment":
                (container,) = each["spec"]["template"]["spec"]["containers"]
                found[f"kubernetes {path.stem}"] = container["args"]
    for path in (DEPLOY / "systemd").glob("*.service"):
        (line,) = re.findall(r"^ExecStart=(.+)$", path.read_text(), re.MULTILINE)
        program, *words = shlex.split(line)
        assert program.endswith("/redisflow")
        found[f"systemd {path.stem}"] = words
    (last,) = re.findall(r"^CMD (.+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    found["image"] = json.loads(last)
    return found


COMMANDS = commands()
WORKERS = {where: words for where, words in COMMANDS.items() if words[0] == "worker"}
DASHBOARDS = {where: words for where, words in COMMANDS.items() if words[0] == "dashboard"}


def test_there_are_workers_and_dashboards_in_each_of_the_three_ways():
    assert len(WORKERS) == 4
    assert len(DASHBOARDS) == 3
    assert COMMANDS == WORKERS | DASHBOARDS


@pytest.mark.parametrize("words", WORKERS.values(), ids=WORKERS)
def test_a_worker_s_words_are_understood(words: list[str]):
    read = make_parser().parse_args(words[1:])
    assert read.flow == "shop.workflows:flow"
    assert to_ms(read.grace) == 25_000


@pytest.mark.parametrize("words", DASHBOARDS.values(), ids=DASHBOARDS)
def test_a_dashboard_s_words_are_understood(words: list[str]):
    command, bound, _ = make_app().parse_args(words, exit_on_error=False, print_error=False)
    assert command.__name__ == "dashboard"
    assert bound.arguments["auth"] == ["env:REDISFLOW_DASHBOARD_AUTH"]
