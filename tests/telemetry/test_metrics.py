"""Metrics as Prometheus reads them, of real runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from redisflow import RedisFlow, RetryPolicy, Step, StepOptions
from redisflow.errors import BackendError, WorkflowFailed
from redisflow.telemetry import OpenTelemetryMetrics, Prometheus
from redisflow.telemetry.metered import (
    DEPTH,
    DURATION,
    FINISHED,
    LATENCY,
    RUN_BUCKETS_S,
    RUNS,
    SLOTS,
    STARTED,
    STEP_DURATION,
    STEPS,
)
from redisflow.telemetry.otel_metrics import name_of
from tests.keyspace import prefix_of, raw_calls
from tests.stories.world import eventually, until

THRICE = RetryPolicy(maximum_attempts=3, initial_interval="10ms", jitter=0)
NAMES = {
    "redisflow_runs_started_total": {"workflow", "version"},
    "redisflow_runs_finished_total": {"workflow", "status"},
    "redisflow_run_duration_seconds": {"workflow"},
    "redisflow_run_schedule_latency_seconds": {"workflow"},
    "redisflow_steps_finished_total": {"workflow", "step", "outcome"},
    "redisflow_step_duration_seconds": {"workflow", "step"},
    "redisflow_step_retries_total": {"workflow", "step"},
    "redisflow_queue_depth": {"queue"},
    "redisflow_queue_oldest_age_seconds": {"queue"},
    "redisflow_delayed_runs": set[str](),
    "redisflow_pending_entries": set[str](),
    "redisflow_reclaims_total": set[str](),
    "redisflow_worker_slots": {"state"},
    "redisflow_worker_heartbeat_age_seconds": set[str](),
    "redisflow_redis_command_duration_seconds": {"script"},
    "redisflow_redis_errors_total": set[str](),
    "redisflow_nondeterminism_total": set[str](),
    "redisflow_runs": {"status"},
    "redisflow_build_info": {"version"},
}


@pytest.fixture
def metrics() -> Prometheus:
    return Prometheus(CollectorRegistry())


@pytest.fixture
async def flow(valkey_url: str, namespace: str, metrics: Prometheus) -> AsyncIterator[RedisFlow]:
    async with RedisFlow(valkey_url, namespace=namespace, telemetry=[metrics]) as made:
        yield made


def samples(metrics: Prometheus) -> dict[tuple[str, ...], float]:
    """By name and the values of its labels in the order of their names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
    }


async def test_they_have_the_names_and_labels_that_are_documented(flow: RedisFlow, metrics: Prometheus) -> None:
    @flow.define_workflow("pay", version="2")
    async def pay(how: str, step: Step) -> None:
        async def body() -> None:
            if how == "fails":
                raise ValueError

        await step.run(StepOptions(name="try", retry=THRICE), body)
        await step.run(StepOptions(name="try", retry=THRICE), body)

    good, bad = await pay.run("works"), await pay.run("fails")
    later = await pay.run("works", available_at="1h")
    async with flow.new_worker(concurrency=7):
        await good.result(timeout=30)
        with pytest.raises(WorkflowFailed):
            await bad.result(timeout=30)
        # Who waits for a run may hear of its end before the worker has heard that it is recorded.
        await eventually(lambda: has(metrics, ("redisflow_runs_finished_total", "succeeded", "pay"), 1))
        await eventually(lambda: has(metrics, ("redisflow_runs_finished_total", "failed", "pay"), 1))
        await eventually(lambda: has(metrics, ("redisflow_runs", "waiting"), 1))
        found = samples(metrics)
        labels: dict[str, set[str]] = {}
        for family in text_string_to_metric_families(metrics.exposition().decode()):
            for sample in family.samples:
                name = sample.name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum")
                if not name.endswith("_created"):
                    labels.setdefault(name, set()).update(set(sample.labels) - {"le"})
    assert {name: labels[name] for name in labels if name in NAMES} == {name: NAMES[name] for name in labels}
    assert found["redisflow_runs_started_total", "2", "pay"] == 2
    assert found["redisflow_runs_finished_total", "succeeded", "pay"] == 1
    assert found["redisflow_runs_finished_total", "failed", "pay"] == 1
    assert found["redisflow_run_duration_seconds_count", "pay"] == 2
    assert found["redisflow_run_schedule_latency_seconds_count", "pay"] == 2
    # The second call of a name is the same step.
    assert found["redisflow_steps_finished_total", "succeeded", "try", "pay"] == 2
    assert found["redisflow_steps_finished_total", "failed", "try", "pay"] == 1
    assert found["redisflow_step_duration_seconds_count", "try", "pay"] == 3
    assert found["redisflow_step_retries_total", "try", "pay"] == 2
    assert found["redisflow_worker_slots", "held"] + found["redisflow_worker_slots", "free"] <= 7
    assert 0 <= found["redisflow_worker_heartbeat_age_seconds",] < 30
    assert found["redisflow_redis_command_duration_seconds_count", "claim_runs"] >= 1
    assert found["redisflow_redis_command_duration_seconds_count", "finish_run"] >= 1
    assert found["redisflow_delayed_runs",] == 1
    assert later.id
    # Afterwards nobody works here.
    assert samples(metrics)["redisflow_worker_slots", "free"] == 0


async def has(metrics: Prometheus, what: tuple[str, ...], value: float) -> bool:
    return samples(metrics).get(what) == value


async def has_at_least(metrics: Prometheus, what: tuple[str, ...], value: float) -> bool:
    return samples(metrics).get(what, 0) >= value


async def test_the_backlog_of_the_namespace_is_looked_at(flow: RedisFlow, metrics: Prometheus) -> None:
    begun = asyncio.Event()

    @flow.define_workflow("mail", queue="mails")
    async def mail(step: Step) -> None:
        pass

    @flow.define_workflow("busy")
    async def busy(step: Step) -> None:
        async def body() -> None:
            begun.set()
            await asyncio.sleep(3600)

        await step.run("body", body)

    for _ in range(3):
        await mail.run()
    await busy.run()
    async with flow.new_worker(queues=["default"], grace=0):
        await begun.wait()
        # A second worker looks at once, when it begins.
        async with flow.new_worker(queues=["default"], grace=0):
            await eventually(lambda: has(metrics, ("redisflow_runs", "running"), 1))
            found = samples(metrics)
    assert found["redisflow_queue_depth", "mails"] == 3
    assert found["redisflow_queue_depth", "default"] == 0
    assert found["redisflow_queue_oldest_age_seconds", "default"] == 0
    assert found["redisflow_queue_oldest_age_seconds", "mails"] > 0
    assert found["redisflow_pending_entries",] == 1
    assert found["redisflow_runs", "pending"] == 3
    assert found["redisflow_runs", "running"] == 1


async def test_what_is_reclaimed_suspended_and_refused_is_counted(
    flow: RedisFlow, metrics: Prometheus, valkey_url: str, namespace: str
) -> None:
    async def one() -> int:
        return 1

    async with RedisFlow(valkey_url, namespace=namespace) as before:

        @before.define_workflow("drift")
        async def old(step: Step) -> None:
            await step.run("first", one)
            await step.wait_for_signal("go")

        handle = await old.run()
        async with before.new_worker():
            await until(before, handle.id, lambda run: run.waiting_for == "signal")
        await handle.signal("go")

    @flow.define_workflow("drift")
    async def new(step: Step) -> None:
        await step.run("another", one)

    async with flow.new_worker():
        # Each time that it is put aside: a worker that starts has it offered once more.
        await eventually(lambda: has_at_least(metrics, ("redisflow_nondeterminism_total",), 1))
    raw, close = raw_calls(valkey_url)
    key = f"{prefix_of(namespace)}queues"
    raw("SET", key, "x")
    with pytest.raises(BackendError):
        await flow.queues()
    raw("DEL", key)
    close()
    assert samples(metrics)["redisflow_redis_errors_total",] >= 1


async def test_names_of_steps_can_be_left_out(valkey_url: str, namespace: str) -> None:
    metrics = Prometheus(CollectorRegistry(), step_names=False)
    async with RedisFlow(valkey_url, namespace=namespace, telemetry=[metrics]) as flow:

        @flow.define_workflow("made-up")
        async def made_up(step: Step) -> None:
            async def body() -> None:
                pass

            for number in range(3):
                await step.run(f"step {number}", body)

        async with flow.new_worker():
            await (await made_up.run()).result(timeout=30)
    assert samples(metrics)["redisflow_steps_finished_total", "succeeded", "", "made-up"] == 3


def test_several_flows_of_a_process_share_a_registry() -> None:
    registry = CollectorRegistry()
    assert Prometheus(registry).exposition() == Prometheus(registry).exposition()
    with pytest.raises(TypeError, match="telemetry is a list"):
        RedisFlow(telemetry=["prometheus"])  # type: ignore[list-item]  # what is wrong is what is tried


async def test_opentelemetry_has_the_same_under_names_of_its_own(valkey_url: str, namespace: str) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    async with RedisFlow(valkey_url, namespace=namespace, telemetry=[OpenTelemetryMetrics(provider)]) as flow:

        @flow.define_workflow("pay")
        async def pay(step: Step) -> None:
            async def body() -> None: ...

            await step.run("try", body)

        # It is there before the first look at what waits: the next one comes after a quarter of a minute.
        handle = await pay.run()
        expected = (STARTED, FINISHED, DURATION, LATENCY, STEPS, STEP_DURATION, DEPTH, SLOTS, RUNS)
        async with flow.new_worker(concurrency=7):
            await handle.result(timeout=30)
            await eventually(lambda: _has_points(reader, {name_of(metric) for metric in expected}))
            points = _points(reader)
    (started,) = points["redisflow.runs.started"].data.data_points
    assert (started.value, dict(started.attributes)) == (1, {"redisflow.workflow": "pay", "redisflow.version": ""})
    (step,) = points["redisflow.steps.finished"].data.data_points
    assert step.attributes["redisflow.outcome"] == "succeeded"
    duration = points["redisflow.run.duration"]
    assert duration.unit == "s"
    assert duration.data.data_points[0].count == 1
    assert list(duration.data.data_points[0].explicit_bounds) == list(RUN_BUCKETS_S)
    slots = {
        each.attributes["redisflow.state"]: each.value for each in points["redisflow.worker.slots"].data.data_points
    }
    assert slots["held"] + slots["free"] <= 7
    assert points["redisflow.worker.heartbeat.age"].data.data_points[0].value < 30
    provider.shutdown()


def _points(reader: InMemoryMetricReader) -> dict[str, Any]:
    read = reader.get_metrics_data()
    if read is None:
        return {}
    return {
        metric.name: metric
        for resource in read.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


async def _has_points(reader: InMemoryMetricReader, names: set[str]) -> bool:
    return names <= _points(reader).keys()
