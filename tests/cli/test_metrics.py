"""What happened of late, in a few lines and for Prometheus."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from redisflow import RedisFlow
from tests.cli.conftest import Cli
from tests.stories.world import eventually


async def counted(flow: RedisFlow, workflow: str, ended: int) -> None:
    """Wait until workers have told of so many ends: they do every few seconds."""

    async def have_told() -> bool:
        parts = [minute.workflows[workflow] for minute in await flow.minutes() if workflow in minute.workflows]
        return sum(part.succeeded + part.failed for part in parts) == ended

    await eventually(have_told)


async def test_the_last_hour_is_summed_up_by_workflow(working: RedisFlow, cli: Cli, namespace: str):
    for total in (1, 2, 500):
        await cli("run", "exec", "order", "-i", str(total))
    await cli("run", "start", "elsewhere", "--queue", "unread")
    await counted(working, "order", 3)
    document = (await cli("metrics", "--json")).json
    (order,) = document["workflows"]
    assert {name: order[name] for name in ("workflow", "started", "succeeded", "failed", "step_failures")} == {
        "workflow": "order",
        "started": 3,
        "succeeded": 2,
        "failed": 1,
        "step_failures": 1,
    }
    assert 0 < order["p50_ms"] <= order["p95_ms"] < 60_000
    assert {queue["id"]: queue["ready"] for queue in document["queues"]} == {"default": 0, "unread": 1}
    told = (await cli("metrics")).out
    assert told.startswith(
        f"{namespace}, the last 1h\n  order: 3 started, 2 succeeded, 1 failed, 1 step failures, took p50"
    )
    assert "unread: 1 ready, 0 held, the oldest came" in told
    text = (await cli("metrics", "--prometheus")).out
    samples = {
        (sample.name, *(value for name, value in sorted(sample.labels.items()) if name != "namespace")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels["namespace"] == namespace
    }
    assert samples["redisflow_recent_runs", "succeeded", "order"] == 2
    assert samples["redisflow_recent_step_failures", "order"] == 1
    assert samples["redisflow_queue_ready", "unread"] == 1
    assert samples["redisflow_queue_oldest_seconds", "unread"] > 0
    assert samples["redisflow_recent_run_seconds", "0.95", "order"] == pytest.approx(order["p95_ms"] / 1000, rel=1e-4)


async def test_where_nothing_happened_it_says_so(shop: RedisFlow, cli: Cli):
    assert "nothing happened, or no worker counted it" in (await cli("metrics", "--since", "24h")).out


@pytest.mark.parametrize("since", ["10s", "2d", "soon"])
async def test_a_span_is_at_most_what_is_kept(shop: RedisFlow, cli: Cli, since: str):
    said = await cli("metrics", "--since", since)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
