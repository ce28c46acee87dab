"""Types, end to end: two checkers, both strict, infer what they must and report what is wrong.

`wrong_uses.py` tells both to pass over each wrong line, so that `make check` stays clean; here they look at a copy that
does not.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent

Reported = dict[int, str]
"""What was said, by line."""


def run(*command: str) -> str:
    """Return what a checker prints; that it found something is no failure of its own."""
    program = Path(sys.executable).parent / command[0]
    result = subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode in {0, 1}, result.stdout + result.stderr
    return result.stdout


def by_mypy(files: list[Path]) -> dict[str, Reported]:
    # A cache of its own: checks beside each other must not share one.
    output = run("mypy", "--strict", "--no-error-summary", "--cache-dir=.mypy_cache/typing", *map(str, files))
    reported: dict[str, Reported] = {file.name: {} for file in files}
    for line in output.splitlines():
        if (found := re.match(r"(\S+\.py):(\d+): error: (.*)", line)) and Path(found[1]).name in reported:
            reported[Path(found[1]).name][int(found[2])] = found[3]
    return reported


def by_pyright(files: list[Path]) -> dict[str, Reported]:
    # pyproject.toml says how strict it is.
    answer = json.loads(run("pyright", "--outputjson", *map(str, files)))
    reported: dict[str, Reported] = {file.name: {} for file in files}
    for found in answer["generalDiagnostics"]:
        if found["severity"] == "error":
            reported[Path(found["file"]).name][found["range"]["start"]["line"] + 1] = found["message"]
    return reported


CHECKERS: dict[str, Callable[[list[Path]], dict[str, Reported]]] = {"mypy": by_mypy, "pyright": by_pyright}


@pytest.fixture(scope="module", params=list(CHECKERS))
def reported(
    request: pytest.FixtureRequest, missing: Callable[[str], NoReturn], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Reported]:
    """Return what one checker says of the right uses, the wrong ones, and the wrong ones without their excuses."""
    if not (Path(sys.executable).parent / request.param).exists():
        missing(f"{request.param} is not installed")
    bare = tmp_path_factory.mktemp("typing") / "bare_wrong_uses.py"
    text = (HERE / "wrong_uses.py").read_text(encoding="utf-8")
    bare.write_text(re.sub(r"  # type: ignore\[[a-z,-]+\]", "", text), encoding="utf-8")
    return CHECKERS[request.param]([HERE / "right_uses.py", HERE / "wrong_uses.py", bare])


def marked_lines() -> dict[int, str]:
    lines = (HERE / "wrong_uses.py").read_text(encoding="utf-8").splitlines()
    return {number: line.strip() for number, line in enumerate(lines, 1) if "# error:" in line}


def test_right_uses_have_exactly_the_types_that_they_say(reported: dict[str, Reported]) -> None:
    assert reported["right_uses.py"] == {}


def test_every_wrong_use_is_reported(reported: dict[str, Reported]) -> None:
    missed = {number: line for number, line in marked_lines().items() if number not in reported["bare_wrong_uses.py"]}
    assert missed == {}


def test_nothing_but_the_wrong_uses_is_reported(reported: dict[str, Reported]) -> None:
    marked = marked_lines()
    surplus = {number: said for number, said in reported["bare_wrong_uses.py"].items() if number not in marked}
    assert surplus == {}
    assert reported["wrong_uses.py"] == {}, "an excuse that nothing needs any more"


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "redisflow" / "py.typed").exists()
