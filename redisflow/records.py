"""The record of a run: an append-only list of facts, numbered by its holder alone, from which every pass is replayed.

Each record carries the key and the ordinal of the call that it belongs to, and the number of the last record that had
been delivered when that call was made: with these a replay can tell whether the code still asks for the same things at
the same points. The hard thing is size: with small values a run stays in Redis's compact hash encoding only while each
field has at most 64 bytes, so times are stored as differences and a result's payload follows the header as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from redisflow import codec
from redisflow.errors import CannotDecode
from redisflow.failure import Failure

NOTHING_DELIVERED = -1


# Not frozen, though nobody changes them, are those that every step needs: see contract.py.


@dataclass(slots=True)
class Call:
    """Which call of the workflow's code a record belongs to."""

    key: str
    """Its memo key: the step's name, with `#n` where the name was used before."""
    ordinal: int
    """Its place among all calls of the run, from 0."""
    mark: int
    """Number of the last record delivered when it was made, or NOTHING_DELIVERED."""


@dataclass(slots=True)
class StepSucceeded:
    """A step's body returned, on attempt number `attempt`."""

    call: Call
    attempt: int
    started_at_ms: int
    at_ms: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class StepFailed:
    """A step failed for good: its policy is spent, or the error is not retryable."""

    call: Call
    attempt: int
    started_at_ms: int
    at_ms: int
    failure: Failure
    timed_out: bool


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """An attempt of a step failed; the next is due at `due_at_ms`."""

    call: Call
    attempt: int
    started_at_ms: int
    at_ms: int
    failure: Failure
    due_at_ms: int


@dataclass(frozen=True, slots=True)
class TimerAsked:
    """A durable sleep began; it keeps its due time over every later claim."""

    call: Call
    at_ms: int
    due_at_ms: int


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A durable sleep ended, or the time to wait for a signal was over."""

    call: Call
    at_ms: int


@dataclass(frozen=True, slots=True)
class SignalAsked:
    """The run waits for a signal, until `due_at_ms` if that is not None."""

    call: Call
    at_ms: int
    due_at_ms: int | None


@dataclass(frozen=True, slots=True)
class SignalReceived:
    """A signal was taken from the run's mailbox: here is what it said."""

    call: Call
    at_ms: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class ChildAsked:
    """A child run is to be started, and its end to be waited for."""

    call: Call
    at_ms: int
    run_id: str


@dataclass(frozen=True, slots=True)
class ChildStarted:
    """The child run exists."""

    call: Call
    at_ms: int


@dataclass(frozen=True, slots=True)
class ChildEnded:
    """The child run has ended: how, why if from outside, and with which output or failure (as stored)."""

    call: Call
    at_ms: int
    status: str
    cause: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class CompensationAsked:
    """What is to undo something was put on the run's stack: its body starts only once it is needed."""

    call: Call
    at_ms: int


@dataclass(frozen=True, slots=True)
class RedisAsked:
    """A `step.redis`: its script has run, in the step that wrote this. What came of it is in the mailbox."""

    call: Call
    at_ms: int


@dataclass(frozen=True, slots=True)
class UnwindingBegan:
    """From here on the run is lost, and only its compensations run.

    `failure` is what its code ended with; None where a verdict from outside (cancel, deadline) is the reason.
    """

    at_ms: int
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class Patched:
    """The run came to this patch with the code that has it: there, it goes the new way."""

    at_ms: int
    name: str


@dataclass(frozen=True, slots=True)
class WorkflowAttemptFailed:
    """The workflow failed under a retry policy of its own; another attempt is due at `due_at_ms`.

    `archived_from` is the number of the record whose delivery began the failure: it, and all that was asked for after
    its delivery, no longer counts. None where workflow code failed on its own: then every record stays. Where it stands
    `alone`, no attempt has failed: only the call of that record begins anew, a child run that was given up.
    """

    at_ms: int
    due_at_ms: int
    failure: Failure
    archived_from: int | None
    alone: bool = False


StepRecord: TypeAlias = (
    StepSucceeded
    | StepFailed
    | AttemptFailed
    | TimerAsked
    | TimerFired
    | SignalAsked
    | SignalReceived
    | ChildAsked
    | ChildStarted
    | ChildEnded
    | CompensationAsked
    | RedisAsked
)
RunRecord: TypeAlias = WorkflowAttemptFailed | UnwindingBegan | Patched
"""Of the run as a whole: it belongs to no call."""
Record: TypeAlias = StepRecord | RunRecord
CallKind: TypeAlias = Literal["run", "sleep", "signal", "child", "compensation", "redis"]


def kind_of(record: StepRecord) -> CallKind:
    """What kind of call a record tells of, if it is the first of its call: a timer may be that of another wait, too."""
    match record:
        case TimerAsked() | TimerFired():
            return "sleep"
        case SignalAsked() | SignalReceived():
            return "signal"
        case ChildAsked() | ChildStarted() | ChildEnded():
            return "child"
        case CompensationAsked():
            return "compensation"
        case RedisAsked():
            return "redis"
        case StepSucceeded() | StepFailed() | AttemptFailed():
            return "run"


_SUCCEEDED, _FAILED, _ATTEMPT, _ASKED, _FIRED, _WORKFLOW, _SIGNAL_ASKED, _SIGNAL_RECEIVED = range(8)
_CHILD_ASKED, _CHILD_STARTED, _CHILD_ENDED = range(8, 11)
_COMPENSATION_ASKED, _UNWINDING, _PATCHED, _REDIS_ASKED = range(11, 15)


def encode_record(record: Record, base_ms: int) -> bytes:
    """The record as stored; times become differences to `base_ms`, the instant at which the run was first claimed."""
    if isinstance(record, StepSucceeded):
        call = record.call
        header = codec.encode_plain(
            [
                _SUCCEEDED,
                call.key,
                call.ordinal,
                call.mark,
                record.at_ms - base_ms,
                record.at_ms - record.started_at_ms,
                record.attempt,
            ]
        )
        return bytes((len(header),)) + header + record.payload
    if isinstance(record, WorkflowAttemptFailed):
        at, due = record.at_ms - base_ms, record.due_at_ms - base_ms
        alone = [True] if record.alone else []
        return b"\0" + codec.encode([_WORKFLOW, at, due, record.archived_from, record.failure.to_wire(), *alone])
    if isinstance(record, UnwindingBegan):
        failure = None if record.failure is None else record.failure.to_wire()
        return b"\0" + codec.encode([_UNWINDING, record.at_ms - base_ms, failure])
    if isinstance(record, Patched):
        return b"\0" + codec.encode([_PATCHED, record.at_ms - base_ms, record.name])
    kind, rest = _WRITERS[type(record)]
    call = record.call
    fields = [kind, call.key, call.ordinal, call.mark, record.at_ms - base_ms, *rest(record, base_ms)]
    return b"\0" + codec.encode(fields)


def _since(instant_ms: int | None, base_ms: int) -> int | None:
    return None if instant_ms is None else instant_ms - base_ms


def _took(record: AttemptFailed | StepFailed) -> int:
    return record.at_ms - record.started_at_ms


_WRITERS: dict[type, tuple[int, Callable[[Any, int], list[object]]]] = {
    StepFailed: (_FAILED, lambda r, _: [_took(r), r.attempt, r.timed_out, r.failure.to_wire()]),
    AttemptFailed: (_ATTEMPT, lambda r, base: [_took(r), r.attempt, r.due_at_ms - base, r.failure.to_wire()]),
    TimerAsked: (_ASKED, lambda r, base: [r.due_at_ms - base]),
    TimerFired: (_FIRED, lambda _r, _: []),
    SignalAsked: (_SIGNAL_ASKED, lambda r, base: [_since(r.due_at_ms, base)]),
    SignalReceived: (_SIGNAL_RECEIVED, lambda r, _: [r.payload]),
    ChildAsked: (_CHILD_ASKED, lambda r, _: [r.run_id]),
    ChildStarted: (_CHILD_STARTED, lambda _r, _: []),
    ChildEnded: (_CHILD_ENDED, lambda r, _: [r.status, r.cause, r.payload]),
    CompensationAsked: (_COMPENSATION_ASKED, lambda _r, _: []),
    RedisAsked: (_REDIS_ASKED, lambda _r, _: []),
}
"""Of each kind of record, its number and what follows the call and the time that all have."""


def decode_record(data: bytes, base_ms: int) -> Record:
    """Read a stored record; CannotDecode where it is not one (a newer layout, or a damaged run)."""
    try:
        length = data[0]
        if length:
            _, key, ordinal, mark, at, took, attempt = codec.decode(data[1 : 1 + length])
            at_ms = base_ms + at
            return StepSucceeded(Call(key, ordinal, mark), attempt, at_ms - took, at_ms, data[1 + length :])
        kind, *fields = codec.decode(data[1:])
        return _READERS[kind](fields, base_ms)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        why = codec.explain_sealed(data) or error
        msg = f"a record that this version cannot read ({len(data)} bytes): {why}"
        raise CannotDecode(msg) from error


def _read_failed(fields: list[Any], base_ms: int) -> Record:
    key, ordinal, mark, at, took, attempt, timed_out, failure = fields
    at_ms = base_ms + at
    return StepFailed(
        Call(key, ordinal, mark), attempt, at_ms - took, at_ms, Failure.from_wire(failure), timed_out=timed_out
    )


def _read_attempt(fields: list[Any], base_ms: int) -> Record:
    key, ordinal, mark, at, took, attempt, due, failure = fields
    at_ms = base_ms + at
    return AttemptFailed(
        Call(key, ordinal, mark), attempt, at_ms - took, at_ms, Failure.from_wire(failure), base_ms + due
    )


def _read_asked(fields: list[Any], base_ms: int) -> Record:
    key, ordinal, mark, at, due = fields
    return TimerAsked(Call(key, ordinal, mark), base_ms + at, base_ms + due)


def _read_fired(fields: list[Any], base_ms: int) -> Record:
    key, ordinal, mark, at = fields
    return TimerFired(Call(key, ordinal, mark), base_ms + at)


def _read_signal_asked(fields: list[Any], base_ms: int) -> Record:
    key, ordinal, mark, at, due = fields
    return SignalAsked(Call(key, ordinal, mark), base_ms + at, None if due is None else base_ms + due)


def _read_signal_received(fields: list[Any], base_ms: int) -> Record:
    key, ordinal, mark, at, payload = fields
    return SignalReceived(Call(key, ordinal, mark), base_ms + at, payload)


def _read_child_asked(fields: list[Any], base_ms: int) -> Record:
    key, ordinal, mark, at, run_id = fields
    return ChildAsked(Call(key, ordinal, mark), base_ms + at, run_id)


def _read_child_started(fields: list[Any], base_ms: int) -> Record:
    key, ordinal, mark, at = fields
    return ChildStarted(Call(key, ordinal, mark), base_ms + at)


def _read_child_ended(fields: list[Any], base_ms: int) -> Record:
    key, ordinal, mark, at, status, cause, payload = fields
    return ChildEnded(Call(key, ordinal, mark), base_ms + at, status, cause, payload)


def _read_compensation_asked(fields: list[Any], base_ms: int) -> Record:
    key, ordinal, mark, at = fields
    return CompensationAsked(Call(key, ordinal, mark), base_ms + at)


def _read_unwinding(fields: list[Any], base_ms: int) -> Record:
    at, failure = fields
    return UnwindingBegan(base_ms + at, None if failure is None else Failure.from_wire(failure))


def _read_patched(fields: list[Any], base_ms: int) -> Record:
    at, name = fields
    return Patched(base_ms + at, name)


def _read_redis_asked(fields: list[Any], base_ms: int) -> Record:
    key, ordinal, mark, at = fields
    return RedisAsked(Call(key, ordinal, mark), base_ms + at)


def _read_workflow(fields: list[Any], base_ms: int) -> Record:
    at, due, archived_from, failure, *alone = fields
    return WorkflowAttemptFailed(
        base_ms + at, base_ms + due, Failure.from_wire(failure), archived_from, alone=bool(alone)
    )


_READERS: dict[int, Callable[[list[Any], int], Record]] = {
    _FAILED: _read_failed,
    _ATTEMPT: _read_attempt,
    _ASKED: _read_asked,
    _FIRED: _read_fired,
    _WORKFLOW: _read_workflow,
    _SIGNAL_ASKED: _read_signal_asked,
    _SIGNAL_RECEIVED: _read_signal_received,
    _CHILD_ASKED: _read_child_asked,
    _CHILD_STARTED: _read_child_started,
    _CHILD_ENDED: _read_child_ended,
    _COMPENSATION_ASKED: _read_compensation_asked,
    _UNWINDING: _read_unwinding,
    _PATCHED: _read_patched,
    _REDIS_ASKED: _read_redis_asked,
}
