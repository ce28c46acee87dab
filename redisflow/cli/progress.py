"""How far something has come, for a person who watches: on standard error, where that is a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Generator
from typing import TypeAlias

from redisflow.cli.output import is_terminal

Tell: TypeAlias = Callable[[int], None]
"""Called with how much is done so far."""


@contextlib.contextmanager
def progress(what: str, total: int | None = None) -> Generator[Tell]:
    """A bar while it is open, gone afterwards; nothing where nobody watches. No total: a count that goes up."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415  # only where a person watches
    from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415  # the same

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}" + ("" if total is None else " of {task.total:,.0f}")),
        console=Console(stderr=True, highlight=False, markup=False),
        transient=True,
        # Lines of results go above the bar where both are on one terminal, and nowhere else than they would.
        redirect_stdout=is_terminal(),
    )
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
