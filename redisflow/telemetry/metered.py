"""What is counted and measured of runs, whatever library exports it: the names, and when each of them changes.

No run id and no name of a signal is a label: there is no end of them. What is read from Redis (queues, runs by status)
is what one look every few seconds found, so who asks for the metrics asks the server nothing.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from redisflow.contract import Claim
from redisflow.contract.observer import Backlog, Observer, Vitals, began_ms, is_first, step_name
from redisflow.records import AttemptFailed, Record, StepFailed, StepSucceeded

RUN_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21_600, 86_400)
CALL_BUCKETS_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_ENDED = frozenset({"succeeded", "failed", "canceled"})


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One of them, and no other: it is looked up by what it is, for which nothing is compared."""

    name: str
    says: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...] = ()
    in_seconds: bool = False
    buckets: Sequence[float] = ()


def _counter(name: str, says: str, *labels: str) -> Metric:
    return Metric(name, says, "counter", labels)


def _gauge(name: str, says: str, *labels: str, in_seconds: bool = False) -> Metric:
    return Metric(name, says, "gauge", labels, in_seconds)


def _histogram(name: str, says: str, buckets: Sequence[float], *labels: str) -> Metric:
    return Metric(name, says, "histogram", labels, in_seconds=True, buckets=buckets)


STARTED = _counter("runs_started", "Runs taken up for the first time", "workflow", "version")
FINISHED = _counter("runs_finished", "Runs that workers ended", "workflow", "status")
DURATION = _histogram("run_duration", "From the first claim to the end", RUN_BUCKETS_S, "workflow")
LATENCY = _histogram(
    "run_schedule_latency", "From when a run was available to its first claim", RUN_BUCKETS_S, "workflow"
)
STEPS = _counter("steps_finished", "Steps that have ended for good", "workflow", "step", "outcome")
STEP_DURATION = _histogram("step_duration", "Of the attempt that ended a step", RUN_BUCKETS_S, "workflow", "step")
RETRIES = _counter("step_retries", "Failed attempts that are tried again", "workflow", "step")
DEPTH = _gauge("queue_depth", "Runs that wait to be claimed", "queue")
OLDEST = _gauge("queue_oldest_age", "Since the oldest run of the queue came", "queue", in_seconds=True)
DELAYED = _gauge("delayed_runs", "Runs that have a due time or a deadline")
PENDING = _gauge("pending_entries", "Stream entries that workers hold")
RECLAIMS = _counter("reclaims", "Runs taken from workers that are dead or do not answer")
SLOTS = _gauge("worker_slots", "Places for runs of the workers of this process", "state")
HEARTBEAT = _gauge("worker_heartbeat_age", "Since a worker of this process renewed its leases", in_seconds=True)
CALLS = _histogram("redis_command_duration", "From sending a script to its reply", CALL_BUCKETS_S, "script")
ERRORS = _counter("redis_errors", "Calls of Redis that were refused, or not answered")
NONDETERMINISM = _counter("nondeterminism", "Runs put aside because code and record do not match")
RUNS = _gauge("runs", "Stored runs", "status")

TOLD = (
    *(STARTED, FINISHED, DURATION, LATENCY, STEPS, STEP_DURATION, RETRIES, DEPTH, OLDEST, DELAYED, PENDING),
    *(RECLAIMS, CALLS, ERRORS, NONDETERMINISM, RUNS),
)
"""Those that change when something happens."""


class Fleet:
    """The workers of this process."""

    def __init__(self) -> None:
        """None works yet."""
        self.vitals: dict[str, Callable[[], Vitals]] = {}

    def held(self) -> int:
        """Places that are taken; asked from any thread."""
        return sum(each().held for each in list(self.vitals.values()))

    def free(self) -> int:
        """Places that are free."""
        return sum(each().free for each in list(self.vitals.values()))

    def heartbeat_age_s(self) -> float:
        """Of the worker whose leases were renewed longest ago."""
        return max((each().heartbeat_age_s for each in list(self.vitals.values())), default=0.0)


class MeteredObserver(Observer):
    """Says what happens in terms of metrics; who exports them has the three methods at the end."""

    wants_details = True
    wants_backlog = True
    wants_calls = True

    def __init__(self, fleet: Fleet, *, step_names: bool) -> None:
        """Without `step_names` the label `step` is empty."""
        self._fleet = fleet
        self._step_names = step_names

    @abstractmethod
    def add(self, metric: Metric, number: float, *labels: str) -> None:
        """A counter grows."""

    @abstractmethod
    def observe(self, metric: Metric, seconds: float, *labels: str) -> None:
        """A histogram gets one more."""

    @abstractmethod
    def set(self, metric: Metric, number: float, *labels: str) -> None:
        """A gauge is this."""

    def worker_began(self, name: str, vitals: Callable[[], Vitals]) -> None:
        """See `Observer`."""
        self._fleet.vitals[name] = vitals

    def worker_ended(self, name: str) -> None:
        """See `Observer`."""
        self._fleet.vitals.pop(name, None)

    def run_taken(self, claim: Claim, worker: str, at_ms: int) -> None:
        """See `Observer`."""
        if is_first(claim):
            self.add(STARTED, 1, claim.workflow, claim.version or "")
            self.observe(LATENCY, max(0, at_ms - claim.due_at_ms) / 1000, claim.workflow)

    def run_left(self, claim: Claim, how: str, at_ms: int) -> None:
        """See `Observer`."""
        if how in _ENDED:
            self.add(FINISHED, 1, claim.workflow, how)
            self.observe(DURATION, max(0, at_ms - began_ms(claim)) / 1000, claim.workflow)
        elif how == "suspended":
            self.add(NONDETERMINISM, 1)

    def recorded(self, claim: Claim, records: Sequence[Record]) -> None:
        """See `Observer`."""
        for record in records:
            if isinstance(record, StepSucceeded | StepFailed):
                step = self._step(record.call.key)
                self.add(STEPS, 1, claim.workflow, step, _outcome(record))
                self.observe(STEP_DURATION, max(0, record.at_ms - record.started_at_ms) / 1000, claim.workflow, step)
            elif isinstance(record, AttemptFailed):
                self.add(RETRIES, 1, claim.workflow, self._step(record.call.key))

    def _step(self, key: str) -> str:
        return step_name(key) if self._step_names else ""

    def reclaimed(self, runs: int) -> None:
        """See `Observer`."""
        self.add(RECLAIMS, runs)

    def script_called(self, script: str, seconds: float) -> None:
        """See `Observer`."""
        self.observe(CALLS, seconds, script)

    def redis_failed(self) -> None:
        """See `Observer`."""
        self.add(ERRORS, 1)

    def backlog_seen(self, backlog: Backlog) -> None:
        """See `Observer`."""
        for each in backlog.queues:
            self.set(DEPTH, max(0, each.runs - each.held), each.queue)
            # The oldest may be held: where nothing waits, nothing waits for long.
            since_ms = each.oldest_ms if each.runs > each.held else None
            self.set(OLDEST, 0 if since_ms is None else max(0, backlog.now_ms - since_ms) / 1000, each.queue)
        self.set(PENDING, sum(each.held for each in backlog.queues))
        self.set(DELAYED, backlog.delayed)
        for status, count in backlog.runs.items():
            self.set(RUNS, count, status)


def _outcome(record: StepSucceeded | StepFailed) -> str:
    if isinstance(record, StepSucceeded):
        return "succeeded"
    return "timed_out" if record.timed_out else "failed"
