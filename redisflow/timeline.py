"""A run's steps as bars over time, for pages and terminals.

The hard thing is the scale: a run may work for a second, sleep for a day and work for another second. Long stretches in
which nothing runs are drawn short, and say how long they are; the rest is to scale.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from redisflow.runs import StepRun, WorkflowRun

GAP_SHARE = 9.0
"""Percent of the width that a shortened stretch takes."""
MOST_GAPS = 6
LEAST_GAP_S = 1.0
"""No shorter stretch is worth the reader's attention that a break in the scale costs."""
TICKS = 6
LEAST_BAR = 0.4
"""Percent of the width: what took no time must still be seen."""

BarState: TypeAlias = Literal["succeeded", "failed", "running", "waiting", "queued", "canceled"]


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch that is drawn short."""

    at: float
    """Its middle, in percent of the width."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of the axis."""

    at: float
    seconds: float
    """Since the run was created."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a row, in percent of the width."""

    left: float
    width: float
    state: BarState
    began: datetime
    ended: datetime
    """Now, where it has not ended."""
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A step, and what it did when."""

    step: StepRun
    bars: Sequence[Bar]
    is_left: bool
    """Whether it had not ended when the run did."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """All of it."""

    rows: Sequence[Row]
    run: Sequence[Bar]
    """Of the run itself: how long it was queued, and then."""
    ticks: Sequence[Tick]
    gaps: Sequence[Gap]


@dataclass(frozen=True, slots=True)
class _Span:
    began: datetime
    ended: datetime
    state: BarState
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of time and the stretch of the width that shows it."""

    began: datetime
    ended: datetime
    left: float
    width: float
    is_gap: bool


def draw_timeline(run: WorkflowRun, now: datetime) -> Timeline:
    """The bars of a run as it is `now` (by the server's clock, or near it)."""
    now = max(now, run.created_at)
    end = run.finished_at or now
    spans = [(step, _spans(step, run, end)) for step in run.steps]
    whole = _spans_of_run(run, end)
    busy = [(span.began, span.ended) for _, each in spans for span in each if span.state not in {"waiting", "queued"}]
    marks = [moment for _, each in spans for span in each for moment in (span.began, span.ended)]
    marks += [moment for span in whole for moment in (span.began, span.ended)]
    pieces = _scale(run.created_at, max([end, *marks]), busy, marks)
    return Timeline(
        rows=[
            Row(
                step,
                [_bar(span, pieces) for span in each],
                is_left=run.is_finished and step.status in {"running", "waiting"},
            )
            for step, each in spans
        ],
        run=[_bar(span, pieces) for span in whole],
        ticks=_ticks(run.created_at, pieces),
        gaps=[
            Gap(piece.left + piece.width / 2, (piece.ended - piece.began).total_seconds())
            for piece in pieces
            if piece.is_gap
        ],
    )


def _spans_of_run(run: WorkflowRun, end: datetime) -> list[_Span]:
    spans: list[_Span] = []
    began = run.started_at or end
    if began > run.created_at:
        spans.append(_Span(run.created_at, began, "queued"))
    if run.started_at is not None:
        state: BarState = run.status if run.status != "pending" else "queued"
        spans.append(_Span(began, end, state))
    return spans


def _spans(step: StepRun, run: WorkflowRun, end: datetime) -> list[_Span]:
    spans: list[_Span] = []
    for attempt in step.attempts:
        if spans and spans[-1].ended < attempt.started_at:
            spans.append(_Span(spans[-1].ended, attempt.started_at, "waiting"))
        state: BarState = "succeeded" if attempt.error is None else "failed"
        spans.append(_Span(attempt.started_at, attempt.finished_at, state, attempt.attempt))
    if step.status == "running" and step.started_at is not None:
        if spans and spans[-1].ended < step.started_at:
            spans.append(_Span(spans[-1].ended, step.started_at, "waiting"))
        state = "canceled" if run.is_finished else "running"
        spans.append(_Span(step.started_at, max(step.started_at, end), state, step.attempt))
    elif not step.attempts and step.started_at is not None:
        until = step.finished_at or max(step.started_at, end)
        spans.append(_Span(step.started_at, until, "failed" if step.status == "failed" else "waiting"))
    elif step.status == "waiting" and spans:
        spans.append(_Span(spans[-1].ended, max(spans[-1].ended, end), "waiting"))
    return spans


# -- the scale --------------------------------------------------------------------------------------------------------


def _scale(
    began: datetime, ended: datetime, busy: Sequence[tuple[datetime, datetime]], marks: Sequence[datetime]
) -> list[_Piece]:
    moments = sorted({began, ended, *(moment for moment in marks if began <= moment <= ended)})
    gaps = _choose_gaps(_idle(moments, busy), (ended - began).total_seconds())
    stretches = _around(gaps, began, ended)
    to_scale = sum((b - a).total_seconds() for a, b in stretches if (a, b) not in gaps)
    share = 100 - GAP_SHARE * len(gaps)
    pieces: list[_Piece] = []
    left = 0.0
    for a, b in stretches:
        is_gap = (a, b) in gaps
        width = GAP_SHARE if is_gap else share * (b - a).total_seconds() / to_scale
        pieces.append(_Piece(a, b, left, width, is_gap))
        left += width
    return pieces


def _idle(
    moments: Sequence[datetime], busy: Sequence[tuple[datetime, datetime]]
) -> Iterator[tuple[datetime, datetime]]:
    """Between two moments that follow each other, where nothing runs."""
    waiting = sorted(busy, reverse=True)
    until = moments[0]
    for a, b in itertools.pairwise(moments):
        while waiting and waiting[-1][0] < b:
            until = max(until, waiting.pop()[1])
        if until <= a:
            yield a, b


def _choose_gaps(idle: Iterable[tuple[datetime, datetime]], total_s: float) -> set[tuple[datetime, datetime]]:
    """As many as can be, each of them more than twice as long as all that is then drawn to scale."""
    longest = sorted(idle, key=lambda each: each[1] - each[0], reverse=True)[:MOST_GAPS]
    chosen = 0
    for count, (a, b) in enumerate(longest, 1):
        long_s = (b - a).total_seconds()
        total_s -= long_s
        if long_s >= LEAST_GAP_S and long_s > 2 * total_s > 0:
            chosen = count
    return set(longest[:chosen])


def _around(gaps: set[tuple[datetime, datetime]], began: datetime, ended: datetime) -> list[tuple[datetime, datetime]]:
    """The gaps, and the stretches before, between and after them."""
    found: list[tuple[datetime, datetime]] = []
    for a, b in sorted(gaps):
        if began < a:
            found.append((began, a))
        found.append((a, b))
        began = b
    if began < ended:
        found.append((began, ended))
    return found


def _place(moment: datetime, pieces: Sequence[_Piece]) -> float:
    for piece in pieces:
        if moment <= piece.ended:
            if moment <= piece.began:
                return piece.left
            long_s = (piece.ended - piece.began).total_seconds()
            return piece.left + piece.width * (moment - piece.began).total_seconds() / long_s
    return 100.0


def _bar(span: _Span, pieces: Sequence[_Piece]) -> Bar:
    left = _place(span.began, pieces)
    width = max(LEAST_BAR, _place(span.ended, pieces) - left)
    left = min(left, 100 - width)
    return Bar(round(left, 3), round(width, 3), span.state, span.began, span.ended, span.attempt)


def _ticks(zero: datetime, pieces: Sequence[_Piece]) -> list[Tick]:
    """At round times, as far as they stand apart from each other and from the breaks."""
    to_scale_s = sum((piece.ended - piece.began).total_seconds() for piece in pieces if not piece.is_gap)
    if not to_scale_s:
        return []
    step_s = _round_step(to_scale_s / TICKS)
    breaks = [piece.left + piece.width / 2 for piece in pieces if piece.is_gap]
    ticks: list[Tick] = []
    for began, ended in ((piece.began, piece.ended) for piece in pieces if not piece.is_gap):
        first = math.ceil((began - zero).total_seconds() / step_s)
        last = math.floor((ended - zero).total_seconds() / step_s)
        for number in range(first, min(last, first + 4 * TICKS) + 1):
            at = _place(zero + timedelta(seconds=number * step_s), pieces)
            is_free = all(abs(at - gap) >= GAP_SHARE for gap in breaks)
            if is_free and (not ticks or at - ticks[-1].at >= 100 / TICKS / 2):
                ticks.append(Tick(round(at, 3), round(number * step_s, 6)))
    return ticks


def _round_step(seconds: float) -> float:
    """The next of 1, 2, 5 times a power of ten; from a minute on, what clocks have."""
    for round_s in (60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400, 604_800, 2_592_000):
        if 30 < seconds <= round_s:
            return float(round_s)
    power = 10.0 ** math.floor(math.log10(max(seconds, 1e-3)))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= seconds or factor == 10)
