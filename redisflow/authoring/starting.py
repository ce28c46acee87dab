"""Rules of starting a workflow: one run at a time of a key, one for many starts in a row, so many starts in a window.

They are given with a start, or declared with the workflow; there a key is a function of the input. A key is text that
the workflow's users choose (an order, a customer); each workflow has keys of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from redisflow.durations import Duration, Instant, to_ms, to_when
from redisflow.errors import InvalidStart

Key: TypeAlias = str | Callable[[Any], str | None]
"""Text, or a function of the workflow's input that gives it; None from it lets that start go without the rule."""

OnConflict: TypeAlias = Literal["existing", "reject", "cancel_older"]
"""While a run with the unique key has not ended, another start returns it, is rejected, or cancels it."""

OnExcess: TypeAlias = Literal["delay", "existing", "reject"]
"""A start that is one too many begins when the window has room, returns the last run, or is rejected."""

LIMIT_AT_MOST = 10_000
"""Starts in a window: each takes some 50 bytes there until the window has passed it."""


@dataclass(frozen=True, slots=True)
class Debounce:
    """Starts that come within `delay` of each other make one run, with the input of the last one.

    It begins `delay` after the last start, and no later than `at_most` after the first. Without a key the whole
    workflow is debounced.
    """

    delay: Duration
    key: Key = ""
    at_most: Duration | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, where it is written."""
        delay_ms = _positive(self.delay, "debounce")
        if self.at_most is not None and to_ms(self.at_most, what="at_most") < delay_ms:
            msg = f"at_most ({self.at_most}) is the longest wait of all, so it is not shorter than delay ({self.delay})"
            raise InvalidStart(msg)


@dataclass(frozen=True, slots=True)
class Throttle:
    """At most `limit` starts in any window of `per`, by the server's clock; without a key, of the whole workflow.

    A start that is one too many is delayed until there is room again (in the order of the starts), unless `on_excess`
    says otherwise: "existing" returns the last run that was started, "reject" raises StartThrottled.
    """

    limit: int
    per: Duration
    key: Key = ""
    on_excess: OnExcess = "delay"

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, where it is written."""
        if not isinstance(self.limit, int) or isinstance(self.limit, bool) or not 1 <= self.limit <= LIMIT_AT_MOST:
            msg = f"the limit of a throttle is a whole number from 1 to {LIMIT_AT_MOST}, not {self.limit!r}"
            raise InvalidStart(msg)
        _positive(self.per, "throttle")
        check_choice("on_excess", self.on_excess, ("delay", "existing", "reject"))


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRules:
    """What every start of a workflow says unless it says otherwise: `define_workflow(..., start=StartRules(...))`."""

    unique_key: Key | None = None
    """Of the runs with this key, one at a time."""
    on_conflict: OnConflict = "existing"
    debounce: Debounce | None = None
    throttle: Throttle | None = None
    expires_at: Instant | None = None
    """Canceled where no worker has taken the run up by then: a duration from the start, as a rule."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, where it is written."""
        check_choice("on_conflict", self.on_conflict, ("existing", "reject", "cancel_older"))
        if self.expires_at is not None:
            to_when(self.expires_at, what="expires_at")


def check_choice(name: str, given: object, known: tuple[str, ...]) -> None:
    """InvalidStart where it is none of them."""
    if given not in known:
        msg = f"{name} is one of {', '.join(map(repr, known))}, not {given!r}"
        raise InvalidStart(msg)


def _positive(duration: Duration, what: str) -> int:
    ms = to_ms(duration, what=what)
    if ms == 0:
        msg = f"the window of a {what} is longer than 0 ms"
        raise InvalidStart(msg)
    return ms
