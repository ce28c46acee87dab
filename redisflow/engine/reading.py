"""What is stored of a run, as values; CannotDecode, in words for whoever must mend it, where it is none any more."""

from __future__ import annotations

from typing import Any

from redisflow.authoring.definition import WorkflowSpec
from redisflow.contract import Claim
from redisflow.engine.calls import OpenChild, OpenRedis, OpenSignal, OpenStep
from redisflow.engine.history import History
from redisflow.errors import CannotDecode, ChildCanceled, ChildFailed, ChildTimedOut, StepError, StepTimeout
from redisflow.records import ChildEnded, SignalReceived, StepFailed, StepSucceeded, decode_record
from redisflow.runs import child_failure


def read_input(spec: WorkflowSpec[Any, Any], data: bytes) -> Any:
    """The input of a run."""
    try:
        return spec.input.decode(data)
    except CannotDecode as error:
        msg = f"the input of this run does not fit the type that workflow {spec} takes: {error}"
        raise CannotDecode(msg) from error


def read_history(claim: Claim) -> History:
    """The record of earlier passes."""
    try:
        return History.of(decode_record(data, claim.started_at_ms) for data in claim.records)
    except Exception as error:  # whatever readers make of a damaged record: all of it is told
        msg = f"the record of this run cannot be read: it is damaged, or of a later version ({error!r})"
        raise CannotDecode(msg) from error


def read_error(call: OpenStep | OpenSignal | OpenRedis, record: StepFailed | ChildEnded) -> StepError:
    """The error that a step, or a child run, ended with."""
    if isinstance(record, StepFailed):
        kind = StepTimeout if record.timed_out else StepError
        return kind(call.key, record.attempt, record.failure)
    failure = child_failure(record)
    child_id = call.child_id if isinstance(call, OpenChild) else ""
    if record.status == "canceled":
        return ChildCanceled(call.key, child_id, failure)
    return (ChildTimedOut if record.cause == "deadline" else ChildFailed)(call.key, child_id, failure)


def read_result(call: OpenStep | OpenSignal | OpenRedis, record: StepSucceeded | SignalReceived | ChildEnded) -> Any:
    """The value that a step or a child run gave, or that a signal brought."""
    try:
        return call.payload.decode(record.payload)
    except CannotDecode as error:
        what = "data of signal" if isinstance(record, SignalReceived) else "result of step"
        msg = f"the recorded {what} {call.key!r} does not fit its type any more: {error}"
        raise CannotDecode(msg) from error
