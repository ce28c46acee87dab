"""What an ending means: of a step's attempt, and of the workflow's code. Pure decisions, one record each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from redisflow import codec
from redisflow.authoring.definition import WorkflowDefinition
from redisflow.engine.calls import OpenChild, OpenMailCall, OpenRedis, OpenStep
from redisflow.engine.commands import BodyOutcome, Returned
from redisflow.errors import CannotDecode, HistoryTooLong, InvalidSignal, RedisScriptFailed, StepError
from redisflow.failure import Failure
from redisflow.mail import Mail
from redisflow.records import AttemptFailed, ChildEnded, ChildStarted, SignalReceived, StepFailed, StepSucceeded
from redisflow.retry import delay_ms
from redisflow.size_limit import check_size

BRIEF_BYTES = 1024
"""Of a traceback, in a record that has no room left."""

IN_RECORD = object()
"""Instead of a value: it is still to be read from the record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the core may not read for itself."""

    entropy: Callable[[], float]
    """A number from 0 to 1, for jitter; what it decides is recorded."""
    cpu_seconds: Callable[[], float]
    """The thread's CPU clock, for the bound on code that never waits."""
    payload_limit: int = 1 << 20
    """Bytes of a step's result or of an output."""
    run_limit: int = 32 << 20
    """Bytes of a run's record: its input, its results, what it was sent."""
    stored_limit: int = 64 << 20
    """Bytes of a run's hash, where large values are in a store: half of what scripts take at most."""
    partitions: int = 1
    """Of the namespace: where child runs may be spread."""

    def room(self, encoded: int, stored: int) -> int:
        """How many bytes a record may still grow, of which so many were encoded and so many are stored."""
        return min(self.run_limit - encoded, self.stored_limit - stored)


def judge_attempt(
    step: OpenStep,
    outcome: BodyOutcome,
    around: Surroundings,
    room: int,
    started_at_ms: int,
    at_ms: int,
    due_from_ms: int,
) -> tuple[StepSucceeded | StepFailed | AttemptFailed | ChildStarted, Any]:
    """The record of an attempt, and the value that it gives to workflow code: what the record decodes to.

    The next attempt is due a delay after `due_from_ms`. What is larger than the `room` that the run's record has is
    not recorded: the step fails, and where there is none at all, it is not tried again either.
    """
    call, attempt = step.place, step.attempt
    if isinstance(outcome, Returned):
        if type(step) is OpenChild:  # isinstance() would go through the metaclass of abstract classes
            return ChildStarted(call, at_ms), None
        try:
            data, value = step.payload.record(outcome.value)
            if len(data) > around.payload_limit:
                check_size(data, around.payload_limit, f"the result of step {call.key!r}", is_storable=True)
            if len(data) > room:
                _refuse_to_grow(f"the result of step {call.key!r}", len(data), room)
        except Exception as error:  # noqa: BLE001  # CannotRecord, or what code of users raises while it is looked at
            # Trying again would return the same kind of value.
            return StepFailed(call, attempt, started_at_ms, at_ms, Failure.of(error), timed_out=False), None
        return StepSucceeded(call, attempt, started_at_ms, at_ms, data), value
    failure = Failure.of(outcome.error) if room > 0 else Failure.of(outcome.error, limit=BRIEF_BYTES)
    wait_ms = delay_ms(step.plan.retry, attempt, outcome.error, around.entropy())
    if wait_ms is None or room <= 0:
        return StepFailed(call, attempt, started_at_ms, at_ms, failure, timed_out=outcome.timed_out), None
    return AttemptFailed(call, attempt, started_at_ms, at_ms, failure, due_from_ms + wait_ms), None


def _refuse_to_grow(what: str, size: int, room: int) -> NoReturn:
    msg = (
        f"{what} has {size:,} bytes, for which the record of its run has no room: {max(0, room):,} are left. Let the "
        "run begin anew with what it still needs (step.continue_as_new), or keep large values elsewhere"
    )
    raise HistoryTooLong(msg)


def judge_mail(
    call: OpenMailCall, mail: Mail, room: int, at_ms: int
) -> tuple[SignalReceived | StepFailed | StepSucceeded | ChildEnded, Any]:
    """The record of mail that a call takes, and the value that it gives to workflow code, where it is known here."""
    if len(mail.payload) > room:
        try:
            _refuse_to_grow(f"what came for {call.key!r}", len(mail.payload), room)
        except HistoryTooLong as error:
            if isinstance(call, OpenChild):
                return ChildEnded(call.place, at_ms, "failed", "", describe_failure(error)), IN_RECORD
            return StepFailed(call.place, 1, at_ms, at_ms, Failure.of(error), timed_out=False), None
    if isinstance(call, OpenChild):
        return ChildEnded(call.place, at_ms, mail.status, mail.cause, mail.payload), IN_RECORD
    if isinstance(call, OpenRedis):
        if mail.status == "succeeded":
            return StepSucceeded(call.place, 1, at_ms, at_ms, mail.payload), IN_RECORD
        why = mail.payload.decode(errors="replace")
        raised = RedisScriptFailed(f"the script of step.redis({call.key!r}) failed: {why}")
        return StepFailed(call.place, 1, at_ms, at_ms, Failure.of(raised), timed_out=False), None
    try:
        value = call.payload.decode(mail.payload)
    except CannotDecode as error:
        refused = InvalidSignal(f"the data of signal {mail.name!r} does not fit its type: {error}")
        return StepFailed(call.place, 1, at_ms, at_ms, Failure.of(refused), timed_out=False), None
    return SignalReceived(call.place, at_ms, mail.payload), value


def judge_workflow(
    main: asyncio.Task[Any], definition: WorkflowDefinition[Any, Any], attempt: int, around: Surroundings
) -> bytes | BaseException | Retry:
    """How the workflow's code ended: with an output, with an error, or with one after which it is tried again."""
    error = asyncio.CancelledError("the workflow cancelled itself") if main.cancelled() else main.exception()
    if error is None:
        try:
            data = definition.spec.output.encode(main.result())
            if len(data) > around.payload_limit:
                check_size(data, around.payload_limit, f"the output of workflow {definition.spec}", is_storable=True)
        except Exception as refused:  # noqa: BLE001  # CannotRecord, or what code of users raises
            return refused
        return data
    if definition.retry is not None:
        wait_ms = delay_ms(definition.retry, attempt, error, around.entropy())
        if wait_ms is not None:
            return Retry(error, wait_ms)
    return error


@dataclass(frozen=True, slots=True)
class Retry:
    """Another workflow attempt follows, after a delay."""

    error: BaseException
    wait_ms: int


def describe_failure(error: BaseException, origin: int | None = None) -> bytes:
    """A failure as it is stored, with the number of the record whose delivery began it: a retry in place needs that."""
    wire: list[Any] = [*Failure.of(error).to_wire()]
    if origin is not None:
        wire.append(origin)
    return codec.encode(wire)


def summarize_problem(error: BaseException) -> str:
    """Why a run is suspended, for logs: what does not fit its type, but not how, which may show what users store."""
    return str(error).partition(": ")[0] if isinstance(error, CannotDecode) else str(error)


def origin_of(error: BaseException, step_errors: list[tuple[StepError, int]]) -> int | None:
    """Number of the record whose delivery began this failure: of the step's error itself, or of what it came from."""
    numbers = {id(known): number for known, number in step_errors}
    level: list[BaseException] = [error]
    seen: set[int] = set()
    while level:
        found = [numbers[id(one)] for one in level if id(one) in numbers]
        if found:
            return min(found)
        seen.update(id(one) for one in level)
        level = [source for one in level for source in _sources(one) if id(source) not in seen]
    return None


def _sources(error: BaseException) -> list[BaseException]:
    members: list[BaseException] = []
    if isinstance(error, BaseExceptionGroup):
        members.extend(cast("BaseExceptionGroup[BaseException]", error).exceptions)
    if error.__cause__ is not None:
        return [*members, error.__cause__]
    return [*members, error.__context__] if error.__context__ is not None else members
