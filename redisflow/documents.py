"""Runs and what is around them as plain documents for JSON: what the command line prints, and pages are made of.

Instants are ISO 8601 in UTC, to the millisecond. A field is never left out: what is not there is null.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from redisflow.failure import Failure
    from redisflow.fleet import HeldRun, QueueInfo, StrandedReport, WorkerInfo
    from redisflow.minutes import Minute
    from redisflow.runs import StepRun, WorkflowRun
    from redisflow.schedule import ScheduleInfo
    from redisflow.server_info import ServerInfo
    from redisflow.structure import AuditReport
    from redisflow.summaries import QueuedRun, RunSummary, WorkflowCounts

Document: TypeAlias = dict[str, Any]


def iso(instant: datetime | None) -> str | None:
    """An instant."""
    return None if instant is None else instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def jsonable(value: Any) -> Any:
    """What a user stored, as JSON has it: bytes in base64, instants in ISO 8601, all else (also NaN) as text."""
    from pydantic_core import to_jsonable_python  # noqa: PLC0415  # only documents with payloads need it

    plain = to_jsonable_python(value, bytes_mode="base64", fallback=str, serialize_unknown=True)
    return _finite(plain)


def _finite(value: Any) -> Any:
    """JSON knows neither NaN nor infinity: they are named."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    parts: Any = value
    if isinstance(value, list):
        return [_finite(each) for each in parts]
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in parts.items()}
    return value


def of_summary(run: RunSummary) -> Document:
    """A run in a list."""
    return {**_identity(run), "cause": run.cause}


def of_queued_run(queued: QueuedRun) -> Document:
    """A run that is to be claimed."""
    return {**of_summary(queued.run), "priority": queued.priority, "queued_at": iso(queued.queued_at)}


def of_run(run: WorkflowRun) -> Document:
    """A run with its steps and its payloads."""
    return {
        **_identity(run),
        "ending": run.ending,
        "input": jsonable(run.input),
        "output": jsonable(run.output),
        "error": of_failure(run.error),
        "attempt": run.attempt,
        "retries": run.retries,
        "continued": run.continued,
        "available_at": iso(run.available_at),
        "deadline_at": iso(run.deadline_at),
        "expires_at": iso(run.expires_at),
        "imported_at": iso(run.imported_at),
        "parent": run.parent,
        "forked_from": run.forked_from,
        "scheduled_at": iso(run.scheduled_at),
        "steps": [of_step(step) for step in run.steps],
    }


def _identity(run: RunSummary | WorkflowRun) -> Document:
    """What a list and a page of its own both say of a run."""
    return {
        "id": run.id,
        "workflow": run.workflow,
        "version": run.version,
        "queue": run.queue,
        "status": run.status,
        "waiting_for": run.waiting_for,
        "schedule": run.schedule,
        "tags": dict(run.tags),
        "created_at": iso(run.created_at),
        "started_at": iso(run.started_at),
        "finished_at": iso(run.finished_at),
        "claims": run.claims,
        "crashes": run.crashes,
    }


def of_step(step: StepRun) -> Document:
    """A step, sleep, wait or child of a run."""
    return {
        "key": step.key,
        "kind": step.kind,
        "status": step.status,
        "attempt": step.attempt,
        "started_at": iso(step.started_at),
        "finished_at": iso(step.finished_at),
        "next_attempt_at": iso(step.next_attempt_at),
        "child_id": step.child_id,
        "output": jsonable(step.output),
        "error": of_failure(step.error),
        "progress": jsonable(step.progress),
        "attempts": [
            {
                "attempt": each.attempt,
                "started_at": iso(each.started_at),
                "finished_at": iso(each.finished_at),
                "error": of_failure(each.error),
            }
            for each in step.attempts
        ],
    }


def of_failure(failure: Failure | None) -> Document | None:
    """An error as data."""
    if failure is None:
        return None
    return {"type": failure.error_type, "message": failure.message, "traceback": failure.traceback}


def of_worker(worker: WorkerInfo) -> Document:
    """A worker."""
    return {
        "id": worker.name,
        "host": worker.host,
        "pid": worker.pid,
        "python": worker.python,
        "redisflow": worker.redisflow,
        "queues": list(worker.queues),
        "workflows": [{"name": name, "version": version} for name, version in worker.workflows],
        "concurrency": worker.concurrency,
        "held": worker.held,
        "is_alive": worker.is_alive,
        "is_draining": worker.is_draining,
        "seen_at": iso(worker.seen_at),
    }


def of_held_run(held: HeldRun) -> Document:
    """A run that a worker holds."""
    return {"id": held.run_id, "worker": held.worker, "idle_s": held.idle.total_seconds()}


def of_queue(queue: QueueInfo) -> Document:
    """A queue."""
    return {
        "id": queue.name,
        "ready": queue.ready,
        "held": queue.held,
        "oldest_at": iso(queue.oldest_at),
        "is_paused": queue.is_paused,
    }


def of_minute(minute: Minute) -> Document:
    """What happened within a minute. Durations count by the upper bound of their bucket, in ms."""
    return {
        "at": iso(minute.at),
        "workflows": {
            name: {
                "started": each.started,
                "succeeded": each.succeeded,
                "failed": each.failed,
                "canceled": each.canceled,
                "step_failures": each.step_failures,
                "durations": {str(bound): count for bound, count in each.durations.items()},
                "latencies": {str(bound): count for bound, count in each.latencies.items()},
            }
            for name, each in minute.workflows.items()
        },
        "queues": dict(minute.queues),
    }


def of_server(info: ServerInfo) -> Document:
    """The servers behind a namespace."""
    return {
        "id": info.url,
        "mode": info.mode,
        "nodes": [asdict(node) for node in info.nodes],
        "silent": list(info.silent),
        "slots": info.slots,
        "at": iso(info.at),
    }


def of_counts(workflow: str, counts: WorkflowCounts) -> Document:
    """How many runs of a workflow there are."""
    return {
        "id": workflow,
        "unfinished": counts.unfinished,
        "stuck": counts.stuck,
        "succeeded": counts.succeeded,
        "failed": counts.failed,
        "canceled": counts.canceled,
        "by_status": None if counts.by_status is None else dict(counts.by_status),
    }


def of_schedule(schedule: ScheduleInfo) -> Document:
    """A schedule, with its next five ticks."""
    return {
        "id": schedule.id,
        "workflow": schedule.workflow,
        "version": schedule.definition.version,
        "queue": schedule.definition.queue,
        "ticks": str(schedule.definition.ticks),
        "overlap": schedule.definition.overlap,
        "catch_up": schedule.definition.catch_up,
        "is_paused": schedule.is_paused,
        "created_at": iso(schedule.created_at),
        "last_outcome": schedule.last_outcome,
        "last_run_id": schedule.last_run_id,
        "next_fire_times": [iso(instant) for instant in schedule.next_fire_times()],
    }


def of_stranded(report: StrandedReport) -> Document:
    """What no live worker serves."""
    return {
        "id": "stranded",
        "is_clear": report.is_clear,
        "runs": [
            {
                "workflow": each.workflow,
                "version": each.version,
                "queue": each.queue,
                "stranded": each.stranded,
                "suspended": each.suspended,
                "since": iso(each.since),
                "next_look_at": iso(each.next_look_at),
                "run_ids": list(each.run_ids),
                "cause": each.cause,
                "why": each.why,
            }
            for each in report.runs
        ],
        "workflows": [
            {"workflow": each.workflow, "version": each.version, "unfinished": each.unfinished, "why": each.why}
            for each in report.workflows
        ],
        "queues": [
            {"queue": each.queue, "runs": each.runs, "since": iso(each.since), "why": each.why}
            for each in report.queues
        ],
        "workers": [worker.name for worker in report.workers],
    }


def of_audit(report: AuditReport) -> Document:
    """What an audit found."""
    return {
        "id": report.namespace,
        "partitions": report.partitions,
        "keys": report.keys,
        "runs": report.runs,
        "is_repair": report.is_repair,
        "is_clean": report.is_clean,
        "total": report.total,
        "repaired": report.repaired,
        "findings": [
            {
                "rule": str(finding.breach.rule),
                "key": finding.breach.key,
                "run_id": finding.breach.run_id or None,
                "what": finding.breach.what,
                "is_repaired": finding.is_repaired,
            }
            for finding in report.findings
        ],
    }
