"""Asking before much is changed, and saying what is meant."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from redisflow.cli.exits import NotSure
from redisflow.cli.output import is_terminal, printable
from redisflow.words import first_of


def is_meant(doing: str, names: Sequence[str] = (), *, is_sure: bool) -> bool:
    """Whether somebody is sure, or says so now. Where nobody can be asked, only `--yes` is an answer: NotSure."""
    if is_sure:
        return True
    if not (is_terminal() and sys.stdin.isatty()):
        msg = f"this would {doing}: add --yes (or --dry-run)"
        raise NotSure(msg)
    sys.stderr.write(printable(f"{doing}{named(names)}? [y/N] "))
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def named(names: Sequence[str]) -> str:
    """The first of them, in brackets."""
    return f" ({first_of(names)})" if names else ""
