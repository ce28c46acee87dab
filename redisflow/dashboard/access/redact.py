"""What of payloads leaves the process: each value passes a hook of the user's first, in pages and in the API."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from redisflow import documents
from redisflow.client.buffered import BufferedSignal
from redisflow.client.events import Event
from redisflow.documents import Document
from redisflow.run_history import HistoryEntry
from redisflow.runs import StepRun, WorkflowRun

Path: TypeAlias = tuple[str | int, ...]
"""Where a value stands: `("input", "card", "number")`, `("steps", "charge", "output", 0)`."""
Redact: TypeAlias = Callable[[Path, Any], Any]
"""Called with each value of a payload, lists and dicts before what is in them; what it returns takes the value's place.

What it replaces is not gone into. Values are as JSON has them. Keys of dicts are part of the path, and are shown.
"""

HIDDEN: Final = "[hidden: redaction failed]"
"""Stands for a value for which the hook raised an error."""

_logger = logging.getLogger("redisflow.dashboard")


class Redactor:
    """Documents of runs and events, redacted. Without a hook they are as `redisflow.documents` makes them.

    Inputs, results, errors, what running steps say of themselves, data of events and of signals are payloads. Names,
    ids, tags and times are not: they are in lists that no hook sees.
    """

    def __init__(self, hook: Redact | None = None) -> None:
        """With the user's hook."""
        self._hook = hook

    def value(self, path: Path, value: Any) -> Any:
        """A payload, or a part of one."""
        plain = documents.jsonable(value)
        return plain if self._hook is None else self._walk(self._hook, path, plain)

    def run(self, run: WorkflowRun) -> Document:
        """`documents.of_run`."""
        return self._payloads(documents.of_run(run), (), ("input", "output", "error")) | {
            "steps": [self.step(step) for step in run.steps]
        }

    def step(self, step: StepRun) -> Document:
        """`documents.of_step`."""
        place = ("steps", step.key)
        document = self._payloads(documents.of_step(step), place, ("output", "error", "progress"))
        attempts = [
            self._payloads(attempt, (*place, "attempts", number), ("error",))
            for number, attempt in enumerate(document["attempts"])
        ]
        return document | {"attempts": attempts}

    def signal(self, signal: BufferedSignal) -> Document:
        """A signal that was not taken."""
        return {
            "number": signal.number,
            "name": signal.name,
            "data": self.value(("signals", signal.name), signal.data),
        }

    def history(self, entry: HistoryEntry) -> Any:
        """The error of an entry of the record. It is one of the run's or its steps', and is hidden as they are."""
        shown: Any = documents.of_failure(entry.error)
        for place in _places_of(entry) if shown is not None else ():
            shown = self.value(place, shown)
        return shown

    def event(self, event: Event) -> Document:
        """An event as a document."""
        return {
            "id": event.id,
            "kind": event.kind,
            "data": self.value(("events", event.kind), event.data),
            "step": event.step,
            "attempt": event.attempt,
            "at": documents.iso(event.at),
            "is_after_gap": event.is_after_gap,
        }

    def _payloads(self, document: Document, place: Path, names: tuple[str, ...]) -> Document:
        hook = self._hook
        if hook is None:
            return document
        changed = {
            name: self._walk(hook, (*place, name), document[name]) for name in names if document[name] is not None
        }
        return document | changed

    def _walk(self, hook: Redact, path: Path, value: Any) -> Any:
        try:
            shown = hook(path, value)
            if shown is not value:
                return documents.jsonable(shown)
        except Exception as error:  # noqa: BLE001  # the hook is the user's: whatever it raises, nothing is shown
            _logger.warning("the redaction hook failed: %s", type(error).__name__)
            return HIDDEN
        parts: Any = value
        if isinstance(value, dict):
            return {key: self._walk(hook, (*path, key), each) for key, each in parts.items()}
        if isinstance(value, list):
            return [self._walk(hook, (*path, number), each) for number, each in enumerate(parts)]
        return value


def _places_of(entry: HistoryEntry) -> list[Path]:
    """Where `Redactor.run` has its error: as that of an attempt, and, if it was the last one, as that of the step."""
    if entry.step is None:
        return [("error",)]
    places: list[Path] = [("steps", entry.step, "error")]
    return places if entry.attempt is None else [*places, ("steps", entry.step, "attempts", entry.attempt - 1, "error")]
