"""Asking before much is changed, and saying what is meant."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from redisflow.cli.exits import EXIT_FAILED, EXIT_USAGE
from redisflow.cli.output import is_terminal, note, printable
from redisflow.words import first_of


def refusal(doing: str, names: Sequence[str] = (), *, is_sure: bool) -> int | None:
    """The exit code where it is not to be done; None where somebody is sure, or says so now.

    Where nobody can be asked, only `--yes` is an answer.
    """
    if is_sure:
        return None
    if not (is_terminal() and sys.stdin.isatty()):
        note(f"redisflow: this would {doing}: add --yes (or --dry-run)")
        return EXIT_USAGE
    sys.stderr.write(printable(f"{doing}{named(names)}? [y/N] "))
    sys.stderr.flush()
    return None if sys.stdin.readline().strip().lower() in {"y", "yes"} else EXIT_FAILED


def named(names: Sequence[str]) -> str:
    """The first of them, in brackets."""
    return f" ({first_of(names)})" if names else ""
