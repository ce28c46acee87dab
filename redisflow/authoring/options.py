"""How a step is run: its name, retries and timeout, given at the call or declared with the function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from redisflow.durations import Duration, to_ms
from redisflow.names import check_step_name
from redisflow.retry import RetryPolicy

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_RETRY = RetryPolicy()
_DEFAULTS = "__redisflow_step__"


@dataclass(frozen=True, slots=True)
class StepOptions:
    """A step's name with its own retry policy and timeout; the rest comes from `define_step`, else the default.

    `timeout` bounds each attempt; an attempt that takes longer fails with StepTimeout and is retried like any failure.
    """

    name: str
    retry: RetryPolicy | None = None
    timeout: Duration | None = None

    def __post_init__(self) -> None:
        """Refuse a bad name or timeout where it is written."""
        check_step_name(self.name)
        if self.timeout is not None:
            to_ms(self.timeout, what="timeout")


@dataclass(frozen=True, slots=True)
class StepDefaults:
    """What `define_step` declared with a function."""

    retry: RetryPolicy | None
    timeout: Duration | None


def define_step(*, retry: RetryPolicy | None = None, timeout: Duration | None = None) -> Callable[[F], F]:
    """Declare a function's own retry policy and timeout for when it is run as a step. Its type stays what it is."""
    if timeout is not None:
        to_ms(timeout, what="timeout")

    def declare(fn: F) -> F:
        setattr(fn, _DEFAULTS, StepDefaults(retry, timeout))
        return fn

    return declare


@dataclass(frozen=True, slots=True)
class StepPlan:
    """The options of one call, resolved."""

    name: str
    retry: RetryPolicy
    timeout_ms: int | None


def resolve_options(name: str | StepOptions, fn: Callable[..., Any]) -> StepPlan:
    """Call before function before default."""
    defaults: StepDefaults | None = getattr(fn, _DEFAULTS, None)
    if defaults is None:
        if not isinstance(name, StepOptions):
            return StepPlan(check_step_name(name), DEFAULT_RETRY, None)
        retry, timeout = name.retry, name.timeout
    else:
        options = name if isinstance(name, StepOptions) else StepOptions(name)
        name = options
        retry = options.retry if options.retry is not None else defaults.retry
        timeout = options.timeout if options.timeout is not None else defaults.timeout
    return StepPlan(name.name, retry or DEFAULT_RETRY, None if timeout is None else to_ms(timeout, what="timeout"))
