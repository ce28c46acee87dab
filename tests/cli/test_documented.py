"""Every `redisflow ...` line of the documentation is understood, and every command is documented."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from redisflow.cli.app import make_app
from redisflow.cli.commands import GROUPS, SINGLE, Command
from redisflow.cli.worker import make_parser
from tests.cli.conftest import Cli

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
        "workers": "list runs drain",
        "namespace": "list create delete",
        "config": "show",
    }.items():
        known = [name for name in make_app()[group].resolved_commands() if not name.startswith("-")]
        assert sorted(known) == sorted(commands.split())
        named = " ".join(row.partition(" | ")[0] for row in rows if f"`redisflow {group} " in row)
        for command in commands.split():
            assert f" {command}`" in named or f"`{command}`" in named, (group, command)


COMMANDS: dict[tuple[str, ...], Command] = {
    **{(group.name, each.name): each for group in GROUPS for each in group.commands},
    **{(each.name,): each for each in SINGLE},
}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
async def test_help_says_what_each_option_is_and_gives_an_example_that_is_understood(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
):
    monkeypatch.setenv("COLUMNS", "80")
    example = COMMANDS[words].example
    assert example.startswith(" ".join(words))
    if words == ("worker",):
        make_parser().parse_args(shlex.split(example)[1:])
        assert f"Example: redisflow {example}" in make_parser().format_help()
        return
    make_app().parse_args(shlex.split(example), exit_on_error=False, print_error=False)
    command = make_app()
    for word in words:
        command = command[word]
    shown = [each for each in command.assemble_argument_collection() if each.show and each.parameter.name != ("*",)]
    assert [each.name for each in shown if not each.parameter.help] == []
    said = await cli(*words, "--help")
    assert f"\n\nExample: redisflow {example}\n" in said.out
    assert max(map(len, said.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["rnu"], 'Did you mean "run"\\? .*\\(redisflow --help\\)'),
        (["run", "show", "--foo"], "Unknown option: --foo.*\\(redisflow run show --help\\)"),
        (["run", "signal", "01a21e24549672daa8dc55d758c10000"], "is a run, and the name of the signal comes first"),
        (["run", "lst"], 'Did you mean "list"\\? .*\\(redisflow run --help\\)'),
        (["run", "list", "--limt", "3"], "Did you mean --limit\\?"),
    ],
)
async def test_what_is_mistyped_is_answered_with_what_is_nearest(cli: Cli, words: list[str], says: str):
    said = await cli(*words)
    assert (said.code, bool(re.search(says, said.err))) == (2, True)
