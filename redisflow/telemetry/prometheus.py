"""Metrics for Prometheus, of this process and of the namespace that it works for."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from redisflow.telemetry.metered import HEARTBEAT, SLOTS, TOLD, Fleet, MeteredObserver, Metric


class _Metrics:
    """All that there are, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.fleet = Fleet()
        self.by_metric: dict[Metric, Any] = {metric: _make(metric, registry) for metric in (*TOLD, SLOTS, HEARTBEAT)}
        self.by_metric[SLOTS].labels("held").set_function(self.fleet.held)
        self.by_metric[SLOTS].labels("free").set_function(self.fleet.free)
        self.by_metric[HEARTBEAT].set_function(self.fleet.heartbeat_age_s)
        Info("redisflow_build", "The version that works here", registry=registry).info(
            {"version": version("redisflow")}
        )


def _make(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    name = f"redisflow_{metric.name}{'_seconds' if metric.in_seconds else ''}"
    match metric.kind:
        case "counter":
            return Counter(name, metric.says, metric.labels, registry=registry)
        case "gauge":
            return Gauge(name, metric.says, metric.labels, registry=registry)
        case "histogram":
            return Histogram(name, metric.says, metric.labels, registry=registry, buckets=metric.buckets)


_known: WeakKeyDictionary[CollectorRegistry, _Metrics] = WeakKeyDictionary()
"""A name may be in a registry once, however many flows of a process use it."""


class Prometheus(MeteredObserver):
    """Counters, histograms and gauges, for `RedisFlow(telemetry=[Prometheus()])`: docs/telemetry.md names them.

    They are in `registry`, by default the one that the client library serves everywhere. With `step_names=False` the
    label `step` is empty: for workflows that make up names of steps. MissingExtra where the library is not installed:
    `pip install 'redisflow[prometheus]'`.
    """

    has_metrics = True

    def __init__(self, registry: CollectorRegistry | None = None, *, step_names: bool = True) -> None:
        """Several for one registry share what is in it."""
        self.registry = REGISTRY if registry is None else registry
        metrics = _known.get(self.registry)
        if metrics is None:
            metrics = _known[self.registry] = _Metrics(self.registry)
        super().__init__(metrics.fleet, step_names=step_names)
        self._by_metric = metrics.by_metric

    def exposition(self) -> bytes:
        """The registry as Prometheus reads it."""
        return generate_latest(self.registry)

    def _of(self, metric: Metric, labels: tuple[str, ...]) -> Any:
        found = self._by_metric[metric]
        return found.labels(*labels) if labels else found

    def add(self, metric: Metric, number: float, *labels: str) -> None:
        """See `MeteredObserver`."""
        self._of(metric, labels).inc(number)

    def observe(self, metric: Metric, seconds: float, *labels: str) -> None:
        """See `MeteredObserver`."""
        self._of(metric, labels).observe(seconds)

    def set(self, metric: Metric, number: float, *labels: str) -> None:
        """See `MeteredObserver`."""
        self._of(metric, labels).set(number)
