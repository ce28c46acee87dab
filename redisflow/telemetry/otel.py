"""Traces of runs with OpenTelemetry: one trace from the start of a run over each worker that had it to its end.

No span is held while a run waits: a run that sleeps for a month is in no memory, and a span that is not ended is
exported by nobody. So each execution slice is a span, which ends when the run is parked; what the run waited for
becomes a span once it is over, with the times at which it began and ended; and the run as a whole one at its end. What
a step did before a worker took the run up is replayed, and told no second time.

The hard thing is the way from worker to worker: the context of the start is stored with the run, and that of a slice
with its first commit, so that the next slice can name it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import Context, copy_context
from importlib.metadata import version
from typing import Literal

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, TracerProvider
from opentelemetry.util.types import AttributeValue

from redisflow.contract import Claim, NewRun
from redisflow.contract.observer import Attempt, AttemptEnd, Observer, began_ms, claims_of, is_first, step_name
from redisflow.records import Record
from redisflow.telemetry.carrying import read_context, write_context
from redisflow.telemetry.waits import EndedWait, KnownSteps

TraceMode = Literal["follow", "link"]
TRACE_FIELD = "tc"
"""Of a run's hash."""

_ENDED = frozenset({"succeeded", "failed", "canceled"})
_REASONS = {"sleep": "timer", "wait_for_signal": "signal", "run_workflow": "child"}


class _Slice:
    """An execution slice that goes on."""

    __slots__ = ("context", "has_reason", "span", "steps")

    def __init__(self, span: Span, context: contexts.Context, claim: Claim) -> None:
        self.span = span
        self.context = context
        self.steps = KnownSteps(claim)
        self.has_reason = False

    def resumed_by(self, reason: str) -> None:
        """The first thing that it goes on with says why it was woken."""
        if not self.has_reason:
            self.has_reason = True
            self.span.set_attribute("redisflow.resume.reason", reason)


class OpenTelemetry(Observer):
    """Spans of starts, runs and steps, for `RedisFlow(telemetry=[OpenTelemetry()])`.

    They go to the provider that is given, or the one that the application has set (`trace.set_tracer_provider`). With
    `trace_mode="link"` each execution slice is a trace of its own, which has a link to the start and to the slice
    before: for runs that go on for months, whose one trace no store keeps together. Payloads, results and the messages
    of errors are in no span. MissingExtra where the API is not installed: `pip install 'redisflow[otel]'`.
    """

    wants_details = True
    wants_attempts = True

    def __init__(self, tracer_provider: TracerProvider | None = None, *, trace_mode: TraceMode = "follow") -> None:
        """ValueError for another mode."""
        if trace_mode not in ("follow", "link"):
            msg = f'trace_mode is "follow" or "link", not {trace_mode!r}'
            raise ValueError(msg)
        self._provider = tracer_provider
        self._mode: TraceMode = trace_mode
        self._namespace = "default"
        self._tracer: Tracer = trace.get_tracer("redisflow", version("redisflow"), tracer_provider)
        self._slices: dict[str, _Slice] = {}
        self._attempts: dict[tuple[str, Attempt], Span] = {}

    def bound(self, namespace: str) -> Observer:
        """See `Observer`."""
        made = OpenTelemetry(self._provider, trace_mode=self._mode)
        made._namespace = namespace
        return made

    # -- starts ---------------------------------------------------------------------------------------------------

    @contextmanager
    def starting(self, new: NewRun) -> Generator[None]:
        """See `Observer`."""
        attributes = self._attributes(new.run_id, new.workflow, new.version, new.queue) | {
            "messaging.operation.type": "send",
            "messaging.operation.name": "create_run",
        }
        with self._tracer.start_as_current_span(
            f"workflow.start {new.workflow}",
            kind=SpanKind.PRODUCER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            text = write_context()
            if text:
                new.fields = {**new.fields, TRACE_FIELD: text}
            try:
                yield
            except BaseException as error:  # raised again: a start that is cancelled has failed, too
                _fail(span, error)
                raise

    def _attributes(
        self, run_id: str, workflow: str, version: str | None, queue: str | None = None
    ) -> dict[str, AttributeValue]:
        made: dict[str, AttributeValue] = {
            "redisflow.run.id": run_id,
            "redisflow.workflow.name": workflow,
            "redisflow.namespace": self._namespace,
        }
        if version is not None:
            made["redisflow.workflow.version"] = version
        if queue is not None:
            made |= {
                "messaging.system": "redis",
                "messaging.destination.name": queue,
                "messaging.message.id": run_id,
            }
        return made

    # -- execution slices -----------------------------------------------------------------------------------------

    def run_taken(self, claim: Claim, worker: str, at_ms: int) -> None:
        """See `Observer`."""
        hold = claim.hold
        start, last = read_context(claim.trace), read_context(claim.last_trace)
        links = [Link(span) for span in (_span_of(last),) if span.is_valid]
        parent = start if _span_of(start).is_valid else last
        if self._mode == "link":
            links = [Link(span) for span in (_span_of(start),) if span.is_valid] + links
            # What it carries along stays: it is the trace that is another one.
            parent = trace.set_span_in_context(trace.INVALID_SPAN, parent)
        attributes = self._attributes(hold.run_id, claim.workflow, claim.version, hold.queue) | {
            "messaging.operation.type": "process",
            "messaging.operation.name": "claim_runs",
            "messaging.consumer.group.name": "workers",
            "redisflow.execution.attempt": claims_of(claim),
            "redisflow.worker.id": worker,
            "redisflow.resume.reason": "start" if is_first(claim) else "reclaim",
        }
        span = self._tracer.start_span(
            f"workflow.execute {claim.workflow}",
            context=parent,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=links,
        )
        made = _Slice(span, trace.set_span_in_context(span, parent), claim)
        made.has_reason = is_first(claim) or claim.crashes > 0
        self._slices[_key(claim)] = made

    def mark_of(self, claim: Claim) -> str | None:
        """See `Observer`."""
        one = self._slices.get(_key(claim))
        mark = "" if one is None else write_context(one.context).partition("\n")[0]
        return mark if mark and ": " not in mark else None

    def run_left(self, claim: Claim, how: str, at_ms: int) -> None:
        """See `Observer`."""
        one = self._slices.pop(_key(claim), None)
        if one is None:
            return
        if how in _ENDED:
            self._tell_run(one, claim, how, at_ms)
        one.span.set_attribute("redisflow.execution.outcome", how)
        if how in {"failed", "suspended"}:
            one.span.set_status(Status(StatusCode.ERROR, how))
        one.span.end()

    def _tell_run(self, one: _Slice, claim: Claim, status: str, at_ms: int) -> None:
        attributes = self._attributes(claim.hold.run_id, claim.workflow, claim.version) | {
            "redisflow.run.status": status,
            "redisflow.steps.count": one.steps.ended,
        }
        start = read_context(claim.trace)
        span = self._tracer.start_span(
            f"workflow.run {claim.workflow}",
            # As the slices: beside them, under the start.
            context=start if self._mode == "follow" and _span_of(start).is_valid else one.context,
            attributes=attributes,
            links=[Link(_span_of(start))] if self._mode == "link" and _span_of(start).is_valid else None,
            start_time=_ns(began_ms(claim)),
        )
        if status == "failed":
            span.set_status(Status(StatusCode.ERROR, status))
        span.end(_ns(max(at_ms, began_ms(claim))))

    # -- steps ----------------------------------------------------------------------------------------------------

    def attempt_began(self, claim: Claim, attempt: Attempt) -> Context | None:
        """See `Observer`: the span is the current one where the body runs, in a context of its own."""
        one = self._slices.get(_key(claim))
        if one is None:
            return None
        if attempt.number > 1:
            one.resumed_by("retry")
        name = step_name(attempt.key)
        span = self._attempts[_key(claim), attempt] = self._tracer.start_span(
            f"step.run {name}",
            context=one.context,
            attributes=self._attributes(claim.hold.run_id, claim.workflow, claim.version)
            | {
                "redisflow.step.name": name,
                "redisflow.step.key": attempt.key,
                "redisflow.step.kind": attempt.kind,
                "redisflow.step.attempt": attempt.number,
            },
        )
        made = copy_context()
        made.run(contexts.attach, trace.set_span_in_context(span, one.context))
        return made

    def attempt_ended(self, claim: Claim, attempt: Attempt, how: AttemptEnd, error: BaseException | None) -> None:
        """See `Observer`."""
        span = self._attempts.pop((_key(claim), attempt), None)
        if span is None:
            return
        span.set_attribute("redisflow.step.outcome", how)
        if error is not None:
            _fail(span, error)
        span.end()

    def recorded(self, claim: Claim, records: Sequence[Record]) -> None:
        """See `Observer`: what was waited for has become a fact."""
        one = self._slices.get(_key(claim))
        if one is None:
            return
        for wait in one.steps.add(records):
            one.resumed_by(_REASONS[wait.kind])
            self._tell_wait(one, claim, wait)

    def _tell_wait(self, one: _Slice, claim: Claim, wait: EndedWait) -> None:
        name = step_name(wait.key)
        attributes = self._attributes(claim.hold.run_id, claim.workflow, claim.version) | {
            "redisflow.step.name": name,
            "redisflow.step.key": wait.key,
            "redisflow.step.kind": wait.kind,
            "redisflow.wait.outcome": wait.outcome,
        }
        if wait.due_at_ms is not None:
            attributes["redisflow.wait.timeout_ms"] = max(0, wait.due_at_ms - wait.asked_at_ms)
        span = self._tracer.start_span(
            f"step.{wait.kind} {name}", context=one.context, attributes=attributes, start_time=_ns(wait.asked_at_ms)
        )
        if wait.outcome in {"failed", "canceled"}:
            span.set_status(Status(StatusCode.ERROR, wait.outcome))
        span.end(_ns(max(wait.ended_at_ms, wait.asked_at_ms)))


def _key(claim: Claim) -> str:
    return f"{claim.hold.run_id} {claim.hold.fence}"


def _span_of(context: contexts.Context) -> trace.SpanContext:
    return trace.get_current_span(context).get_span_context()


def _fail(span: Span, error: BaseException) -> None:
    """What kind of error it was; its message may be what users store."""
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, kind))


def _ns(at_ms: int) -> int:
    return at_ms * 1_000_000
