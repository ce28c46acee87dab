"""The record of earlier passes, as replay needs it: what to deliver in which order, and what each call must match.

A replay that does not match is drift (see `drift`): it is found as early as can be, at the call that differs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

from redisflow.records import (
    NOTHING_DELIVERED,
    AttemptFailed,
    Call,
    CallKind,
    ChildAsked,
    ChildEnded,
    ChildStarted,
    CompensationAsked,
    Patched,
    Record,
    RedisAsked,
    RunRecord,
    SignalAsked,
    SignalReceived,
    StepFailed,
    StepRecord,
    StepSucceeded,
    TimerAsked,
    TimerFired,
    UnwindingBegan,
    WorkflowAttemptFailed,
    kind_of,
)
from redisflow.run_views import numbered_live_records

Deliverable = StepSucceeded | StepFailed | TimerFired | SignalReceived | ChildEnded


@dataclass(slots=True)
class Recorded:
    """What the record holds of one call."""

    kind: CallKind
    call: Call
    attempts: int = 0
    """Attempts that failed."""
    due_at_ms: int | None = None
    """When it goes on; None once it has ended, and where only mail ends it."""
    has_started: bool = False
    """Of a child run: it exists."""
    has_ended: bool = False


@dataclass(frozen=True, slots=True)
class Restart:
    """A failed workflow attempt that archived something."""

    first: int
    """Number of the first record that it archived; NEVER where that call alone begins anew."""
    key: str
    """Of the call whose failure that was."""
    number: int
    """Of the record that says so."""


@dataclass(slots=True)
class History:
    """The live records of earlier passes."""

    deliverable: list[tuple[int, Deliverable | UnwindingBegan]] = field(
        default_factory=list[tuple[int, "Deliverable | UnwindingBegan"]]
    )
    """What workflow code was given or is to be given, and where it stopped for good, with the records' numbers."""
    by_key: dict[str, Recorded] = field(default_factory=dict[str, Recorded])
    by_ordinal: dict[int, Recorded] = field(default_factory=dict[int, Recorded])
    restarts: list[Restart] = field(default_factory=list[Restart])
    patches: set[str] = field(default_factory=set[str])
    """Names of the patches that the run has come by."""
    last: int = NOTHING_DELIVERED
    """Number of the last record that is to be delivered."""
    workflow_attempts: int = 0
    """Failed workflow attempts, all of them."""

    @classmethod
    def of(cls, records: Iterable[Record]) -> History:
        """Sort the records of a claim."""
        made = cls()
        everything = list(records)
        for number, record in numbered_live_records(everything):
            if isinstance(record, Patched):
                made.patches.add(record.name)
            elif isinstance(record, UnwindingBegan):
                made.last = number
                made.deliverable.append((number, record))
            elif isinstance(record, WorkflowAttemptFailed):
                made.workflow_attempts += not record.alone
                if record.archived_from is not None:
                    failed = everything[record.archived_from]
                    key = "" if isinstance(failed, RunRecord) else failed.call.key
                    first = NEVER if record.alone else record.archived_from
                    made.restarts.append(Restart(first, key, number))
            else:
                made._add(number, record)
        return made

    def _add(self, number: int, record: StepRecord) -> None:
        known = self.by_key.get(record.call.key)
        if known is None:
            # The first record of a call says what it is: a timer that fires may be that of a sleep or of another wait.
            known = self.by_key[record.call.key] = Recorded(kind_of(record), record.call)
            self.by_ordinal[record.call.ordinal] = known
        match record:
            case StepSucceeded() | StepFailed() | TimerFired() | SignalReceived() | ChildEnded():
                self.last = number
                self.deliverable.append((number, record))
                known.has_ended, known.due_at_ms = True, None
            case AttemptFailed():
                known.attempts, known.due_at_ms = record.attempt, record.due_at_ms
            case ChildStarted():
                known.has_started, known.due_at_ms = True, None
            case ChildAsked() | CompensationAsked() | RedisAsked():
                pass
            case TimerAsked() | SignalAsked():
                known.due_at_ms = record.due_at_ms


NEVER = sys.maxsize
"""No call is made after the delivery of this record."""
NO_HISTORY = History()
"""Of a run that begins; nobody adds to it."""
