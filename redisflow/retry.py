"""When to try again: a policy is data, and the delay after a failure is a pure function of it.

Nothing here sleeps or draws random numbers: the delay becomes a due time in the record, and the one random number that
it needs is given by the caller. The hard thing is arithmetic that holds for the millionth attempt as for the first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, cast

from redisflow.durations import Duration, to_ms
from redisflow.errors import InvalidDuration, NonRetryableError, RetryAfter


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and how long after one another, the attempts of a step (or of a workflow) are made.

    The wait after attempt n is `initial_interval * backoff_coefficient ** (n - 1)`, at most `maximum_interval`, made
    longer or shorter by up to the share `jitter`. A wrong value raises ValueError here, where the policy is written.
    """

    initial_interval: Duration = 1
    """The wait after the first failed attempt."""
    backoff_coefficient: float = 2.0
    """How much longer each wait is than the one before; at least 1."""
    maximum_interval: Duration = 100
    """No wait is longer, but for jitter and RetryAfter."""
    maximum_attempts: int = 4
    """All attempts counted, the first one too; 0 means without end."""
    jitter: float = 0.1
    """From 0 (none) to 1."""
    non_retryable: tuple[type[BaseException] | str, ...] = ()
    """Exception classes (their subclasses too), or names of exception types, that end the attempts."""

    _initial_ms: int = field(init=False, repr=False, compare=False, default=0)
    _maximum_ms: int = field(init=False, repr=False, compare=False, default=0)
    _classes: tuple[type[BaseException], ...] = field(init=False, repr=False, compare=False, default=())
    _names: frozenset[str] = field(init=False, repr=False, compare=False, default=frozenset())

    def __post_init__(self) -> None:
        """Validate once, and keep the parsed durations: they are read at each failure."""
        initial_ms = to_ms(self.initial_interval, what="initial_interval")
        maximum_ms = to_ms(self.maximum_interval, what="maximum_interval")
        if maximum_ms < initial_ms:
            message = f"maximum_interval ({maximum_ms} ms) is shorter than initial_interval ({initial_ms} ms)"
            raise ValueError(message)
        _check_number("backoff_coefficient", self.backoff_coefficient, least=1, most=math.inf)
        _check_number("jitter", self.jitter, least=0, most=1)
        if type(self.maximum_attempts) is not int or self.maximum_attempts < 0:
            message = f"maximum_attempts is a whole number from 0 (without end), not {self.maximum_attempts!r}"
            raise ValueError(message)
        classes, names = _split(self.non_retryable)
        object.__setattr__(self, "_initial_ms", initial_ms)
        object.__setattr__(self, "_maximum_ms", maximum_ms)
        object.__setattr__(self, "_classes", classes)
        object.__setattr__(self, "_names", names)

    def gives_up_on(self, error: BaseException) -> bool:
        """Whether no attempt may follow this error, however many are left."""
        if isinstance(error, (NonRetryableError, *self._classes)):
            return True
        kind = type(error)
        return bool(self._names) and not self._names.isdisjoint(
            (kind.__name__, kind.__qualname__, f"{kind.__module__}.{kind.__qualname__}")
        )

    def backoff_ms(self, attempt: int) -> float:
        """Return the wait after the failed attempt number `attempt` (from 1), before jitter."""
        if self._initial_ms == 0:
            return 0
        try:
            return min(self._initial_ms * self.backoff_coefficient ** (attempt - 1), self._maximum_ms)
        except OverflowError:
            return self._maximum_ms


def delay_ms(policy: RetryPolicy, attempt: int, error: BaseException, unit_random: float) -> int | None:
    """Return what to wait after the failed attempt number `attempt` (from 1), or None if no more are due.

    `unit_random` is from 0 to 1. RetryAfter chooses the wait, and its attempt counts like any other; if what it says
    is not a duration, the policy's own backoff holds, so that a slip in an error path does not end a run.
    """
    if policy.maximum_attempts and attempt >= policy.maximum_attempts:
        return None
    if policy.gives_up_on(error):
        return None
    if isinstance(error, RetryAfter):
        chosen_ms = _chosen_ms(error.delay)
        if chosen_ms is not None:
            return chosen_ms
    return max(0, round(policy.backoff_ms(attempt) * (1 + policy.jitter * (2 * unit_random - 1))))


def _chosen_ms(delay: Any) -> int | None:
    try:
        return to_ms(delay, what="RetryAfter")
    except InvalidDuration:
        return None


def _check_number(name: str, value: Any, *, least: float, most: float) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not least <= value <= most:
        bounds = f"at least {least}" if math.isinf(most) else f"from {least} to {most}"
        message = f"{name} is a number {bounds}, not {value!r}"
        raise ValueError(message)


def _split(non_retryable: object) -> tuple[tuple[type[BaseException], ...], frozenset[str]]:
    if not isinstance(non_retryable, tuple):
        message = f"non_retryable is a tuple of exception classes or names of exception types, not {non_retryable!r}"
        raise ValueError(message)  # noqa: TRY004 - every wrong field of a policy is a ValueError
    classes: list[type[BaseException]] = []
    names: list[str] = []
    for entry in cast("tuple[object, ...]", non_retryable):
        if isinstance(entry, str):
            names.append(entry)
        elif isinstance(entry, type) and issubclass(entry, BaseException):
            classes.append(entry)
        else:
            message = f"non_retryable holds {entry!r}, which is no exception class and no name of one"
            raise ValueError(message)  # noqa: TRY004 - the same
    return tuple(classes), frozenset(names)


# Last in the file, because a policy is validated when it is made.
NO_RETRY = RetryPolicy(maximum_attempts=1)
