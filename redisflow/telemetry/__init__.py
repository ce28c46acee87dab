"""What listens to workers and clients: traces, metrics, counters by the minute.

Choose where the flow is made:

    from redisflow.telemetry import OpenTelemetry, Prometheus
    flow = RedisFlow(telemetry=[OpenTelemetry(), Prometheus()])

Each is imported when it is first asked for, since each needs a library that only some install (`redisflow[otel]`,
`redisflow[prometheus]`): MissingExtra says which. Whom they listen to is `redisflow.contract.observer`.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from redisflow.errors import MissingExtra

if TYPE_CHECKING:
    from redisflow.telemetry.otel import OpenTelemetry as OpenTelemetry
    from redisflow.telemetry.otel_metrics import OpenTelemetryMetrics as OpenTelemetryMetrics
    from redisflow.telemetry.prometheus import Prometheus as Prometheus

__all__ = ["OpenTelemetry", "OpenTelemetryMetrics", "Prometheus"]


def __getattr__(name: str) -> Any:
    """Import what is asked for."""
    if name == "OpenTelemetry":
        with _needing("opentelemetry", "otel"):
            from redisflow.telemetry.otel import OpenTelemetry  # noqa: PLC0415  # an extra
        return OpenTelemetry
    if name == "OpenTelemetryMetrics":
        with _needing("opentelemetry", "otel"):
            from redisflow.telemetry.otel_metrics import OpenTelemetryMetrics  # noqa: PLC0415  # an extra
        return OpenTelemetryMetrics
    if name == "Prometheus":
        with _needing("prometheus_client", "prometheus"):
            from redisflow.telemetry.prometheus import Prometheus  # noqa: PLC0415  # an extra
        return Prometheus
    msg = f"module 'redisflow.telemetry' has no attribute {name!r}"
    raise AttributeError(msg)


@contextmanager
def _needing(library: str, extra: str) -> Generator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != library:
            raise
        msg = f"this needs {library}, which is not installed here: pip install 'redisflow[{extra}]'"
        raise MissingExtra(msg) from error
