"""Starting runs under a rule: one at a time of a key, one for many starts in a row, so many in a window.

The hard thing is that the rule is judged in the step that creates the run: between looking and creating there is no
moment in which another start could do the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from redisflow.contract.values import Conflict, NewRun


@dataclass(frozen=True, slots=True, kw_only=True)
class UniqueRule:
    """Of the runs of this key, one that has not ended."""

    key_hash: str
    on_conflict: Literal["existing", "reject", "cancel_older"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DebounceRule:
    """The run begins when no start of this key has come for `delay_ms`, or `at_most_ms` after the first."""

    key_hash: str
    delay_ms: int
    at_most_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleRule:
    """Of the starts of this key, at most `limit` in any `per_ms`."""

    key_hash: str
    limit: int
    per_ms: int
    on_excess: Literal["delay", "existing", "reject"]


StartRule: TypeAlias = UniqueRule | DebounceRule | ThrottleRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The run that answers a start: a new one, or one that was there; and when it may begin, where that is later."""

    run_id: str
    existing: bool
    available_at_ms: int | None
    is_confirmed: bool = True
    """Whether as many replicas as were asked for have it."""


@dataclass(frozen=True, slots=True)
class Active:
    """Rejected: the unique key's run has not ended."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """Rejected: the window is full until `free_at_ms`; `run_id` was the last one in it."""

    run_id: str
    free_at_ms: int


class StartCalls(Protocol):
    """The calls of clients that start runs under rules."""

    async def start_run(self, new: NewRun, rules: Sequence[StartRule]) -> Started | Conflict | Active | Throttled:
        """As `create_run`, if the rules allow it. They are judged in this order; the first that objects answers.

        The keys of all of them are of the run's partition. Sent again, it answers what it did, for ten minutes.
        """
        ...
