"""What a run's record becomes when a person steps in: failures that no longer count, and the beginning of a fork.

Pure: fields of a stored run in, records out. The hard thing is which records may stay. The record is append-only, and
each of its prefixes is a state that the run was in, so a fork keeps the records before the first one of the step that
it begins with; those of calls that were asked later all come after it. Numbers stay as they are: records name others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redisflow import codec
from redisflow.contract import Extension, Mark
from redisflow.errors import StepNotFound
from redisflow.failure import Failure, origin_of_wire
from redisflow.records import (
    ChildAsked,
    ChildEnded,
    CompensationAsked,
    Record,
    RedisAsked,
    RunRecord,
    SignalAsked,
    SignalReceived,
    StepFailed,
    StepSucceeded,
    TimerFired,
    UnwindingBegan,
    WorkflowAttemptFailed,
    decode_record,
    encode_record,
)
from redisflow.run_views import numbered_live_records

Fields = Mapping[bytes, bytes]
_RETRIED = Failure("Retried", "child runs were canceled when the run ended, and begin anew", "")
_FORKED = Failure("Forked", "a fork begins what it waits for itself: child runs, and scripts of step.redis", "")
Ended = StepSucceeded | StepFailed | SignalReceived | TimerFired


def archive_failure(fields: Fields) -> Extension:
    """What is appended to a failed run's record so that its failure no longer counts.

    Where the verdict came from outside (a deadline, workers that crashed), the record is not at fault.
    """
    mark = _mark_of(fields)
    stored = _stored_records(fields, mark)
    wire = codec.decode(fields[b"er"]) if b"er" in fields else None
    if not fields.get(b"a"):
        return Extension(mark, mark, [])
    base_ms, ended_ms = int(fields[b"a"]), int(fields[b"t"])
    records: list[Record] = [decode_record(data, base_ms) for data in stored]
    if wire is None:
        added = _begin_children_anew(records, _RETRIED, ended_ms)
    else:
        added = _archived(records, Failure.from_wire(wire), origin_of_wire(wire), ended_ms)
    data = [encode_record(record, base_ms) for record in added]
    return Extension(mark, Mark(mark.records + len(data), mark.bytes + sum(map(len, data))), data)


def _archived(records: list[Record], failure: Failure, origin: int | None, at_ms: int) -> list[WorkflowAttemptFailed]:
    """The failure that ended the run, those of steps beside it that came after it, which nobody handled, and children.

    A child that had not ended was given up when the run did: it begins anew, as another run.
    """
    added = [WorkflowAttemptFailed(at_ms, at_ms, failure, origin)]
    while origin is not None:
        live = numbered_live_records([*records, *added])
        origin = next((number for number, record in live if number > origin and _is_failure(record)), None)
        if origin is not None:
            added.append(WorkflowAttemptFailed(at_ms, at_ms, failure, origin))
    return [*added, *_begin_children_anew([*records, *added], failure, at_ms)]


def _is_failure(record: Record) -> bool:
    return isinstance(record, StepFailed) or (isinstance(record, ChildEnded) and record.status != "succeeded")


def _begin_children_anew(records: list[Record], failure: Failure, at_ms: int) -> list[WorkflowAttemptFailed]:
    """For each child run that is waited for: it is not this run that it will tell of its end."""
    return _begin_anew(records, (ChildAsked,), failure, at_ms)


def _begin_anew(
    records: list[Record], kinds: tuple[type[ChildAsked | RedisAsked], ...], failure: Failure, at_ms: int
) -> list[WorkflowAttemptFailed]:
    """For each call that was asked for by a record of this kind, and whose end is in another run's mailbox."""
    asked: dict[str, int] = {}
    for number, record in numbered_live_records(records):
        if isinstance(record, kinds):
            asked[record.call.key] = number
        elif isinstance(record, ChildEnded | StepFailed | StepSucceeded):
            asked.pop(record.call.key, None)
    return [WorkflowAttemptFailed(at_ms, at_ms, failure, number, alone=True) for number in asked.values()]


@dataclass(frozen=True, slots=True)
class Prefix:
    """The record that a fork begins with."""

    records: list[bytes]
    is_compensable: bool
    """There is something to undo in it."""


def take_prefix(run_id: str, fields: Fields, from_step: str | None, edits: Mapping[str, bytes]) -> Prefix:
    """The records before a step's first one, with edited results; without a step, up to the last edited one."""
    mark = _mark_of(fields)
    stored = _stored_records(fields, mark)
    base_ms = int(fields.get(b"a", fields[b"c"]))
    live = numbered_live_records([decode_record(record, base_ms) for record in stored])
    # What came after the run was lost undid it: a fork has nothing to begin with there.
    lost = next((number for number, record in live if isinstance(record, UnwindingBegan)), len(stored))
    live = [(number, record) for number, record in live if number < lost]
    signals = {record.call.key for _, record in live if isinstance(record, SignalAsked)}
    ends = _ends_of(live, signals)
    if from_step is not None:
        end = next((number for number, record in live if _key_of(record) == from_step), None)
        if end is None:
            raise _not_found(run_id, from_step, live, "to fork from")
    else:
        end = max((ends[key][0] + 1 for key in edits if key in ends), default=0)
    kept = list(stored[:end])
    for key, payload in edits.items():
        if key not in ends or ends[key][0] >= end:
            raise _not_found(run_id, key, live[:end], "whose result could be edited before that point")
        number, ended = ends[key]
        kept[number] = encode_record(_edited(ended, payload, is_signal=key in signals), base_ms)
    records = [decode_record(record, base_ms) for record in kept]
    at_ms = max((record.at_ms for record in records), default=base_ms)
    anew = _begin_anew(records, (ChildAsked, RedisAsked), _FORKED, at_ms)
    kept += (encode_record(record, base_ms) for record in anew)
    is_compensable = any(isinstance(record, CompensationAsked) for record in records)
    return Prefix(kept, is_compensable)


def was_undone(fields: Fields) -> bool:
    """Whether compensations have run, or were about to: what the run completed does not hold any more."""
    base_ms = int(fields.get(b"a", fields[b"c"]))
    records = [decode_record(data, base_ms) for data in _stored_records(fields, _mark_of(fields))]
    return any(isinstance(record, UnwindingBegan) for record in records)


def _edited(ended: Ended, payload: bytes, *, is_signal: bool) -> Record:
    if is_signal:
        return SignalReceived(ended.call, ended.at_ms, payload)
    assert isinstance(ended, StepSucceeded | StepFailed)  # noqa: S101  # only a signal ends in another way
    return StepSucceeded(ended.call, ended.attempt, ended.started_at_ms, ended.at_ms, payload)


def _ends_of(live: Sequence[tuple[int, Record]], signals: set[str]) -> dict[str, tuple[int, Ended]]:
    """By key, the records that gave a value which could be another one: of steps, and of waits for signals."""
    return {
        record.call.key: (number, record)
        for number, record in live
        if isinstance(record, StepSucceeded | StepFailed | SignalReceived)
        or (isinstance(record, TimerFired) and record.call.key in signals)
    }


def _key_of(record: Record) -> str | None:
    return None if isinstance(record, RunRecord) else record.call.key


def _not_found(run_id: str, key: str, live: Sequence[tuple[int, Record]], why: str) -> StepNotFound:
    known = list(dict.fromkeys(found for _, record in live if (found := _key_of(record)) is not None))
    shown = ", ".join(repr(name) for name in known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
    return StepNotFound(f"the record of run {run_id} has no step {key!r} {why}; it has {shown or 'none'}")


def _mark_of(fields: Fields) -> Mark:
    return Mark.parse(fields[b"h"].decode())


def _stored_records(fields: Fields, mark: Mark) -> list[bytes]:
    return [fields[b"%d" % number] for number in range(mark.records)]
