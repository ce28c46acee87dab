"""The record of a run: an append-only list of facts, numbered by its holder alone, from which every pass is replayed.

Each record carries the key and the ordinal of the call that it belongs to, and the number of the last record that had
been delivered when that call was made: with these a replay can tell whether the code still asks for the same things at
the same points. The hard thing is size: with small values a run stays in Redis's compact hash encoding only while each
field has at most 64 bytes, so times are stored as differences and a result's payload follows the header as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

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
class WorkflowAttemptFailed:
    """The workflow failed under a retry policy of its own; another attempt is due at `due_at_ms`.

    `archived_from` is the number of the record whose delivery began the failure: it, and all that was asked for after
    its delivery, no longer counts. None where workflow code failed on its own: then every record stays.
    """

    at_ms: int
    due_at_ms: int
    failure: Failure
    archived_from: int | None


Record: TypeAlias = (
    StepSucceeded
    | StepFailed
    | AttemptFailed
    | TimerAsked
    | TimerFired
    | SignalAsked
    | SignalReceived
    | WorkflowAttemptFailed
)

_SUCCEEDED, _FAILED, _ATTEMPT, _ASKED, _FIRED, _WORKFLOW, _SIGNAL_ASKED, _SIGNAL_RECEIVED = range(8)


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
    return b"\0" + codec.encode(_fields_of(record, base_ms))


def _fields_of(record: Record, base_ms: int) -> list[object]:
    at = record.at_ms - base_ms
    if isinstance(record, WorkflowAttemptFailed):
        return [_WORKFLOW, at, record.due_at_ms - base_ms, record.archived_from, record.failure.to_wire()]
    call = record.call
    head: list[object] = [call.key, call.ordinal, call.mark, at]
    if isinstance(record, TimerAsked):
        return [_ASKED, *head, record.due_at_ms - base_ms]
    if isinstance(record, TimerFired):
        return [_FIRED, *head]
    if isinstance(record, SignalAsked):
        return [_SIGNAL_ASKED, *head, None if record.due_at_ms is None else record.due_at_ms - base_ms]
    if isinstance(record, SignalReceived):
        return [_SIGNAL_RECEIVED, *head, record.payload]
    if isinstance(record, AttemptFailed):
        took = record.at_ms - record.started_at_ms
        return [_ATTEMPT, *head, took, record.attempt, record.due_at_ms - base_ms, record.failure.to_wire()]
    if isinstance(record, StepFailed):
        took = record.at_ms - record.started_at_ms
        return [_FAILED, *head, took, record.attempt, record.timed_out, record.failure.to_wire()]
    msg = f"not a record: {type(record).__name__}"
    raise TypeError(msg)


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
        msg = f"a record that this version cannot read ({len(data)} bytes): {error}"
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


def _read_workflow(fields: list[Any], base_ms: int) -> Record:
    at, due, archived_from, failure = fields
    return WorkflowAttemptFailed(base_ms + at, base_ms + due, Failure.from_wire(failure), archived_from)


_READERS: dict[int, Callable[[list[Any], int], Record]] = {
    _FAILED: _read_failed,
    _ATTEMPT: _read_attempt,
    _ASKED: _read_asked,
    _FIRED: _read_fired,
    _WORKFLOW: _read_workflow,
    _SIGNAL_ASKED: _read_signal_asked,
    _SIGNAL_RECEIVED: _read_signal_received,
}
