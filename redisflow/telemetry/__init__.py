"""What listens to workers and clients: traces, metrics, counters by the minute.

Choose where the flow is made:

    from redisflow.telemetry import OpenTelemetry, Prometheus
    flow = RedisFlow(telemetry=[OpenTelemetry(), Prometheus()])

Each is imported when it is first asked for, since each needs a library that only some install (`redisflow[otel]`,
`redisflow[prometheus]`): MissingExtra says which. Whom they listen to is `redisflow.contract.observer`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from redisflow.errors import MissingExtra

if TYPE_CHECKING:
    from redisflow.telemetry.otel import OpenTelemetry as OpenTelemetry
    from redisflow.telemetry.prometheus import Prometheus as Prometheus

__all__ = ["OpenTelemetry", "Prometheus"]
_WHERE = {"OpenTelemetry": ("otel", "opentelemetry"), "Prometheus": ("prometheus", "prometheus_client")}


def __getattr__(name: str) -> Any:
    """Import what is asked for."""
    if name not in _WHERE:
        msg = f"module 'redisflow.telemetry' has no attribute {name!r}"
        raise AttributeError(msg)
    extra, library = _WHERE[name]
    try:
        module = import_module(f"redisflow.telemetry.{extra}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != library:
            raise
        msg = f"{name} needs {library}, which is not installed here: pip install 'redisflow[{extra}]'"
        raise MissingExtra(msg) from error
    return getattr(module, name)
