"""What a run's records say of its steps: what it waited for, since when, and how many steps have ended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from redisflow.contract import Claim
from redisflow.errors import CannotDecode
from redisflow.records import (
    ChildAsked,
    ChildEnded,
    Record,
    SignalAsked,
    SignalReceived,
    StepFailed,
    StepSucceeded,
    TimerAsked,
    TimerFired,
    decode_record,
)

WaitKind = Literal["sleep", "wait_for_signal", "run_workflow"]
_KINDS: dict[type, WaitKind] = {TimerAsked: "sleep", SignalAsked: "wait_for_signal", ChildAsked: "run_workflow"}


@dataclass(frozen=True, slots=True)
class EndedWait:
    """Something that a run waited for."""

    key: str
    kind: WaitKind
    asked_at_ms: int
    ended_at_ms: int
    due_at_ms: int | None
    """When it was to end by itself."""
    outcome: str
    """`fired` (a sleep), `received`, `timed_out`, or how a child ended."""


class KnownSteps:
    """Of one claimed run, as its record grows. Its older records are read when they are first asked for."""

    def __init__(self, claim: Claim) -> None:
        """Nothing is read yet."""
        self._claim = claim
        self._is_read = False
        self._asked: dict[str, TimerAsked | SignalAsked | ChildAsked] = {}
        self._ended: set[str] = set()

    def add(self, records: Iterable[Record]) -> list[EndedWait]:
        """Records that are new; which waits have ended with them."""
        waits: list[EndedWait] = []
        for record in records:
            self._note(record)
            if isinstance(record, TimerFired | SignalReceived | ChildEnded | StepFailed):
                wait = self._wait_of(record)
                if wait is not None:
                    waits.append(wait)
        return waits

    @property
    def ended(self) -> int:
        """How many steps have ended, waits included."""
        self._read()
        return len(self._ended)

    def _note(self, record: Record) -> None:
        if isinstance(record, TimerAsked | SignalAsked | ChildAsked):
            self._asked[record.call.key] = record
        elif isinstance(record, StepSucceeded | StepFailed | TimerFired | SignalReceived | ChildEnded):
            self._ended.add(record.call.key)

    def _wait_of(self, record: TimerFired | SignalReceived | ChildEnded | StepFailed) -> EndedWait | None:
        key = record.call.key
        if key not in self._asked:
            if isinstance(record, StepFailed) and record.started_at_ms != record.at_ms:
                return None  # a body ran
            self._read()
        asked = self._asked.pop(key, None)
        if asked is None:
            return None
        due_at_ms = None if isinstance(asked, ChildAsked) else asked.due_at_ms
        return EndedWait(key, _KINDS[type(asked)], asked.at_ms, record.at_ms, due_at_ms, _outcome(asked, record))

    def _read(self) -> None:
        if self._is_read:
            return
        self._is_read = True
        late = dict(self._asked)
        for data in self._claim.records:
            try:
                self._note(decode_record(data, self._claim.started_at_ms))
            except CannotDecode:
                return  # of a later version: then there is less to tell
        self._asked |= late


def _outcome(asked: Record, record: Record) -> str:
    if isinstance(record, ChildEnded):
        return record.status
    if isinstance(record, TimerFired):
        return "fired" if isinstance(asked, TimerAsked) else "timed_out"
    return "received" if isinstance(record, SignalReceived) else "failed"
