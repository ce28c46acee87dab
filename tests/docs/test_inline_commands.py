"""Commands that are named in the middle of a sentence are ones that there are, with options that they have.

Whole lines of shell blocks are looked at by tests/cli/test_documented.py.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from cyclopts import MissingArgumentError

from redisflow.cli.app import make_app
from redisflow.cli.worker import make_parser

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *(page for page in sorted(DOCS.rglob("*.md")) if page.parent.name != "decisions")]
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`redisflow ([a-z][^`]*)`")
COMMANDS = sorted(
    {
        " ".join(re.sub(r"<\w+>|\.\.\.", "X", found).split())
        for page in PAGES
        for found in INLINE.findall(FENCED.sub("", page.read_text(encoding="utf-8")))
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_in_a_sentence_is_understood(command: str):
    words = shlex.split(command)
    if words[0] == "worker":
        parser = make_parser()
        known = {option for action in parser._actions for option in action.option_strings}
        named = {word for word in words if word.startswith("--")}
        assert named <= known
        return
    app = make_app()
    try:
        app.parse_args(words, exit_on_error=False, print_error=False)
    except MissingArgumentError:
        # A sentence may name a command without what it needs; a word that is none of its own is another error.
        assert words[-1] in list(app[words[0]]) or len(words) > 2


def test_there_are_such_commands():
    assert len(COMMANDS) > 20
