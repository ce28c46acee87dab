"""What is stored of a run, as values; CannotDecode, in words for whoever must mend it, where it is none any more."""

from __future__ import annotations

from typing import Any

from redisflow.authoring.definition import WorkflowSpec
from redisflow.contract import Claim
from redisflow.engine.calls import OpenSignal, OpenStep
from redisflow.engine.history import History
from redisflow.errors import CannotDecode
from redisflow.records import SignalReceived, StepSucceeded, decode_record


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


def read_result(call: OpenStep | OpenSignal, record: StepSucceeded | SignalReceived) -> Any:
    """The value that a step gave, or that a signal brought."""
    try:
        return call.payload.decode(record.payload)
    except CannotDecode as error:
        what = "result of step" if isinstance(record, StepSucceeded) else "data of signal"
        msg = f"the recorded {what} {call.key!r} does not fit its type any more: {error}"
        raise CannotDecode(msg) from error
