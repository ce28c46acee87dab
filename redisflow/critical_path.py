"""Which steps a run's end waited for: to be faster, one of these has to be.

Read backwards from the end: what ended last, before that what ended last before it began, and so on. What a run's code
waits for is not recorded, so this is a hint: steps that ran beside each other by chance look the same.
"""

from __future__ import annotations

from datetime import datetime

from redisflow.runs import StepRun, WorkflowRun


def critical_steps(run: WorkflowRun) -> frozenset[str]:
    """Their keys; none where every step is one (nothing ran beside anything else), and while a run has not ended."""
    if run.finished_at is None:
        return frozenset()
    took = [(began, step.finished_at, step.key) for step in run.steps if (began := _began(step)) and step.finished_at]
    took.sort(key=lambda each: (each[1], each[0]))
    found: set[str] = set()
    until = run.finished_at
    for began, ended, key in reversed(took):
        if ended <= until:
            found.add(key)
            until = min(began, until)
    return frozenset(found) if len(found) < len(took) else frozenset()


def _began(step: StepRun) -> datetime | None:
    return step.attempts[0].started_at if step.attempts else step.started_at
