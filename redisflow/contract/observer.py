"""Whom workers and clients tell what happens: the one point from which counters, traces and metrics are fed.

Each call is made by an event loop at the moment at which the thing is known, so an observer returns at once. What it
raises is told in the log, and stops nothing (`redisflow.telemetry.observers`). Instants are those of the server, in ms.
What is told of a run is its claim; of its payloads nobody may keep anything. What costs something to tell is told only
to those who want it: nobody pays for what nobody hears.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
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
    """Whether it is told of records."""
    wants_attempts: bool = False
    """Whether it is told of attempts as well, as they run."""
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


def is_first(claim: Claim) -> bool:
    """Whether nobody has begun it before, as far as the store can say: nothing is recorded, and nobody crashed with it.

    Its fence would count those as well that had no code for it, or handed it back before they began.
    """
    return not claim.records and not claim.mark.records and claim.crashes == 0


def began_ms(claim: Claim) -> int:
    """When the run began: a fork has the beginning of another, which began before the fork was made."""
    return max(claim.started_at_ms, claim.created_at_ms)


def claims_of(claim: Claim) -> int:
    """How often it was taken up, this time included."""
    return int(claim.hold.fence.partition(":")[0])


def step_name(key: str) -> str:
    """Of a memo key, without the number that it has where its name was used before: there are few names."""
    name, sign, number = key.rpartition("#")
    return name if sign and number.isdigit() else key
