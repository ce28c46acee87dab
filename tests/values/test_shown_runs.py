"""What a run says of itself when it is printed: where it stands, and nothing that its users store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from redisflow.failure import Failure
from redisflow.runs import StepRun, WorkflowRun

BEGAN = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
SECRET = "4111 1111 1111 1111"


def a_run(**changes: object) -> WorkflowRun:
    steps = (
        StepRun(
            key="charge",
            kind="run",
            status="succeeded",
            attempt=2,
            started_at=BEGAN,
            finished_at=BEGAN + timedelta(milliseconds=1_250),
            output=SECRET,
        ),
        StepRun(key="ship", kind="run", status="running", attempt=1, started_at=BEGAN, progress=SECRET),
        StepRun(key="nap", kind="sleep", status="waiting", next_attempt_at=BEGAN + timedelta(days=1)),
    )
    values: dict[str, object] = {
        "id": "run-1",
        "workflow": "order",
        "version": "v2",
        "queue": "default",
        "status": "waiting",
        "waiting_for": "timer",
        "input": SECRET,
        "output": None,
        "error": None,
        "attempt": 1,
        "claims": 1,
        "crashes": 0,
        "created_at": BEGAN,
        "available_at": None,
        "started_at": BEGAN,
        "finished_at": None,
        "deadline_at": None,
        "steps": steps,
    }
    return WorkflowRun(**{**values, **changes})  # type: ignore[arg-type]  # as the test says


def test_a_run_is_printed_with_its_steps():
    assert str(a_run()).splitlines() == [
        "run run-1 of order v2: waiting (timer)",
        "  charge: succeeded, attempt 2, 1.250 s",
        "  ship: running",
        "  nap: waiting, due 2026-11-23 12:00:00 UTC",
    ]


def test_of_a_run_that_has_ended_nothing_is_said_to_be_under_way():
    ended = a_run(status="canceled", waiting_for=None, finished_at=BEGAN + timedelta(seconds=3))
    assert str(ended).splitlines() == [
        "run run-1 of order v2: canceled, 3.000 s after its start",
        "  charge: succeeded, attempt 2, 1.250 s",
        "  ship: not finished",
        "  nap: not finished",
    ]


def test_a_run_that_failed_says_how_and_when_but_not_what():
    failed = a_run(
        status="failed",
        waiting_for=None,
        error=Failure("ValueError", SECRET, SECRET),
        finished_at=BEGAN + timedelta(seconds=3),
        steps=(),
    )
    assert str(failed) == "run run-1 of order v2: failed, ValueError, 3.000 s after its start"
    for text in (str(failed), repr(failed), str(a_run()), repr(a_run())):
        assert SECRET not in text
