"""`python -m tests.mutants`: show each mutant to the checkers, until one of them finds it. Prints a table.

Ends with 1 where a mutant was found by none. A mutant lives in a copy of the project, so several are shown at a time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.catalog import MUTANTS
from tests.mutants.checkers import CHECKERS, Checker
from tests.mutants.mutant import ROOT, Mutant

PARTS = ("redisflow", "lua", "tests", "examples", "pyproject.toml")
UNTOUCHED = Mutant("(none: the project as it is)", "-", ())


@dataclass(frozen=True, slots=True)
class Shown:
    """What came of one mutant."""

    mutant: Mutant
    found_by: str
    """Empty where nobody did."""
    how: str
    seconds: float
    is_valid: bool = True
    """False where a checker could not even begin."""

    @property
    def is_as_it_should_be(self) -> bool:
        """Whether a mutant was found, and the project was not."""
        return self.is_valid and bool(self.found_by) == (self.mutant is not UNTOUCHED)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose name has these words in it")
    parser.add_argument("--checker", default="", help="checkers whose name has these words in it")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="mutants at a time")
    parser.add_argument("--minutes", type=float, default=43, help="begin no other after this time")
    parser.add_argument(
        "--untouched", action="store_true", help="show the project itself, too: nobody may find anything"
    )
    parser.add_argument("--list", action="store_true", help="list the mutants, and do nothing")
    options = parser.parse_args(arguments)
    chosen = [mutant for mutant in MUTANTS if options.only in mutant.name]
    if options.list:
        print("\n".join(f"{mutant.breaks:10} {mutant.name}" for mutant in chosen))
        return 0
    checkers = [checker for checker in CHECKERS if options.checker in checker.name]
    if options.untouched:
        chosen.insert(0, UNTOUCHED)
    ends_at_s = time.monotonic() + options.minutes * 60
    shown: list[Shown] = []
    with ThreadPoolExecutor(options.processes) as pool:
        for done in pool.map(lambda mutant: _show_in_time(mutant, checkers, ends_at_s), chosen):
            if done is not None:
                shown.append(done)
                print(f"{len(shown):3}/{len(chosen)} {_row(done)}", flush=True)
    print(_summary(shown, len(chosen)))
    return 0 if shown and all(one.is_as_it_should_be for one in shown) else 1


def _show_in_time(mutant: Mutant, checkers: Iterable[Checker], ends_at_s: float) -> Shown | None:
    return show(mutant, checkers) if time.monotonic() < ends_at_s else None


def show(mutant: Mutant, checkers: Iterable[Checker]) -> Shown:
    """Show a mutant to one checker after the other, until one finds something."""
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="redisflow-mutant-") as folder:
        root = Path(folder)
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, root / part, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            else:
                shutil.copy(source, root / part)
        mutant.apply(root)
        for checker in checkers:
            code, how = _check(checker, root)
            if code != 0:
                is_valid = code in {1, None}
                return Shown(mutant, checker.name, how, time.monotonic() - began_s, is_valid)
    return Shown(mutant, "", "", time.monotonic() - began_s)


def _check(checker: Checker, root: Path) -> tuple[int | None, str]:
    """The exit code (None: it hung), and where it found something."""
    with subprocess.Popen(
        checker.command,
        cwd=root,
        env={**os.environ, **checker.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=checker.minutes * 60)
        except subprocess.TimeoutExpired:
            process.terminate()  # its servers end with it
            process.communicate()
            return None, f"nothing after {checker.minutes:g} minutes"
    lines = output.splitlines()
    at = next((number for number, line in enumerate(lines) if line.startswith("failing seeds")), None)
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))] or ([] if at is None else lines[at + 1 :])
    return process.returncode, (failed or lines[-1:] or [""])[0].partition(" - ")[0].strip()


def _row(one: Shown) -> str:
    found = one.found_by or "NOBODY"
    if not one.is_valid:
        found = f"INVALID ({one.found_by})"
    return f"{one.mutant.breaks:10} {one.mutant.name:60} {found:22} {one.seconds:5.0f} s  {one.how[:110]}"


def _summary(shown: Sequence[Shown], wanted: int) -> str:
    mutants = [one for one in shown if one.mutant is not UNTOUCHED]
    found = [one for one in mutants if one.is_as_it_should_be]
    lines = [f"{len(found)} of {len(mutants)} mutants were found"]
    lines += [f"  {sum(one.found_by == checker.name for one in found):3} by {checker.name}" for checker in CHECKERS]
    lines += [f"  NOT FOUND: {one.mutant.name}" for one in shown if not one.is_as_it_should_be]
    if len(shown) < wanted:
        lines.append(f"  left out, because the time was up: {wanted - len(shown)}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
