"""`redisflow workflow show`: one workflow, how its runs go, and whether somebody serves them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from redisflow import documents
from redisflow.cli.arguments import WorkflowName
from redisflow.cli.find_runs import status_of
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import Document, Output, took
from redisflow.contract import RunFilter
from redisflow.errors import UnknownWorkflow
from redisflow.names import check_name
from redisflow.runs import TERMINAL
from redisflow.summaries import Outcomes

if TYPE_CHECKING:
    from redisflow.contract import Backend
    from redisflow.fleet import WorkerInfo

LAST_RUNS = 10
JUDGED = 100
"""Finished runs from which a failure ratio and durations are taken."""


async def show(name: WorkflowName, /, *, given: Given = PLAIN) -> None:
    """Show a workflow: its runs by status and version, who serves them, and how the last ones went.

    Each unfinished run is looked at, about 100,000 in a second.
    """
    check_name("workflow", name)
    async with given.connect() as backend:
        document = await _describe(backend, name)
    out = given.out
    out.one(document, lambda: _text(document, out))


async def _describe(backend: Backend, name: str) -> Document:
    counts, workers, versions, statuses, last, ended = await asyncio.gather(
        backend.listings.count_runs(detailed=False),
        backend.fleet.list_workers(),
        backend.fleet.count_versions(name),
        backend.listings.count_statuses(name),
        backend.listings.list_page(RunFilter(workflow=name), LAST_RUNS, None),
        backend.listings.list_page(RunFilter(workflow=name, statuses=TERMINAL), JUDGED, None),
    )
    serving = [worker for worker in workers if worker.is_alive and any(own == name for own, _ in worker.workflows)]
    if name not in counts.workflows and not serving:
        msg = f"no run of workflow {name!r} is stored in namespace {backend.namespace!r}, and no live worker serves it"
        raise UnknownWorkflow(msg)
    known = counts.workflows.get(name)
    return {
        **(documents.of_counts(name, known) if known else {"id": name, **_NOTHING}),
        "by_status": dict(statuses),
        "versions": _versions(name, {version or None: count for version, count in versions.items()}, serving),
        "queues": sorted({run.queue for run in (*last.runs, *ended.runs)}),
        "finished": _outcomes(Outcomes.of(ended.runs)),
        "last_runs": [documents.of_summary(run) for run in last.runs],
    }


def _outcomes(finished: Outcomes) -> Document:
    return {
        "runs": finished.runs,
        "failed": finished.failed,
        "failure_ratio": finished.failure_ratio,
        "p50_ms": finished.percentile_ms(0.5),
        "p95_ms": finished.percentile_ms(0.95),
    }


_NOTHING: Document = {"unfinished": 0, "stuck": 0, "succeeded": 0, "failed": 0, "canceled": 0}


def _versions(name: str, in_flight: dict[str | None, int], serving: Sequence[WorkerInfo]) -> list[Document]:
    """Those of unfinished runs, and those that live workers have. Code without a version serves all of them."""
    own = {version for worker in serving for workflow, version in worker.workflows if workflow == name}
    return [
        {
            "version": version,
            "unfinished": in_flight.get(version, 0),
            "workers": [worker.name for worker in serving if worker.serves(name, version)],
        }
        for version in sorted({*in_flight, *own}, key=lambda version: version or "")
    ]


def _text(document: Document, out: Output) -> str:
    by_status = ", ".join(f"{count:,} {status}" for status, count in document["by_status"].items())
    ended = ", ".join(f"{document[status]:,} {status}" for status in ("succeeded", "failed", "canceled"))
    lines = [f"workflow {document['id']}: {by_status}, {ended}"]
    if document["stuck"]:
        lines.append(f"{document['stuck']:,} wait for code (`redisflow stranded` tells why)")
    lines += ["", "versions"]
    lines += [f"  {_version_text(version)}" for version in document["versions"]]
    if document["queues"]:
        lines += ["", f"queues: {', '.join(document['queues'])}"]
    lines += ["", _outcomes_text(document["finished"])]
    if document["last_runs"]:
        lines += ["", "last runs"]
        lines += [
            f"  {run['id']}  {status_of(run)}  created {out.when(run['created_at'])}" for run in document["last_runs"]
        ]
    return "\n".join(lines)


def _version_text(version: Document) -> str:
    count = len(version["workers"])
    served = f"served by {count} worker{'s' if count > 1 else ''}" if count else "no live worker serves it"
    return f"{version['version'] or '(none)'}: {version['unfinished']:,} unfinished, {served}"


def _outcomes_text(finished: Document) -> str:
    if not finished["runs"]:
        return "none has ended yet"
    parts = [f"last {finished['runs']} finished: {finished['failed']} failed"]
    if finished["failure_ratio"] is not None:
        parts[0] += f" ({finished['failure_ratio']:.1%})"
    parts += [
        f"{name[:3]} {took(finished[name] / 1000)}" for name in ("p50_ms", "p95_ms") if finished[name] is not None
    ]
    return ", ".join(parts)
