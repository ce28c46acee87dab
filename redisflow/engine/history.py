"""The record of earlier passes, as replay needs it: what to deliver in which order, and what each call must match.

A replay that does not match is drift: the code has changed under a run. It is found as early as can be, at the call
that differs, so that the message can show the line of the record beside what the code asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

from redisflow.engine.refusals import calling_line
from redisflow.errors import NonDeterminismError
from redisflow.records import (
    AttemptFailed,
    Call,
    CallKind,
    ChildAsked,
    ChildEnded,
    ChildStarted,
    Record,
    SignalAsked,
    SignalReceived,
    StepFailed,
    StepSucceeded,
    TimerAsked,
    TimerFired,
    WorkflowAttemptFailed,
    kind_of,
)
from redisflow.runs import numbered_live_records

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

    deliverable: list[tuple[int, Deliverable]] = field(default_factory=list[tuple[int, Deliverable]])
    """What workflow code was given or is to be given, with the records' numbers."""
    by_key: dict[str, Recorded] = field(default_factory=dict[str, Recorded])
    by_ordinal: dict[int, Recorded] = field(default_factory=dict[int, Recorded])
    restarts: list[Restart] = field(default_factory=list[Restart])
    workflow_attempts: int = 0
    """Failed workflow attempts, all of them."""

    @classmethod
    def of(cls, records: Iterable[Record]) -> History:
        """Sort the records of a claim."""
        made = cls()
        everything = list(records)
        for number, record in numbered_live_records(everything):
            if isinstance(record, WorkflowAttemptFailed):
                made.workflow_attempts += not record.alone
                if record.archived_from is not None:
                    failed = everything[record.archived_from]
                    key = "" if isinstance(failed, WorkflowAttemptFailed) else failed.call.key
                    first = NEVER if record.alone else record.archived_from
                    made.restarts.append(Restart(first, key, number))
            else:
                made._add(number, record)
        return made

    def _add(self, number: int, record: Record) -> None:
        assert not isinstance(record, WorkflowAttemptFailed)  # noqa: S101  # narrowing: `of` sorts these out
        known = self.by_key.get(record.call.key)
        if known is None:
            # The first record of a call says what it is: a timer that fires may be that of a sleep or of another wait.
            known = self.by_key[record.call.key] = Recorded(kind_of(record), record.call)
            self.by_ordinal[record.call.ordinal] = known
        match record:
            case StepSucceeded() | StepFailed() | TimerFired() | SignalReceived() | ChildEnded():
                self.deliverable.append((number, record))
                known.has_ended, known.due_at_ms = True, None
            case AttemptFailed():
                known.attempts, known.due_at_ms = record.attempt, record.due_at_ms
            case ChildStarted():
                known.has_started, known.due_at_ms = True, None
            case ChildAsked():
                pass
            case TimerAsked() | SignalAsked():
                known.due_at_ms = record.due_at_ms

    def match(self, kind: CallKind, call: Call) -> Recorded | None:
        """What the record holds of this call, or None; NonDeterminismError where it holds something else."""
        known = self.by_key.get(call.key)
        if known is None:
            other = self.by_ordinal.get(call.ordinal)
            if other is None:
                return None
            raise _asked_for_another(other, kind, call)
        if known.kind != kind or known.call != call:
            raise _asked_for_another(known, kind, call)
        return known


NEVER = sys.maxsize
"""No call is made after the delivery of this record."""
NO_HISTORY = History()
"""Of a run that begins; nobody adds to it."""


_CALLS = {"signal": "wait_for_signal", "child": "run_workflow"}
"""How the calls of a kind are written, where it is not as their kind."""


def never_asked(known: Recorded) -> NonDeterminismError:
    """The record holds a call that the code has not made by the time at which it had made it."""
    return NonDeterminismError(_difference(known, "does not ask for it, or does not wait for it, at this point"))


def _asked_for_another(known: Recorded, kind: CallKind, call: Call) -> NonDeterminismError:
    return NonDeterminismError(_difference(known, f"{_line(kind, call)}, {calling_line()}"))


def _difference(known: Recorded, instead: str) -> str:
    return (
        "the code no longer does what the record of this run says. Deploy code that matches, or start the run anew\n"
        f"  - record: {_line(known.kind, known.call)}\n"
        f"  + code:   {instead}"
    )


def _line(kind: str, call: Call) -> str:
    after = "at the start" if call.mark < 0 else f"after record {call.mark}"
    return f"step.{_CALLS.get(kind, kind)}({call.key!r}), call number {call.ordinal}, {after}"
