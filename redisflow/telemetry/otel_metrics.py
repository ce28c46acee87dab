"""The metrics of Prometheus under OpenTelemetry's kind of names: `redisflow.run.duration`, with the unit `s`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import Any

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation

from redisflow.telemetry.metered import HEARTBEAT, SLOTS, TOLD, Fleet, MeteredObserver, Metric


class OpenTelemetryMetrics(MeteredObserver):
    """Counters, histograms and gauges, for `RedisFlow(telemetry=[OpenTelemetryMetrics()])`.

    They go to the provider that is given, or the one that the application has set (`metrics.set_meter_provider`). With
    `step_names=False` the attribute `step` is empty: for workflows that make up names of steps. MissingExtra where the
    API is not installed: `pip install 'redisflow[otel]'`.
    """

    def __init__(self, meter_provider: MeterProvider | None = None, *, step_names: bool = True) -> None:
        """Make one of them a process."""
        fleet = Fleet()
        super().__init__(fleet, step_names=step_names)
        meter = metrics.get_meter("redisflow", version("redisflow"), meter_provider)
        self._by_metric = {metric: _make(meter, metric) for metric in TOLD}
        _watch(meter, SLOTS, lambda: {"held": fleet.held(), "free": fleet.free()})
        _watch(meter, HEARTBEAT, lambda: {"": fleet.heartbeat_age_s()})

    def add(self, metric: Metric, number: float, *labels: str) -> None:
        """See `MeteredObserver`."""
        self._by_metric[metric].add(number, _attributes(metric, labels))

    def observe(self, metric: Metric, seconds: float, *labels: str) -> None:
        """See `MeteredObserver`."""
        self._by_metric[metric].record(seconds, _attributes(metric, labels))

    def set(self, metric: Metric, number: float, *labels: str) -> None:
        """See `MeteredObserver`."""
        self._by_metric[metric].set(number, _attributes(metric, labels))


def name_of(metric: Metric) -> str:
    """`redisflow.run.duration`."""
    return f"redisflow.{metric.name.replace('_', '.')}"


def _attributes(metric: Metric, labels: tuple[str, ...]) -> dict[str, str]:
    return {f"redisflow.{name}": value for name, value in zip(metric.labels, labels, strict=True)}


def _make(meter: Meter, metric: Metric) -> Any:
    name, unit = name_of(metric), "s" if metric.in_seconds else "1"
    match metric.kind:
        case "counter":
            return meter.create_counter(name, unit, metric.says)
        case "gauge":
            return meter.create_gauge(name, unit, metric.says)
        case "histogram":
            return meter.create_histogram(
                name, unit, metric.says, explicit_bucket_boundaries_advisory=list(metric.buckets)
            )


def _watch(meter: Meter, metric: Metric, read: Callable[[], Mapping[str, float]]) -> None:
    """A gauge that is read when somebody asks."""

    def look(_options: CallbackOptions) -> Iterator[Observation]:
        for label, number in read().items():
            yield Observation(number, _attributes(metric, (label,) if metric.labels else ()))

    meter.create_observable_gauge(name_of(metric), [look], "s" if metric.in_seconds else "1", metric.says)
