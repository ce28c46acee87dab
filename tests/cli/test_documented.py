"""Every `redisflow ...` line of the documentation is understood, and every command is documented."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from redisflow.cli.app import make_app
from redisflow.cli.worker import make_parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
SHELL = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINES = sorted(
    {
        re.split(r"\||&&", line.strip().removeprefix("$ "))[0].strip()
        for page in PAGES
        for block in SHELL.findall(page.read_text(encoding="utf-8"))
        for line in block.splitlines()
        if line.strip().removeprefix("$ ").startswith("redisflow ")
    }
)


@pytest.mark.parametrize("line", LINES)
def test_a_documented_line_is_understood(line: str):
    words = shlex.split(line, comments=True)[1:]
    if words[0] == "worker":
        make_parser().parse_args(words[1:])
    else:
        make_app().parse_args(words, exit_on_error=False, print_error=False)


def test_the_page_names_every_command_that_stands_alone():
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    app = make_app()
    names = [name for name in app.resolved_commands() if not name.startswith("-")]
    alone = {name for name in names if all(each.startswith("-") for each in app[name].resolved_commands())}
    assert {"init", "dev", "dashboard", "doctor"} <= alone
    assert [name for name in sorted(alone) if f"| `redisflow {name}" not in page] == []


def test_the_page_names_every_command():
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    rows = [row for row in page.splitlines() if row.startswith("| `redisflow")]
    for group, commands in {
        "run": "list show trace watch start exec result signal cancel retry rerun fork pause resume delete "
        "export import replay",
        "workflow": "list show pause resume",
        "queue": "list peek pause resume",
        "schedule": "list show create pause resume trigger delete",
        "workers": "list drain",
        "namespace": "list create delete",
        "config": "show",
    }.items():
        known = [name for name in make_app()[group].resolved_commands() if not name.startswith("-")]
        assert sorted(known) == sorted(commands.split())
        named = " ".join(row.partition(" | ")[0] for row in rows if f"`redisflow {group} " in row)
        for command in commands.split():
            assert f" {command}`" in named or f"`{command}`" in named, (group, command)
