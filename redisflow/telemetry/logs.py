"""Which run a line of the log is about, and lines as JSON: for the handlers of an application.

Both are put on a handler:

    handler = logging.StreamHandler()
    handler.addFilter(RunFields())
    handler.setFormatter(JsonLines())
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from redisflow.authoring.body import current_body, current_run

FIELDS = ("run_id", "workflow", "step", "attempt")
"""What a line about a run has beside its text. One that is about no step has neither of the last two."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class RunFields(logging.Filter):
    """Gives each record these fields, and lets all pass.

    What a step's body and workflow code log, with whichever logger, is about their run; other lines say by themselves
    which run they are about, where they are about one. A field that has no value is None, so that a format may name it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Complete it."""
        said = vars(record)
        body = None if "run_id" in said else current_body.get()
        if body is not None:
            said |= {"run_id": body.run_id, "workflow": body.workflow, "step": body.key, "attempt": body.attempt}
        elif "run_id" not in said and (run := current_run.get()) is not None:
            said |= run
        for name in FIELDS:
            said.setdefault(name, None)
        return True


class JsonLines(logging.Formatter):
    """Each record as one line of JSON: time, level, logger, message, its fields, and an exception's traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, without a line break in it."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD and value is not None:
                line.setdefault(name, value)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        try:
            return json.dumps(line, default=str)
        except (TypeError, ValueError):  # keys of a dict that are no text, a ring
            return json.dumps({name: str(value) for name, value in line.items()})
