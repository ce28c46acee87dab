"""How the last runs went, from their summaries."""

from __future__ import annotations

from redisflow.durations import from_ms
from redisflow.runs import RunStatus
from redisflow.summaries import Outcomes, RunSummary


def ended(status: RunStatus, took_ms: int) -> RunSummary:
    return RunSummary(
        id="run",
        workflow="order",
        version=None,
        queue="default",
        status=status,
        waiting_for=None,
        tags={},
        created_at=from_ms(0),
        started_at=from_ms(10),
        finished_at=from_ms(10 + took_ms),
        claims=1,
        crashes=0,
        cause=None,
    )


def test_canceled_runs_are_neither_failed_nor_successful() -> None:
    runs = [ended("succeeded", 100), ended("failed", 300), ended("canceled", 9_000), ended("succeeded", 200)]
    late = Outcomes.of(runs)
    assert (late.runs, late.failed, late.succeeded, late.failure_ratio) == (4, 1, 2, 1 / 3)
    assert (late.percentile_ms(0.5), late.percentile_s(0.95)) == (200, 0.3)


def test_where_nothing_has_ended_nothing_is_told() -> None:
    for late in (Outcomes.of([]), Outcomes.of([ended("canceled", 5)])):
        assert (late.failure_ratio, late.percentile_ms(0.5), late.percentile_s(0.5)) == (None, None, None)
