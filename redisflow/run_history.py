"""A run's record as a list for people: what was recorded when, entry by entry, without payloads.

The steps of a `WorkflowRun` tell how things stand; this tells how it came to that, with what no longer counts since a
workflow attempt failed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from redisflow.durations import from_ms
from redisflow.errors import CannotDecode
from redisflow.failure import Failure
from redisflow.records import Record, RunRecord, decode_record
from redisflow.run_views import numbered_live_records

_WORD = re.compile(r"(?<!^)(?=[A-Z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """Something that was recorded."""

    number: int
    """Its place in the record, from 0."""
    at: datetime
    what: str
    """`step succeeded`, `attempt failed`, `timer asked`, ..."""
    step: str | None
    """The key of the step, sleep, wait or child; None where it is about the run as a whole."""
    attempt: int | None
    due_at: datetime | None
    """When what it asked for is due."""
    child_id: str | None
    error: Failure | None = field(repr=False)
    counts: bool
    """Whether it still counts: what a failed attempt of the workflow archived does not."""

    def __str__(self) -> str:
        """For people, in a line."""
        step = f" {self.step}" if self.step else ""
        tried = f", attempt {self.attempt}" if self.attempt and self.attempt > 1 else ""
        due = f", due {self.due_at:%Y-%m-%d %H:%M:%S} UTC" if self.due_at else ""
        return f"{self.number} {self.at:%Y-%m-%d %H:%M:%S} UTC{step}: {self.what}{tried}{due}"


def view_history(run_id: str, fields: Mapping[bytes, bytes]) -> Sequence[HistoryEntry]:
    """From a run's hash. CannotDecode where it holds none that this version can read."""
    try:
        base_ms = int(fields.get(b"a", fields[b"c"]))
        count = min(int(fields[b"h"].partition(b":")[0]), len(fields))
        records = [decode_record(fields[b"%d" % number], base_ms) for number in range(count)]
        live = {number for number, _ in numbered_live_records(records)}
        return [_entry(number, record, counts=number in live) for number, record in enumerate(records)]
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        msg = (
            f"the record of run {run_id} cannot be read: it is damaged, or of a later version ({type(error).__name__})"
        )
        raise CannotDecode(msg) from error


def _entry(number: int, record: Record, *, counts: bool) -> HistoryEntry:
    due_ms: int | None = getattr(record, "due_at_ms", None)
    said: Any = record
    return HistoryEntry(
        number=number,
        at=from_ms(record.at_ms),
        what=_WORD.sub(" ", type(record).__name__).lower(),
        step=None if isinstance(record, RunRecord) else record.call.key,
        attempt=getattr(said, "attempt", None),
        due_at=None if due_ms is None else from_ms(due_ms),
        child_id=getattr(said, "run_id", None),
        error=getattr(said, "failure", None),
        counts=counts,
    )
