"""How a command ends: its exit code, and what it says on standard error when something was in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redisflow import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_NOT_FOUND = 4
EXIT_CONFLICT = 5
EXIT_TIMEOUT = 6
EXIT_WARNINGS = 7
"""Of `redisflow doctor --strict`."""
EXIT_INTERRUPTED = 130
"""As shells count SIGINT."""


class BadTarget(errors.RedisflowError):
    """The words that were to name a RedisFlow object do not."""


class AppBroken(errors.RedisflowError):
    """The code of the app cannot be imported; `what_to_do` is said beside it."""

    def __init__(self, message: str, what_to_do: str) -> None:
        """The message names the line of the user's own code."""
        super().__init__(message)
        self.what_to_do = what_to_do


class Refused(errors.RedisflowError):
    """What is there does not allow what was asked."""


class NotSure(errors.RedisflowError, ValueError):
    """Much would be changed, nobody has said that it is meant, and nobody can be asked."""


class OutcomeUnknown(errors.BackendUnavailable):
    """The answer was lost of something that must not be done twice."""

    def __init__(self, whether: str, error: Exception, how_to_look: str) -> None:
        """`how_to_look` is what to do before it is tried again."""
        super().__init__(f"whether {whether} is not known: {error}")
        self.how_to_look = how_to_look


class WaitedTooLong(errors.RedisflowError):
    """A command's own `--timeout` is over."""


CODES: Mapping[type[Exception], int] = {
    errors.NamespaceNotFound: EXIT_NOT_FOUND,
    errors.RunNotFound: EXIT_NOT_FOUND,
    errors.ScheduleNotFound: EXIT_NOT_FOUND,
    errors.StepNotFound: EXIT_NOT_FOUND,
    errors.UnknownWorkflow: EXIT_NOT_FOUND,
    errors.BackendUnavailable: EXIT_UNREACHABLE,
    errors.ResultTimeout: EXIT_TIMEOUT,
    errors.IdempotencyConflict: EXIT_CONFLICT,
    errors.MailboxFull: EXIT_CONFLICT,
    errors.NotPaused: EXIT_CONFLICT,
    errors.RunAlreadyActive: EXIT_CONFLICT,
    errors.RunEnded: EXIT_CONFLICT,
    errors.RunExists: EXIT_CONFLICT,
    errors.RunNotFinished: EXIT_CONFLICT,
    errors.RunStateConflict: EXIT_CONFLICT,
    errors.StartThrottled: EXIT_CONFLICT,
    errors.CannotDecode: EXIT_FAILED,
    BadTarget: EXIT_USAGE,
    Refused: EXIT_CONFLICT,
    WaitedTooLong: EXIT_TIMEOUT,
    ValueError: EXIT_USAGE,
}
"""The first that fits. What stands here not ends with EXIT_FAILED."""

HINTS: Mapping[type[Exception], str] = {
    errors.NamespaceNotFound: "say which: --namespace NAME, or REDISFLOW_NAMESPACE; a worker creates it",
    errors.RunNotFound: "`redisflow run list` has those that are stored",
    errors.ScheduleNotFound: "`redisflow schedule list` has those that are stored",
    errors.UnknownWorkflow: "`redisflow workflow list` has those that are stored",
    errors.ResultTimeout: "`redisflow run watch` follows it",
}


def code_of(error: Exception) -> int:
    """The exit code that tells a script what kind of error this is."""
    return next((code for kind, code in CODES.items() if isinstance(error, kind)), EXIT_FAILED)


def hint_of(error: Exception) -> str | None:
    """What to do about it, where that can be said of all errors of its kind."""
    if isinstance(error, OutcomeUnknown):
        return error.how_to_look
    if isinstance(error, AppBroken):
        return error.what_to_do
    return next((hint for kind, hint in HINTS.items() if isinstance(error, kind)), None)
