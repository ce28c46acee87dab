"""Whom workers and clients tell what happens: the one point from which counters, traces and metrics are fed.

Each call is made by an event loop at the moment at which the thing is known, so an observer returns at once and raises
nothing. Instants are those of the server, in ms. What is told of a run is its claim; of its payloads nobody may keep
anything. What costs something to tell is told only to those who want it: nobody pays for what nobody hears.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from contextvars import Context
from dataclasses import dataclass
from typing import Literal

from redisflow.contract.fleet import QueueDepth
from redisflow.contract.values import Claim, NewRun
from redisflow.records import CallKind, Record

AttemptEnd = Literal["succeeded", "failed", "timed_out", "canceled"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt of a step: a body that runs."""

    key: str
    kind: CallKind
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What a namespace has to do, as it was found at an instant."""

    now_ms: int
    queues: Sequence[QueueDepth]
    delayed: int
    """Runs that have a due time or a deadline."""
    runs: Mapping[str, int]
    """By status."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """How a worker is right now."""

    held: int
    free: int
    """Places for more runs."""
    heartbeat_age_s: float
    """Since its leases were renewed, of the partition where that is longest ago."""
    loop_lag_s: float
    """Since its event loop was seen to turn; while it turns, less than two seconds."""


class Observer:
    """Listens to nothing: whoever wants to hear of something has a method for it."""

    wants_details: bool = False
    """Whether it is told of attempts and of records."""
    wants_backlog: bool = False
    """Whether it is told, every few seconds, what the namespace has to do."""
    has_metrics: bool = False
    """Whether it has an `exposition`."""
    wants_calls: bool = False
    """Whether it is told how long calls of Redis take."""

    def bound(self, namespace: str) -> Observer:
        """The same for one namespace."""
        return self

    # -- what clients tell ----------------------------------------------------------------------------------------

    def starting(self, new: NewRun) -> AbstractContextManager[object]:
        """Around the call that stores a new run, to which this may add a field."""
        return nullcontext()

    # -- what workers tell ----------------------------------------------------------------------------------------

    def worker_began(self, name: str, vitals: Callable[[], Vitals]) -> None:
        """A worker works; `vitals` may be called from any thread."""

    def worker_ended(self, name: str) -> None:
        """It does not any more."""

    def run_taken(self, claim: Claim, worker: str, at_ms: int) -> None:
        """A worker goes on with a run, or begins it."""

    def run_left(self, claim: Claim, how: str, at_ms: int) -> None:
        """The run is out of the worker's hands.

        `how` is `succeeded`, `failed`, `canceled`; `parked`, `continued`, `suspended` (code and record do not match);
        why what the worker did last was not recorded: `fenced`, `ended`, `behind`, `missing`; or `dropped`.
        """

    def attempt_failed(self, claim: Claim, at_ms: int) -> None:
        """An attempt of a step failed."""

    def reclaimed(self, runs: int) -> None:
        """So many runs were taken from workers that are dead or do not answer."""

    def exposition(self) -> bytes | None:
        """Its metrics as text for Prometheus, where it has some; asked from any thread."""
        return None

    # -- details --------------------------------------------------------------------------------------------------

    def mark_of(self, claim: Claim) -> str | None:
        """What the run's next holder is to know of this one (`Claim.last_trace`): stored with its first commit."""
        return None

    def attempt_began(self, claim: Claim, attempt: Attempt) -> Context | None:
        """A body is about to run; in the context that is returned, where one is."""
        return None

    def attempt_ended(self, claim: Claim, attempt: Attempt, how: AttemptEnd, error: BaseException | None) -> None:
        """It has run."""

    def recorded(self, claim: Claim, records: Sequence[Record]) -> None:
        """This is in the run's record from now on. Each record is told once at most."""

    # -- of the server and the namespace --------------------------------------------------------------------------

    def script_called(self, script: str, seconds: float) -> None:
        """A script has answered."""

    def redis_failed(self) -> None:
        """A call was refused, or will never be answered."""

    def backlog_seen(self, backlog: Backlog) -> None:
        """What there is to do."""


class Observers(Observer):
    """Several, who are told one after the other."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        """At least one."""
        self._all = tuple(observers)
        self._detailed = tuple(each for each in observers if each.wants_details)
        self._of_calls = tuple(each for each in observers if each.wants_calls)
        self._of_backlog = tuple(each for each in observers if each.wants_backlog)
        self.wants_details = bool(self._detailed)
        self.wants_calls = bool(self._of_calls)
        self.wants_backlog = bool(self._of_backlog)

    @classmethod
    def of(cls, observers: Sequence[Observer]) -> Observer:
        """One who tells all of them."""
        return observers[0] if len(observers) == 1 else cls(observers)

    def starting(self, new: NewRun) -> AbstractContextManager[object]:
        """See `Observer`."""
        stack = ExitStack()
        for each in self._all:
            stack.enter_context(each.starting(new))
        return stack

    def worker_began(self, name: str, vitals: Callable[[], Vitals]) -> None:
        """See `Observer`."""
        for each in self._all:
            each.worker_began(name, vitals)

    def worker_ended(self, name: str) -> None:
        """See `Observer`."""
        for each in self._all:
            each.worker_ended(name)

    def run_taken(self, claim: Claim, worker: str, at_ms: int) -> None:
        """See `Observer`."""
        for each in self._all:
            each.run_taken(claim, worker, at_ms)

    def run_left(self, claim: Claim, how: str, at_ms: int) -> None:
        """See `Observer`."""
        for each in self._all:
            each.run_left(claim, how, at_ms)

    def attempt_failed(self, claim: Claim, at_ms: int) -> None:
        """See `Observer`."""
        for each in self._all:
            each.attempt_failed(claim, at_ms)

    def reclaimed(self, runs: int) -> None:
        """See `Observer`."""
        for each in self._all:
            each.reclaimed(runs)

    def exposition(self) -> bytes | None:
        """See `Observer`: the first that there is."""
        return next((text for each in self._all if (text := each.exposition()) is not None), None)

    def mark_of(self, claim: Claim) -> str | None:
        """See `Observer`: the first that there is."""
        return next((mark for each in self._detailed if (mark := each.mark_of(claim)) is not None), None)

    def attempt_began(self, claim: Claim, attempt: Attempt) -> Context | None:
        """See `Observer`: all are told, and the first context counts."""
        contexts = [each.attempt_began(claim, attempt) for each in self._detailed]
        return next((context for context in contexts if context is not None), None)

    def attempt_ended(self, claim: Claim, attempt: Attempt, how: AttemptEnd, error: BaseException | None) -> None:
        """See `Observer`."""
        for each in self._detailed:
            each.attempt_ended(claim, attempt, how, error)

    def recorded(self, claim: Claim, records: Sequence[Record]) -> None:
        """See `Observer`."""
        for each in self._detailed:
            each.recorded(claim, records)

    def script_called(self, script: str, seconds: float) -> None:
        """See `Observer`."""
        for each in self._of_calls:
            each.script_called(script, seconds)

    def redis_failed(self) -> None:
        """See `Observer`."""
        for each in self._of_calls:
            each.redis_failed()

    def backlog_seen(self, backlog: Backlog) -> None:
        """See `Observer`."""
        for each in self._of_backlog:
            each.backlog_seen(backlog)


def is_first(claim: Claim) -> bool:
    """Whether nobody has had the run before: its fence counts claims."""
    return claim.hold.fence.startswith("1:")


def claims_of(claim: Claim) -> int:
    """How often it was taken up, this time included."""
    return int(claim.hold.fence.partition(":")[0])


def step_name(key: str) -> str:
    """Of a memo key, without the number that it has where its name was used before: there are few names."""
    name, sign, number = key.rpartition("#")
    return name if sign and number.isdigit() else key
