"""The library's errors as problem documents (RFC 9457): one table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from redisflow import errors
from redisflow.dashboard.access.failures import log_failure
from redisflow.dashboard.access.refusals import problem
from redisflow.dashboard.access.roles import NotPermitted
from redisflow.dashboard.actions import WorkerNotFound
from redisflow.dashboard.bulk_jobs import TooManyJobs

STATUSES: Final[Mapping[type[Exception], int]] = {
    NotPermitted: 403,
    errors.RunNotFound: 404,
    errors.ScheduleNotFound: 404,
    errors.NamespaceNotFound: 404,
    WorkerNotFound: 404,
    errors.IdempotencyConflict: 409,
    errors.MailboxFull: 409,
    errors.NotPaused: 409,
    errors.RunAlreadyActive: 409,
    errors.RunEnded: 409,
    errors.RunExists: 409,
    errors.RunNotFinished: 409,
    errors.RunStateConflict: 409,
    errors.PayloadTooLarge: 413,
    errors.StepNotFound: 422,
    errors.UnknownWorkflow: 422,
    errors.CannotRecord: 422,
    errors.StartThrottled: 429,
    TooManyJobs: 429,
    errors.BackendError: 503,
    errors.RedisflowError: 500,
}
"""The first that fits. What is a ValueError is 422: what was sent cannot be meant, or what is stored cannot be read."""

RETRY_AFTER_S: Final = 5
"""When to try again where the server is away: its clients look for it all the time."""


def problem_of(error: Exception) -> Response:
    """What the client is told of it. Of what nobody foresaw, no more than that it happened."""
    if isinstance(error, HTTPException):
        return problem(error.status_code, error.detail, error.headers)
    if isinstance(error, ValidationError):
        return invalid(error)
    status = _status_of(error)
    if status is None:
        log_failure("a request", error)
        return problem(500, "something went wrong: the log of the dashboard says where")
    return problem(status, str(error), _headers(error, status), error=type(error).__name__, **_more(error))


def invalid(error: ValidationError) -> Response:
    """What of a request does not fit; what was sent is not repeated."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    problems = [{"where": list(each["loc"]), "what": each["msg"]} for each in found]
    return problem(422, "the request does not fit", error="InvalidRequest", problems=problems)


def _status_of(error: Exception) -> int | None:
    if isinstance(error, ValueError):
        return 422
    return next((status for kind, status in STATUSES.items() if isinstance(error, kind)), None)


def _headers(error: Exception, status: int) -> dict[str, str]:
    if isinstance(error, errors.StartThrottled):
        left_s = (error.free_at - datetime.now(UTC)).total_seconds()
        return {"Retry-After": str(max(1, math.ceil(left_s)))}
    return {"Retry-After": str(RETRY_AFTER_S)} if status in {429, 503} else {}


def _more(error: Exception) -> dict[str, Any]:
    """What a program may want to know besides: which run has the key, and what it is doing."""
    named = {"run_id": getattr(error, "run_id", None), "run_status": getattr(error, "status", None)}
    return {name: value for name, value in named.items() if isinstance(value, str)}
