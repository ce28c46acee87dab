"""`redisflow metrics`: what happened of late, as workers have counted it by the minute, and what lies in queues now."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from redisflow import documents
from redisflow.cli.find_runs import as_duration
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import Document, Output, took, write_line
from redisflow.client.queues import list_queues
from redisflow.durations import to_ms
from redisflow.minutes import MINUTE_MS, Minute, percentile_ms

if TYPE_CHECKING:
    from redisflow.contract import Backend

COUNTS = ("started", "succeeded", "failed", "canceled", "step_failures")
PERCENTS = (50, 95)
DAY_MS = 24 * 60 * MINUTE_MS


async def metrics(
    *,
    since: Annotated[str, Parameter(help="so long ago, up to a day")] = "1h",
    prometheus: Annotated[bool, Parameter(negative=(), help="as text for Prometheus, all of it gauges")] = False,
    given: Given = PLAIN,
) -> None:
    """What happened within the last hour, by workflow, and how much lies in each queue now.

    Workers add what they have counted every few seconds. Minutes are whole: the first one may have begun before.
    """
    span_ms = to_ms(as_duration(since) or 0, what="--since")
    if not MINUTE_MS <= span_ms <= DAY_MS:
        msg = f"--since is a duration from 1m to 24h, not {since!r}"
        raise ValueError(msg)
    async with given.connect() as backend:

        async def connected() -> Backend:
            return backend

        minutes, queues = await asyncio.gather(backend.metrics.read(span_ms), list_queues(connected))
    document: Document = {
        "id": backend.namespace,
        "since": documents.iso(minutes[0].at) if minutes else None,
        "workflows": list(_sum_up(minutes)),
        "queues": [documents.of_queue(queue) for queue in queues],
    }
    if prometheus:
        for line in _for_prometheus(document):
            write_line(line)
    else:
        out = given.out
        out.one(document, lambda: _text(document, out, since))


def _sum_up(minutes: Sequence[Minute]) -> Iterator[Document]:
    """By workflow. Percentiles are told from buckets: they are near."""
    for name in sorted({name for minute in minutes for name in minute.workflows}):
        parts = [minute.workflows[name] for minute in minutes if name in minute.workflows]
        durations, latencies = _added(part.durations for part in parts), _added(part.latencies for part in parts)
        yield {
            "workflow": name,
            **{count: sum(getattr(part, count) for part in parts) for count in COUNTS},
            **{f"p{percent}_ms": percentile_ms(durations, percent) for percent in PERCENTS},
            **{f"latency_p{percent}_ms": percentile_ms(latencies, percent) for percent in PERCENTS},
        }


def _added(buckets: Iterable[Mapping[int, int]]) -> Counter[int]:
    total: Counter[int] = Counter()
    for each in buckets:
        total.update(each)
    return total


def _text(document: Document, out: Output, since: str) -> str:
    lines = [f"{document['id']}, the last {since}"]
    for each in document["workflows"]:
        counts = ", ".join(f"{each[count]:,} {count.replace('_', ' ')}" for count in COUNTS if each[count])
        took_text = "".join(
            f", {says} p50 {took(each[f'{kind}p50_ms'] / 1000)} p95 {took(each[f'{kind}p95_ms'] / 1000)}"
            for says, kind in (("took", ""), ("waited", "latency_"))
            if each[f"{kind}p50_ms"] is not None
        )
        lines.append(f"  {each['workflow']}: {counts or 'nothing'}{took_text}")
    if not document["workflows"]:
        lines.append("  nothing happened, or no worker counted it")
    lines += ["", "queues now"]
    for queue in document["queues"]:
        oldest = f", the oldest came {out.when(queue['oldest_at'])}" if queue["oldest_at"] else ""
        paused = ", paused" if queue["is_paused"] else ""
        lines.append(f"  {queue['id']}: {queue['ready']:,} ready, {queue['held']:,} held{oldest}{paused}")
    return "\n".join(lines)


# -- for Prometheus ---------------------------------------------------------------------------------------------------


def _for_prometheus(document: Document) -> Iterator[str]:
    """Gauges: the span moves along, so nothing here only grows. Counters are what `redisflow.telemetry` has."""
    here = {"namespace": document["id"]}
    yield from _gauge("recent_runs", "Runs of the span that was asked for", _recent(document, here))
    yield from _gauge("recent_step_failures", "Attempts of steps that failed", _failures(document, here))
    for name, kind, says in (
        ("recent_run_seconds", "", "From the first claim of a run to its end"),
        ("recent_wait_seconds", "latency_", "From when a run was available to its first claim"),
    ):
        yield from _gauge(name, says, _quantiles(document, here, kind))
    now = datetime.now(UTC)
    yield from _gauge("queue_ready", "Runs that the next free worker takes", _queues(document, here, "ready"))
    yield from _gauge("queue_held", "Runs that workers hold", _queues(document, here, "held"))
    yield from _gauge("queue_paused", "1 where it is paused, or let go slowly", _queues(document, here, "is_paused"))
    ages = [(labels, _age_s(oldest_at, now)) for labels, oldest_at in _queues(document, here, "oldest_at")]
    yield from _gauge("queue_oldest_seconds", "How long the oldest run is there", ages)


Rows = Iterable[tuple[Mapping[str, str], Any]]


def _recent(document: Document, here: Mapping[str, str]) -> Rows:
    return [
        ({**here, "workflow": each["workflow"], "what": what}, each[what])
        for each in document["workflows"]
        for what in ("started", "succeeded", "failed", "canceled")
    ]


def _failures(document: Document, here: Mapping[str, str]) -> Rows:
    return [({**here, "workflow": each["workflow"]}, each["step_failures"]) for each in document["workflows"]]


def _quantiles(document: Document, here: Mapping[str, str], kind: str) -> Rows:
    return [
        ({**here, "workflow": each["workflow"], "quantile": f"{percent / 100:g}"}, each[f"{kind}p{percent}_ms"] / 1000)
        for each in document["workflows"]
        for percent in PERCENTS
        if each[f"{kind}p{percent}_ms"] is not None
    ]


def _queues(document: Document, here: Mapping[str, str], what: str) -> Rows:
    return [({**here, "queue": queue["id"]}, queue[what]) for queue in document["queues"]]


def _gauge(name: str, says: str, rows: Rows) -> Iterator[str]:
    yield f"# HELP redisflow_{name} {says}"
    yield f"# TYPE redisflow_{name} gauge"
    for labels, value in rows:
        # Names of namespaces, workflows and queues need no escape: see redisflow.names.
        told = ",".join(f'{label}="{text}"' for label, text in labels.items())
        yield f"redisflow_{name}{{{told}}} {float(value)!r}"


def _age_s(oldest_at: str | None, now: datetime) -> float:
    return 0.0 if oldest_at is None else max(0.0, (now - datetime.fromisoformat(oldest_at)).total_seconds())
