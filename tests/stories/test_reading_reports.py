"""What reports print: read at night, in a terminal, whether they tell of nothing or of thousands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from redisflow import (
    AuditReport,
    BackpressureError,
    Breach,
    Finding,
    Loss,
    RedisFlow,
    Rule,
    Step,
    StrandedReport,
    UnknownWorkflow,
    WorkerInfo,
    WorkflowFailed,
)
from redisflow.structure import Remedy

AT = datetime(2026, 11, 26, 3, 5, 7, tzinfo=UTC)


def report_of(findings: list[Finding], *, is_repair: bool = False, runs: int = 1) -> AuditReport:
    report = AuditReport(namespace="shop", partitions=1, is_repair=is_repair, keys=runs, runs=runs)
    for finding in findings:
        report.add(finding)
    return report


REBUILD = Remedy("rebuild")


def breach(number: int, remedy: Remedy | None = REBUILD) -> Breach:
    return Breach(Rule.STATUS, "rf:{shop:0}:delayed", f"{number:032x}", f"{number:032x} has no timer", remedy)


def test_an_audit_of_nothing_is_a_line():
    assert str(report_of([])) == "audit of 'shop': 1 key, 1 run in 1 partition: all is as it must be"
    assert str(report_of([], runs=2000)).startswith("audit of 'shop': 2,000 keys, 2,000 runs in 1 partition:")


def test_an_audit_of_one_breach_is_short_and_says_what_a_repair_would_do():
    first, counts, _, *lines = str(report_of([Finding(breach(1))])).splitlines()
    assert first == "audit of 'shop': 1 key, 1 run in 1 partition"
    assert counts == "1 breach, 0 repaired, 1 left"
    assert lines[-2:] == [
        "  a repair would do this: what points to the run is rebuilt from its hash:",
        f"    rf:{{shop:0}}:delayed: {1:032x} has no timer",
    ]
    assert max(map(len, lines)) <= 100


def test_a_thousand_breaches_fit_on_a_page_with_those_for_a_person_first():
    findings = [Finding(breach(number), is_repaired=number % 2 == 0) for number in range(999)]
    report = report_of([*findings, Finding(breach(999, None))], is_repair=True, runs=1000)
    lines = str(report).splitlines()
    assert lines[1] == "1,000 breaches, 500 repaired, 500 left"
    assert len(lines) < 40
    assert max(map(len, lines)) <= 100
    person = lines.index("  for a person to look at: nothing says what was there:")
    assert lines[person + 1].endswith(f"{999:032x} has no timer")
    assert lines[person + 2] == "  not repaired: what points to the run is rebuilt from its hash:"
    assert lines[-1] == "    ... and 980 more"


def test_a_loss_is_a_line():
    loss = Loss(
        partition=3, found_at=AT, after=AT - timedelta(seconds=9), until=AT, batches=1200, seen_by="web-1 pid 7"
    )
    assert str(loss) == (
        "partition 3 lost 1,200 batches of calls, acknowledged 2026-11-26 03:04:58 UTC to 2026-11-26 03:05:07 UTC;"
        " found by web-1 pid 7 at 2026-11-26 03:05:07 UTC"
    )
    one = Loss(partition=0, found_at=AT, after=None, until=AT, batches=1, seen_by="web-1 pid 7")
    assert "lost 1 batch of calls, acknowledged until 2026-11-26 03:05:07 UTC;" in str(one)


def test_of_a_worker_that_is_gone_it_is_said_since_when():
    worker = WorkerInfo(
        redisflow="0.1.0",
        name="web-1-7",
        host="web-1",
        pid=7,
        queues=("default",),
        workflows=(("order", "v1"), ("report", None)),
        concurrency=1000,
        python="3.13",
        held=3,
        is_alive=False,
        seen_at=AT,
    )
    assert str(worker) == (
        "web-1-7 (pid 7 on web-1): gone since 2026-11-26 03:05:07 UTC; serves order@v1, report from default"
    )
    assert str(StrandedReport(workers=(worker, worker))) == "no run is stranded (2 live workers)"


async def test_a_workflow_that_is_known_in_versions_alone_is_named_with_them(flow: RedisFlow):
    @flow.define_workflow("order", version="v2")
    async def order(step: Step) -> None: ...

    with pytest.raises(UnknownWorkflow, match=r"'order' is registered here \(known: order@v2\); .*version="):
        await flow.run_workflow("order")
    with pytest.raises(UnknownWorkflow, match=r"'order@v1' is registered here \(known: order@v2\)"):
        await flow.run_workflow("order", version="v1")


async def test_a_start_that_max_pending_refuses_says_what_became_of_it_and_where_to_look(
    server_url: str, namespace: str
):
    async with RedisFlow(server_url, namespace=namespace, max_pending=1) as flow:

        @flow.define_workflow("order")
        async def order(step: Step) -> None: ...

        with pytest.raises(BackpressureError, match=r"this one was not started: .*flow\.workers\(\)"):
            for _ in range(17):  # each partition takes its part, and one at least; a namespace has 16 at most here
                await order.run()


async def test_a_line_in_the_log_about_a_run_names_it_and_its_workflow(
    flow: RedisFlow, caplog: pytest.LogCaptureFixture
):
    @flow.define_workflow("order")
    async def order(step: Step) -> None:
        raise ValueError

    with caplog.at_level("INFO", logger="redisflow.worker"):
        async with flow.new_worker():
            handle = await order.run()
            with pytest.raises(WorkflowFailed):
                await handle.result(timeout="1m")
    (told,) = [text for text in caplog.messages if text.startswith("run.failed")]
    assert told.startswith(f"run.failed {handle.id} of order: ")
    assert f"`redisflow run show {handle.id}`" in told
