"""Traces of runs, as the SDK of OpenTelemetry exports them: over sleeps, children, retries, crashes and take-overs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from redisflow import ChildFailed, RedisFlow, RetryPolicy, Step, StepOptions, WorkflowFailed
from redisflow.telemetry import OpenTelemetry
from redisflow.telemetry.carrying import MOST_BYTES, read_context, write_context
from tests.stories.world import until

QUICK = RetryPolicy(maximum_attempts=3, initial_interval="10ms", jitter=0)
SECRET = "a secret that users store"


class Traces:
    """What was exported."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("tests")

    def spans(self, name: str = "") -> list[ReadableSpan]:
        """Those whose name begins so, by when they began."""
        found = [span for span in self.exporter.get_finished_spans() if span.name.startswith(name)]
        return sorted(found, key=lambda span: span.start_time or 0)

    def one(self, name: str) -> ReadableSpan:
        """The only one."""
        (span,) = self.spans(name)
        return span

    def tree(self) -> set[tuple[str, str | None]]:
        """Names of spans, each with that of its parent."""
        spans = self.spans()
        names = {span.context.span_id: span.name for span in spans}
        return {(span.name, names.get(span.parent.span_id, "?") if span.parent else None) for span in spans}


@pytest.fixture
def traces() -> Traces:
    return Traces()


@pytest.fixture
async def flow(valkey_url: str, namespace: str, traces: Traces) -> AsyncIterator[RedisFlow]:
    async with RedisFlow(valkey_url, namespace=namespace, telemetry=[OpenTelemetry(traces.provider)]) as made:
        yield made


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_one_trace_has_the_start_the_slice_its_steps_and_the_run(flow: RedisFlow, traces: Traces) -> None:
    @flow.define_workflow("pay", version="2", queue="money")
    async def pay(value: str, step: Step) -> str:
        async def charge(card: str) -> str:
            with traces.tracer.start_as_current_span("inside"):
                await asyncio.sleep(0)
            return card

        def send(text: str) -> str:
            with traces.tracer.start_as_current_span("in a thread"):
                return text

        await step.run("charge", charge, value)
        return await step.run("send", send, value)

    with traces.tracer.start_as_current_span("request"):
        handle = await pay.run(SECRET)
    async with flow.new_worker() as worker:
        await handle.result(timeout=30)
    assert traces.tree() == {
        ("request", None),
        ("workflow.start pay", "request"),
        ("workflow.execute pay", "workflow.start pay"),
        ("step.run charge", "workflow.execute pay"),
        ("inside", "step.run charge"),
        ("step.run send", "workflow.execute pay"),
        ("in a thread", "step.run send"),
        ("workflow.run pay", "workflow.start pay"),
    }
    assert len({span.context.trace_id for span in traces.spans()}) == 1
    start = traces.one("workflow.start")
    assert start.kind is SpanKind.PRODUCER
    assert attributes(start) == {
        "redisflow.run.id": handle.id,
        "redisflow.workflow.name": "pay",
        "redisflow.workflow.version": "2",
        "redisflow.namespace": flow.namespace,
        "messaging.system": "redis",
        "messaging.destination.name": "money",
        "messaging.message.id": handle.id,
        "messaging.operation.type": "send",
        "messaging.operation.name": "create_run",
    }
    execute = traces.one("workflow.execute")
    assert execute.kind is SpanKind.CONSUMER
    assert attributes(execute)["redisflow.worker.id"] == worker.name
    assert attributes(execute)["redisflow.execution.attempt"] == 1
    assert attributes(execute)["redisflow.resume.reason"] == "start"
    assert attributes(execute)["redisflow.execution.outcome"] == "succeeded"
    run = traces.one("workflow.run")
    assert attributes(run)["redisflow.run.status"] == "succeeded"
    assert attributes(run)["redisflow.steps.count"] == 2
    stored = await flow.get_run(handle.id)
    assert stored.started_at is not None
    assert run.start_time == int(stored.started_at.timestamp() * 1000) * 1_000_000
    assert not any(SECRET in span.to_json() for span in traces.spans())


async def test_a_sleep_is_told_when_it_is_over_and_no_span_is_open_meanwhile(flow: RedisFlow, traces: Traces) -> None:
    ran: list[str] = []

    @flow.define_workflow("nap")
    async def nap(step: Step) -> None:
        async def note(text: str) -> None:
            ran.append(text)

        await step.run("before", note, "before")
        await step.sleep("doze", "1500ms")
        await step.run("after", note, "after")

    handle = await nap.run()
    async with flow.new_worker():
        await until(flow, handle.id, lambda run: run.waiting_for == "timer")
    # The slice has ended with the park: everything that there is was exported.
    assert {span.name for span in traces.spans()} == {"workflow.start nap", "workflow.execute nap", "step.run before"}
    # Another worker goes on, as another process would.
    async with flow.new_worker() as other:
        await handle.result(timeout=30)
    assert ran == ["before", "after"]
    first, second = traces.spans("workflow.execute")
    assert attributes(first)["redisflow.execution.outcome"] == "parked"
    assert attributes(second)["redisflow.resume.reason"] == "timer"
    assert attributes(second)["redisflow.worker.id"] == other.name
    assert [link.context.span_id for link in second.links] == [first.context.span_id]
    assert not first.links
    assert len({span.context.trace_id for span in traces.spans()}) == 1
    doze = traces.one("step.sleep doze")
    assert doze.parent is not None
    assert doze.parent.span_id == second.context.span_id
    assert doze.end_time is not None
    assert doze.start_time is not None
    assert 1500e6 <= doze.end_time - doze.start_time < 20e9
    assert 1500 <= attributes(doze)["redisflow.wait.timeout_ms"] < 2500
    # Replayed, it is told no second time.
    assert len(traces.spans("step.run before")) == 1
    assert attributes(traces.one("workflow.run"))["redisflow.steps.count"] == 3


async def test_a_child_is_in_the_trace_of_its_parent(flow: RedisFlow, traces: Traces) -> None:
    @flow.define_workflow("child")
    async def child(value: int, step: Step) -> int:
        async def work() -> int:
            return value

        return await step.run("work", work)

    @flow.define_workflow("parent")
    async def parent(step: Step) -> int:
        return await step.run_workflow(child, 7, name="helper")

    async with flow.new_worker():
        assert await (await parent.run()).result(timeout=30) == 7
    assert {
        ("step.run helper", "workflow.execute parent"),
        ("workflow.start child", "step.run helper"),
        ("workflow.execute child", "workflow.start child"),
        ("step.run work", "workflow.execute child"),
        ("workflow.run child", "workflow.start child"),
        ("step.run_workflow helper", "workflow.execute parent"),
    } <= traces.tree()
    assert len({span.context.trace_id for span in traces.spans()}) == 1
    waited = traces.one("step.run_workflow helper")
    assert attributes(waited)["redisflow.wait.outcome"] == "succeeded"
    assert attributes(traces.one("step.run helper"))["redisflow.step.kind"] == "child"


async def test_each_attempt_is_a_span_and_says_what_kind_of_error_it_was(flow: RedisFlow, traces: Traces) -> None:
    @flow.define_workflow("flaky")
    async def flaky(step: Step) -> None:
        async def fail() -> None:
            raise ValueError(SECRET)

        await step.run(StepOptions(name="try", retry=QUICK), fail)

    async with flow.new_worker():
        handle = await flaky.run()
        with pytest.raises(WorkflowFailed):
            await handle.result(timeout=30)
    attempts = traces.spans("step.run try")
    assert [attributes(span)["redisflow.step.attempt"] for span in attempts] == [1, 2, 3]
    assert {attributes(span)["error.type"] for span in attempts} == {"ValueError"}
    assert {span.status.status_code for span in attempts} == {StatusCode.ERROR}
    run = traces.one("workflow.run")
    assert run.status.status_code is StatusCode.ERROR
    assert not any(SECRET in span.to_json() for span in traces.spans())


async def test_a_signal_says_whether_it_came(flow: RedisFlow, traces: Traces) -> None:
    @flow.define_workflow("ask")
    async def ask(step: Step) -> None:
        await step.wait_for_signal("answer")
        await step.wait_for_signal("silence", timeout="50ms")

    async with flow.new_worker():
        handle = await ask.run()
        await until(flow, handle.id, lambda run: run.waiting_for == "signal")
        await handle.signal("answer")
        await handle.result(timeout=30)
    came, never = traces.spans("step.wait_for_signal")
    assert attributes(came)["redisflow.wait.outcome"] == "received"
    assert "redisflow.wait.timeout_ms" not in attributes(came)
    assert attributes(never)["redisflow.wait.outcome"] == "timed_out"
    assert attributes(never)["redisflow.wait.timeout_ms"] >= 50
    assert attributes(traces.spans("workflow.execute")[1])["redisflow.resume.reason"] == "signal"


async def test_who_takes_a_run_over_goes_on_with_its_trace(
    valkey_url: str, namespace: str, traces: Traces, flow: RedisFlow
) -> None:
    """The first worker's loop stops turning in the middle, as that of a process that has crashed."""
    hangs, goes_on = threading.Event(), threading.Event()

    def define(where: RedisFlow, body: Any) -> Any:
        @where.define_workflow("long")
        async def long(step: Step) -> str:
            async def done() -> str:
                return "kept"

            await step.run("first", done)
            return await step.run("second", body)

        return long

    async def hang() -> str:
        hangs.set()
        goes_on.wait(60)
        return "never recorded"

    async def quick() -> str:
        return "done"

    def crash() -> None:
        async def work() -> None:
            async with RedisFlow(valkey_url, namespace=namespace, telemetry=[OpenTelemetry(traces.provider)]) as lost:
                define(lost, hang)
                async with lost.new_worker(lease="600ms", grace=0):
                    await asyncio.to_thread(goes_on.wait, 60)

        asyncio.run(work())

    long = define(flow, quick)
    handle = await long.run()
    thread = threading.Thread(target=crash)
    thread.start()
    try:
        await asyncio.to_thread(hangs.wait, 60)
        backend = await flow.open()
        # Its lease is kept by its thread: what takes the run away is what upkeep does to a dead worker.
        async with flow.new_worker(lease="600ms"):
            assert (await backend.reclaim_runs(0, "default", 0, 3)).reclaimed == 1
            assert await handle.result(timeout=30) == "done"
    finally:
        goes_on.set()
        await asyncio.to_thread(thread.join, 30)
    executions = {attributes(span)["redisflow.execution.attempt"]: span for span in traces.spans("workflow.execute")}
    first, last = executions[min(executions)], executions[max(executions)]
    assert attributes(last)["redisflow.resume.reason"] == "reclaim"
    assert [link.context.span_id for link in last.links] == [first.context.span_id]
    assert first.context.trace_id == last.context.trace_id
    # What was recorded before is not told again; what was lost in the middle is, by whoever did it: twice it has run.
    assert len(traces.spans("step.run first")) == 1
    assert len(traces.spans("step.run second")) == 2
    assert len(traces.spans("workflow.run")) == 1


async def test_with_links_each_slice_is_a_trace_of_its_own(valkey_url: str, namespace: str, traces: Traces) -> None:
    telemetry = [OpenTelemetry(traces.provider, trace_mode="link")]
    async with RedisFlow(valkey_url, namespace=namespace, telemetry=telemetry) as flow:

        @flow.define_workflow("years")
        async def years(step: Step) -> None:
            await step.sleep("one", "20ms")

        async with flow.new_worker():
            await (await years.run()).result(timeout=30)
    start = traces.one("workflow.start")
    first, second = traces.spans("workflow.execute")
    assert len({span.context.trace_id for span in (start, first, second)}) == 3
    assert [link.context.span_id for link in first.links] == [start.context.span_id]
    assert [link.context.span_id for link in second.links] == [start.context.span_id, first.context.span_id]
    assert [link.context.span_id for link in traces.one("workflow.run").links] == [start.context.span_id]


async def test_a_run_that_nobody_traced_begins_a_trace_and_keeps_it(
    flow: RedisFlow, traces: Traces, valkey_url: str, namespace: str
) -> None:
    @flow.define_workflow("bare")
    async def bare(step: Step) -> None:
        await step.sleep("one", "20ms")

    async with RedisFlow(valkey_url, namespace=namespace) as plain:
        handle = await plain.run_workflow(bare.spec)
    async with flow.new_worker():
        await until(flow, handle.id, lambda run: run.status == "succeeded")
    assert len({span.context.trace_id for span in traces.spans()}) == 1
    assert len(traces.spans("workflow.execute")) == 2


async def test_a_refused_start_says_so(flow: RedisFlow, traces: Traces) -> None:
    @flow.define_workflow("one-at-a-time")
    async def one(step: Step) -> None:
        await step.wait_for_signal("never")

    await one.run(unique_key="k", on_conflict="reject")
    with pytest.raises(Exception, match="unique key"):
        await one.run(unique_key="k", on_conflict="reject")
    first, second = traces.spans("workflow.start")
    assert first.status.status_code is StatusCode.UNSET
    assert second.context.span_id != first.context.span_id


async def test_a_failed_child_is_an_error_of_its_wait(flow: RedisFlow, traces: Traces) -> None:
    @flow.define_workflow("bad")
    async def bad(step: Step) -> None:
        raise ValueError

    @flow.define_workflow("parent")
    async def parent(step: Step) -> None:
        with pytest.raises(ChildFailed):
            await step.run_workflow(bad)

    async with flow.new_worker():
        await (await parent.run()).result(timeout=30)
    waited = traces.one("step.run_workflow bad")
    assert attributes(waited)["redisflow.wait.outcome"] == "failed"
    assert waited.status.status_code is StatusCode.ERROR


async def test_baggage_comes_along(flow: RedisFlow, traces: Traces) -> None:
    seen: list[object] = []

    @flow.define_workflow("carry")
    async def carry(step: Step) -> None:
        async def look() -> None:
            seen.append(baggage.get_baggage("tenant"))

        await step.run("look", look)

    token = attach(baggage.set_baggage("tenant", "t1"))
    try:
        handle = await carry.run()
    finally:
        detach(token)
    async with flow.new_worker():
        await handle.result(timeout=30)
    assert seen == ["t1"]


def test_what_is_stored_of_a_context_is_bounded_and_what_is_damaged_is_none(traces: Traces) -> None:
    context = baggage.set_baggage("large", "x" * 5000)
    with traces.tracer.start_as_current_span("one"):
        text = write_context(trace.set_span_in_context(trace.get_current_span(), context))
    assert text.startswith("00-")
    assert len(text.partition("\n")[0]) <= 64
    assert len(text) <= sum(MOST_BYTES.values())
    assert "baggage" not in text
    for damaged in (
        None,
        "",
        "traceparent",
        "zz",
        "traceparent: zz",
        "\n\n",
        "00-0-0-0\nbaggage: ;;;=",
        "x" * 100,
    ):
        assert not trace.get_current_span(read_context(damaged)).get_span_context().is_valid
    with pytest.raises(ValueError, match="trace_mode"):
        OpenTelemetry(trace_mode="other")  # type: ignore[arg-type]  # what is wrong is what is tried
