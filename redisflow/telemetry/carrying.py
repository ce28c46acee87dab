"""The context of a trace as text, to be stored with a run: W3C headers, a line for each, of bounded size."""

from __future__ import annotations

from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

MOST_BYTES = {"traceparent": 64, "tracestate": 512, "baggage": 1024}
"""Of each line; what is longer is left out, as the standard allows for all but the first."""

_headers = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])


def write_context(context: Context | None = None) -> str:
    """This context (or the current one); empty where there is none.

    `traceparent` stands without its name, in 55 bytes: a hash with a value of more than 64 takes twice the memory.
    """
    carrier: dict[str, str] = {}
    _headers.inject(carrier, context)
    kept = [(name, carrier[name]) for name, most in MOST_BYTES.items() if 0 < len(carrier.get(name, "")) <= most]
    return "\n".join(value if name == "traceparent" else f"{name}: {value}" for name, value in kept)


def read_context(text: str | None) -> Context:
    """What was written; an empty context where it says nothing that can be read."""
    carrier: dict[str, str] = {}
    for line in (text or "").split("\n"):
        name, colon, value = line.partition(": ")
        if not colon:
            carrier["traceparent"] = line
        elif name in MOST_BYTES:
            carrier[name] = value
    return _headers.extract(carrier, Context())
