"""What an ending means: of a step's attempt, and of the workflow's code. Pure decisions, one record each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, assert_never

from redisflow import codec
from redisflow.authoring.definition import WorkflowDefinition
from redisflow.engine.commands import BodyOutcome, Finish, Raised, Returned
from redisflow.errors import CannotRecord, StepError
from redisflow.failure import Failure
from redisflow.payload import PayloadType, check_size
from redisflow.records import AttemptFailed, Call, StepFailed, StepSucceeded, WorkflowAttemptFailed
from redisflow.retry import RetryPolicy, delay_ms


def judge_attempt(
    call: Call,
    attempt: int,
    outcome: BodyOutcome,
    *,
    policy: RetryPolicy,
    payload: PayloadType[Any],
    around: tuple[Callable[[], float], int],
    times: tuple[int, int, int],
) -> tuple[StepSucceeded | StepFailed | AttemptFailed, Any]:
    """The record of an attempt, and the value that it gives to workflow code: what the record decodes to.

    `around` is (entropy, payload limit), `times` (started, ended, now for due times).
    """
    entropy, limit = around
    started_at_ms, at_ms, now_ms = times
    match outcome:
        case Returned():
            try:
                data, value = payload.record(outcome.value)
                if len(data) > limit:
                    check_size(data, limit, f"the result of step {call.key!r}")
            except CannotRecord as error:
                # Trying again would return the same kind of value.
                return StepFailed(call, attempt, started_at_ms, at_ms, Failure.of(error), timed_out=False), None
            return StepSucceeded(call, attempt, started_at_ms, at_ms, data), value
        case Raised():
            failure = Failure.of(outcome.error)
            wait_ms = delay_ms(policy, attempt, outcome.error, entropy())
            if wait_ms is None:
                return StepFailed(call, attempt, started_at_ms, at_ms, failure, timed_out=outcome.timed_out), None
            return AttemptFailed(call, attempt, started_at_ms, at_ms, failure, now_ms + wait_ms), None
        case _:
            assert_never(outcome)


def judge_workflow(
    main: asyncio.Task[Any],
    definition: WorkflowDefinition[Any, Any],
    *,
    attempt: int,
    step_errors: list[tuple[StepError, int]],
    around: tuple[Callable[[], float], int],
    times: tuple[int, int],
) -> Finish | WorkflowAttemptFailed:
    """How the run goes on when its code has ended. `times` is (now for the record, now for due times)."""
    entropy, limit = around
    at_ms, now_ms = times
    error = asyncio.CancelledError("the workflow cancelled itself") if main.cancelled() else main.exception()
    if error is None:
        try:
            data = definition.spec.output.encode(main.result())
            if len(data) > limit:
                check_size(data, limit, f"the output of workflow {definition.spec}")
        except CannotRecord as refused:
            return Finish("failed", describe_failure(refused))
        return Finish("succeeded", data)
    if definition.retry is not None:
        wait_ms = delay_ms(definition.retry, attempt, error, entropy())
        if wait_ms is not None:
            return WorkflowAttemptFailed(at_ms, now_ms + wait_ms, Failure.of(error), _origin(error, step_errors))
    return Finish("failed", describe_failure(error))


def describe_failure(error: BaseException) -> bytes:
    """A failure as it is stored."""
    return codec.encode(Failure.of(error).to_wire())


def _origin(error: BaseException, step_errors: list[tuple[StepError, int]]) -> int | None:
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
    members = list(error.exceptions) if isinstance(error, BaseExceptionGroup) else []
    if error.__cause__ is not None:
        return [*members, error.__cause__]
    return [*members, error.__context__] if error.__context__ is not None else members
