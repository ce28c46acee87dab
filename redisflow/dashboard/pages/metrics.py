"""Charts of the last hours, from the counters that workers keep by the minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import Request

from redisflow.dashboard.services import Services
from redisflow.dashboard.views import View
from redisflow.minutes import Minute, WorkflowMinute, percentile_ms

SPANS: Final = (("1h", 1), ("6h", 1), ("24h", 5))
"""And how many minutes a point of the charts is made of."""
QUEUES: Final = 6
"""Of the deepest queues, a line each."""
TONES: Final = ("running", "waiting", "succeeded", "failed", "accent", "pending")


@dataclass(slots=True)
class _Point:
    """Some minutes together."""

    at_s: int
    whole: int = 0
    """How many of them are over."""
    counts: Counter[str] = field(default_factory=Counter[str])
    """Of those that are over: a minute under way would look like one in which less happened."""
    durations: Counter[int] = field(default_factory=Counter[int])
    latencies: Counter[int] = field(default_factory=Counter[int])
    queues: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, one: WorkflowMinute, *, over: bool = True) -> None:
        """What happened to a workflow in a minute of it."""
        if over:
            for name in ("started", "succeeded", "failed", "canceled", "step_failures"):
                self.counts[name] += getattr(one, name)
        self.durations.update(one.durations)
        self.latencies.update(one.latencies)


async def metrics(request: Request, services: Services) -> View:
    """See the module. Span and workflow stand in the address."""
    wanted = request.query_params.get("span", "1h")
    span, width = next((each for each in SPANS if each[0] == wanted), SPANS[0])
    workflow = request.query_params.get("workflow", "")
    minutes = await services.flow.minutes(span)
    total = _Point(0)
    for minute in minutes:
        for one in _of(minute, workflow):
            total.add(one)
    return View(
        template="metrics.html",
        title="Metrics",
        nav="metrics",
        context={
            "span": span,
            "spans": [name for name, _ in SPANS],
            "workflow": workflow,
            "workflows": sorted({name for minute in minutes for name in minute.workflows} | ({workflow} - {""})),
            "counts": total.counts,
            "durations": _percentiles(total.durations),
            "latencies": _percentiles(total.latencies),
            "charts": _charts(_points(minutes, workflow, width)),
            "is_empty": not any(minute.workflows or any(minute.queues.values()) for minute in minutes),
        },
    )


def _percentiles(buckets: Counter[int]) -> dict[str, float | None]:
    found = {name: percentile_ms(buckets, percent) for name, percent in (("p50", 50), ("p95", 95), ("p99", 99))}
    return {name: None if ms is None else ms / 1000 for name, ms in found.items()}


def _points(minutes: Sequence[Minute], workflow: str, width: int) -> list[_Point]:
    points: list[_Point] = []
    for place, minute in enumerate(minutes):
        if place % width == 0:
            points.append(_Point(int(minute.at.timestamp())))
        point = points[-1]
        over = place < len(minutes) - 1
        point.whole += over
        for one in _of(minute, workflow):
            point.add(one, over=over)
        for queue, depth in minute.queues.items():
            point.queues[queue] = max(depth, point.queues.get(queue, 0))
    return points


def _of(minute: Minute, workflow: str) -> list[WorkflowMinute]:
    """Of this workflow, or of all."""
    return [one for name, one in minute.workflows.items() if workflow in {"", name}]


def _charts(points: Sequence[_Point]) -> list[dict[str, Any]]:
    deepest: Counter[str] = Counter()
    for point in points:
        for queue, depth in point.queues.items():
            deepest[queue] = max(depth, deepest[queue])

    def rate(name: str) -> Callable[[_Point], float | None]:
        return lambda point: round(point.counts[name] / point.whole, 2) if point.whole else None

    def depth_of(queue: str) -> Callable[[_Point], int | None]:
        return lambda point: point.queues.get(queue)

    def percentile(name: str, percent: float) -> Callable[[_Point], float | None]:
        def of(point: _Point) -> float | None:
            ms = percentile_ms(getattr(point, name), percent)
            return None if ms is None else round(ms / 1000, 3)

        return of

    lines: list[tuple[str, str, str, list[tuple[str, str, Callable[[_Point], Any]]]]] = [
        (
            "throughput",
            "Runs per minute",
            "",
            [("started", "running", rate("started")), ("succeeded", "succeeded", rate("succeeded"))],
        ),
        (
            "failures",
            "Failures per minute",
            "",
            [("runs", "failed", rate("failed")), ("attempts of steps", "waiting", rate("step_failures"))],
        ),
        (
            "durations",
            "How long runs took",
            "s",
            [("p50", "running", percentile("durations", 50)), ("p95", "accent", percentile("durations", 95))],
        ),
        (
            "latencies",
            "How long runs waited for a worker",
            "s",
            [("p50", "running", percentile("latencies", 50)), ("p95", "accent", percentile("latencies", 95))],
        ),
        (
            "queues",
            "Runs that are ready, by queue",
            "",
            [(queue, TONES[place], depth_of(queue)) for place, (queue, _) in enumerate(deepest.most_common(QUEUES))],
        ),
    ]
    return [
        {
            "id": name,
            "title": title,
            "drawing": {
                "unit": unit,
                "series": [
                    {"label": label, "tone": tone, "fill": place == 0} for place, (label, tone, _) in enumerate(series)
                ],
                "data": [[point.at_s for point in points], *([of(point) for point in points] for _, _, of in series)],
            },
        }
        for name, title, unit, series in lines
        if series
    ]
