"""Metrics for Prometheus, of this process and of the namespace that it works for.

No run id and no name of a signal is a label: there is no end of them. What is read from Redis (queues, runs by status)
is what one look every few seconds found, so a scrape asks the server nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from redisflow.contract import Claim
from redisflow.contract.observer import Backlog, Observer, Vitals, is_first, step_name
from redisflow.records import AttemptFailed, Record, StepFailed, StepSucceeded

RUN_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21_600, 86_400)
CALL_BUCKETS_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_ENDED = frozenset({"succeeded", "failed", "canceled"})


class _Metrics:
    """All that there are, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.vitals: dict[str, Callable[[], Vitals]] = {}
        """Of the workers of this process, by name."""

        def counter(name: str, says: str, *labels: str) -> Counter:
            return Counter(f"redisflow_{name}", says, labels, registry=registry)

        def gauge(name: str, says: str, *labels: str) -> Gauge:
            return Gauge(f"redisflow_{name}", says, labels, registry=registry)

        def histogram(name: str, says: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(f"redisflow_{name}_seconds", says, labels, registry=registry, buckets=buckets)

        self.started = counter("runs_started", "Runs taken up for the first time", "workflow", "version")
        self.finished = counter("runs_finished", "Runs that workers ended", "workflow", "status")
        self.duration = histogram("run_duration", "From the first claim to the end", RUN_BUCKETS_S, "workflow")
        self.latency = histogram(
            "run_schedule_latency", "From when a run was available to its first claim", RUN_BUCKETS_S, "workflow"
        )
        self.steps = counter("steps_finished", "Steps that have ended for good", "workflow", "step", "outcome")
        self.step_duration = histogram(
            "step_duration", "Of the attempt that ended a step", RUN_BUCKETS_S, "workflow", "step"
        )
        self.retries = counter("step_retries", "Failed attempts that are tried again", "workflow", "step")
        self.depth = gauge("queue_depth", "Runs that wait to be claimed", "queue")
        self.oldest = gauge("queue_oldest_age_seconds", "Since the oldest run of the queue came", "queue")
        self.delayed = gauge("delayed_runs", "Runs that have a due time or a deadline")
        self.pending = gauge("pending_entries", "Stream entries that workers hold")
        self.reclaims = counter("reclaims", "Runs taken from workers that are dead or do not answer")
        self.slots = gauge("worker_slots", "Places for runs of the workers of this process", "state")
        self.slots.labels("held").set_function(lambda: sum(each().held for each in list(self.vitals.values())))
        self.slots.labels("free").set_function(lambda: sum(each().free for each in list(self.vitals.values())))
        self.heartbeat = gauge("worker_heartbeat_age_seconds", "Since a worker of this process renewed its leases")
        self.heartbeat.set_function(
            lambda: max((each().heartbeat_age_s for each in list(self.vitals.values())), default=0.0)
        )
        self.calls = histogram("redis_command_duration", "From sending a script to its reply", CALL_BUCKETS_S, "script")
        self.errors = counter("redis_errors", "Calls of Redis that were refused, or not answered")
        self.nondeterminism = counter("nondeterminism", "Runs put aside because code and record do not match")
        self.runs = gauge("runs", "Stored runs", "status")
        info = Info("redisflow_build", "The version that works here", registry=registry)
        info.info({"version": version("redisflow")})


_known: WeakKeyDictionary[CollectorRegistry, _Metrics] = WeakKeyDictionary()
"""A name may be in a registry once, however many flows of a process use it."""


class Prometheus(Observer):
    """Counters, histograms and gauges, for `RedisFlow(telemetry=[Prometheus()])`: docs/telemetry.md names them.

    They are in `registry`, by default the one that the client library serves everywhere. With `step_names=False` the
    label `step` is empty: for workflows that make up names of steps. MissingExtra where the library is not installed:
    `pip install 'redisflow[prometheus]'`.
    """

    has_metrics = True
    wants_details = True
    wants_backlog = True
    wants_calls = True

    def __init__(self, registry: CollectorRegistry | None = None, *, step_names: bool = True) -> None:
        """Several for one registry share what is in it."""
        self.registry = REGISTRY if registry is None else registry
        self._step_names = step_names
        metrics = _known.get(self.registry)
        if metrics is None:
            metrics = _known[self.registry] = _Metrics(self.registry)
        self._metrics = metrics

    def exposition(self) -> bytes:
        """The registry as Prometheus reads it."""
        return generate_latest(self.registry)

    def worker_began(self, name: str, vitals: Callable[[], Vitals]) -> None:
        """See `Observer`."""
        self._metrics.vitals[name] = vitals

    def worker_ended(self, name: str) -> None:
        """See `Observer`."""
        self._metrics.vitals.pop(name, None)

    def run_taken(self, claim: Claim, worker: str, at_ms: int) -> None:
        """See `Observer`."""
        if is_first(claim):
            self._metrics.started.labels(claim.workflow, claim.version or "").inc()
            waited_ms = claim.started_at_ms - claim.due_at_ms
            self._metrics.latency.labels(claim.workflow).observe(max(0, waited_ms) / 1000)

    def run_left(self, claim: Claim, how: str, at_ms: int) -> None:
        """See `Observer`."""
        if how in _ENDED:
            self._metrics.finished.labels(claim.workflow, how).inc()
            self._metrics.duration.labels(claim.workflow).observe(max(0, at_ms - claim.started_at_ms) / 1000)
        elif how == "suspended":
            self._metrics.nondeterminism.inc()

    def recorded(self, claim: Claim, records: Sequence[Record]) -> None:
        """See `Observer`."""
        for record in records:
            if isinstance(record, StepSucceeded | StepFailed):
                step = self._step(record.call.key)
                self._metrics.steps.labels(claim.workflow, step, _outcome(record)).inc()
                took_s = max(0, record.at_ms - record.started_at_ms) / 1000
                self._metrics.step_duration.labels(claim.workflow, step).observe(took_s)
            elif isinstance(record, AttemptFailed):
                self._metrics.retries.labels(claim.workflow, self._step(record.call.key)).inc()

    def _step(self, key: str) -> str:
        return step_name(key) if self._step_names else ""

    def reclaimed(self, runs: int) -> None:
        """See `Observer`."""
        self._metrics.reclaims.inc(runs)

    def script_called(self, script: str, seconds: float) -> None:
        """See `Observer`."""
        self._metrics.calls.labels(script).observe(seconds)

    def redis_failed(self) -> None:
        """See `Observer`."""
        self._metrics.errors.inc()

    def backlog_seen(self, backlog: Backlog) -> None:
        """See `Observer`."""
        metrics = self._metrics
        for each in backlog.queues:
            metrics.depth.labels(each.queue).set(max(0, each.runs - each.held))
            # The oldest may be held: where nothing waits, nothing waits for long.
            since_ms = each.oldest_ms if each.runs > each.held else None
            age_ms = 0 if since_ms is None else max(0, backlog.now_ms - since_ms)
            metrics.oldest.labels(each.queue).set(age_ms / 1000)
        metrics.pending.set(sum(each.held for each in backlog.queues))
        metrics.delayed.set(backlog.delayed)
        for status, count in backlog.runs.items():
            metrics.runs.labels(status).set(count)


def _outcome(record: StepSucceeded | StepFailed) -> str:
    if isinstance(record, StepSucceeded):
        return "succeeded"
    return "timed_out" if record.timed_out else "failed"
