"""The one log of `redisflow dev`, on standard error: what the worker logs, what users print, what is done here.

On a terminal it is coloured, and run ids lead to the dashboard. Elsewhere it is plain text, a line for each thing.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, cast

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from redisflow.cli.dev.between import MARK
from redisflow.cli.output import printable

_RUN_ID = re.compile(r"\b[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}\b")
_LEVELS = {"DEBUG": "", "INFO": "", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}
_SOURCES = {"dev": "bold cyan", "worker": "green", "dashboard": "blue", "app": "magenta"}
_EVENTS = {"run.succeeded": "green", "run.failed": "red", "run.suspended": "red", "run.stranded": "yellow"}
_WIDTH = max(map(len, _SOURCES))


class DevLog:
    """See the module."""

    def __init__(self, console: Console | None = None) -> None:
        """By default it writes to standard error."""
        self._console = console or Console(stderr=True, highlight=False, markup=False, emoji=False)
        self.dashboard: str | None = None
        """Where run ids lead."""

    @property
    def is_terminal(self) -> bool:
        """Whether a person reads it."""
        return self._console.is_terminal

    def say(self, text: str, level: str = "INFO") -> None:
        """What is done here."""
        self._line("dev", text, _LEVELS[level])

    def of_worker(self, line: str) -> None:
        """A line of the worker's process: a record of its log, or what code of users printed."""
        record = _read_record(line)
        if record is None:
            self._line("app", line, "")
            return
        source = "worker" if str(record["logger"]).startswith("redisflow") else "app"
        style = _LEVELS.get(str(record["level"]), "")
        self._line(source, _message(record), style)
        for more in str(record["error"] or "").splitlines():
            self._line(source, more, "dim")

    def of_dashboard(self, line: str) -> None:
        """A line of the dashboard's process."""
        self._line("dashboard", line, "")

    def facts(self, rows: Iterable[tuple[str, str]]) -> None:
        """Names and values, one below the other."""
        for name, value in rows:
            self._print(Text.assemble((f"  {name:<{_WIDTH}}  ", "dim"), self._linked(printable(value), "")))

    def trouble(self, title: str, lines: Sequence[str]) -> None:
        """What keeps code of users from being taken up: a panel for people, or lines."""
        if self.is_terminal:
            text = Text("\n").join(Text(printable(line)) for line in lines)
            self._console.print(Panel(text, title=Text(printable(title), "bold red"), border_style="red", expand=False))
            return
        self._line("dev", title, "")
        for line in lines:
            self._line("dev", f"  {line}", "")

    def _line(self, source: str, text: str, style: str) -> None:
        now = datetime.now().astimezone().strftime("%H:%M:%S")
        head = ((f"{now} ", "dim"), (f"{source:<{_WIDTH}}  ", _SOURCES[source]))
        self._print(Text.assemble(*head, self._linked(printable(text), style)))

    def _linked(self, text: str, style: str) -> Text:
        shown = Text(text, style)
        for event, colour in _EVENTS.items():
            if text.startswith(event):
                shown.stylize(colour, 0, len(event))
        if self.is_terminal and self.dashboard is not None:
            for found in _RUN_ID.finditer(text):
                shown.stylize(f"link {self.dashboard}/runs/{found[0]}", *found.span())
        return shown

    def _print(self, text: Text) -> None:
        with contextlib.suppress(OSError):  # nobody reads it any more, and processes are still to be ended
            self._console.print(text, soft_wrap=True)


def _read_record(line: str) -> dict[str, Any] | None:
    if not line.startswith(MARK):
        return None
    try:
        read: object = json.loads(line[1:])
    except ValueError:
        return None
    if not isinstance(read, dict):
        return None
    record = cast("dict[str, Any]", read)
    return record if {"level", "logger", "message", "error"} <= record.keys() else None


def _message(record: dict[str, Any]) -> str:
    """With the run and its workflow, where the words do not name them."""
    text, run_id, workflow = str(record["message"]), record.get("run_id"), record.get("workflow")
    for name in (workflow, run_id):
        if name and str(name) not in text:
            text = f"{text} {name}"
    return text
