"""A run's steps as bars over time, for pages and terminals.

The hard thing is the scale: a run may work for a second, sleep for a day and work for another second. Long stretches in
which nothing runs are drawn short, and say how long they are; the rest is to scale.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Literal, TypeAlias

from redisflow.runs import StepRun, WorkflowRun
from redisflow.words import roughly

GAP_SHARE = 9.0
"""Percent of the width that a shortened stretch takes."""
MOST_GAPS = 6
LEAST_GAP_S = 1.0
"""No shorter stretch is worth the reader's attention that a break in the scale costs."""
TICKS = 6
WIDE, NARROW = 1.6, 4.5
"""Percent of the width that a character of the axis takes: of some 400 pixels, and of the 140 of a telephone."""
LEAST_BAR = 0.4
"""Percent of the width: what took no time must still be seen."""

BarState: TypeAlias = Literal["succeeded", "failed", "running", "waiting", "queued", "canceled"]
Room: TypeAlias = Literal["any", "wide", "none"]
"""How wide a picture must be for some words on its axis."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch that is drawn short."""

    at: float
    """Its middle, in percent of the width."""
    seconds: float
    label: str
    """About how long it is."""
    room: Room


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of the axis."""

    at: float
    seconds: float
    """Since the run was created."""
    label: str
    """It differs from those of all others."""
    room: Room


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the width, and the time that it shows."""

    left: float
    width: float
    began_s: float
    """Since the run was created."""
    ended_s: float


@dataclass(frozen=True, slots=True)
class Zoom:
    """A part of a run's time, in seconds since it was created."""

    began_s: float
    ended_s: float

    def __post_init__(self) -> None:
        """ValueError where it is none."""
        if not 0 <= self.began_s < self.ended_s < math.inf:
            msg = f"a part of a run goes from some second to a later one, not from {self.began_s} to {self.ended_s}"
            raise ValueError(msg)


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
class Span:
    """A stretch of time in which a step, or the run, was in one state."""

    began: datetime
    ended: datetime
    state: BarState
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of time and the stretch of the width that shows it."""

    began: datetime
    ended: datetime
    left: float
    width: float
    is_gap: bool


@dataclass(frozen=True)
class Row:
    """A step, and what it did when."""

    step: StepRun
    is_left: bool
    """Whether it had not ended when the run did."""
    spans: Sequence[Span]
    scale: Sequence[Piece] = field(repr=False)

    @cached_property
    def bars(self) -> Sequence[Bar]:
        """They are drawn where somebody looks: a run may have thousands of rows."""
        return _bars(self.spans, self.scale)


@dataclass(frozen=True, slots=True)
class Timeline:
    """All of it."""

    rows: Sequence[Row]
    run: Sequence[Bar]
    """Of the run itself: how long it was queued, and then."""
    ticks: Sequence[Tick]
    gaps: Sequence[Gap]
    stretches: Sequence[Stretch]
    """The scale: who reads a time off the picture needs it."""


def draw_timeline(run: WorkflowRun, now: datetime, zoom: Zoom | None = None) -> Timeline:
    """The bars of a run as it is `now` (by the server's clock, or near it).

    With a `zoom` the picture shows that part of its time, and the steps that were under way in it.
    """
    now = max(now, run.created_at)
    end = run.finished_at or now
    spans = [(step, _spans(step, run, end)) for step in run.steps]
    whole = _spans_of_run(run, end)
    last = max([end, *(span.ended for _, each in spans for span in each), *(span.ended for span in whole)])
    began = run.created_at
    if zoom is not None:
        began, last = (_within(run.created_at, seconds, last) for seconds in (zoom.began_s, zoom.ended_s))
        spans = [(step, each) for step, each in spans if any(_is_seen(span, began, last) for span in each)]
    busy = [(span.began, span.ended) for _, each in spans for span in each if span.state not in {"waiting", "queued"}]
    marks = [moment for _, each in spans for span in each for moment in (span.began, span.ended)]
    marks += [moment for span in whole for moment in (span.began, span.ended)]
    pieces = _scale(began, last, busy, marks)
    axis = _Axis()
    gaps = _gaps(pieces, axis)
    return Timeline(
        rows=[
            Row(step, run.is_finished and step.status in {"running", "waiting"}, each, pieces) for step, each in spans
        ],
        run=_bars(whole, pieces),
        ticks=_ticks(run.created_at, pieces, gaps, axis),
        gaps=gaps,
        stretches=[
            Stretch(
                round(piece.left, 3),
                round(piece.width, 3),
                (piece.began - run.created_at).total_seconds(),
                (piece.ended - run.created_at).total_seconds(),
            )
            for piece in pieces
        ],
    )


def _within(zero: datetime, seconds: float, last: datetime) -> datetime:
    return zero + timedelta(seconds=min(seconds, (last - zero).total_seconds()))


def _is_seen(span: Span, began: datetime, ended: datetime) -> bool:
    """Between these; what took no time is where it happened."""
    return (span.began < ended and span.ended > began) or began <= span.began == span.ended <= ended


def _spans_of_run(run: WorkflowRun, end: datetime) -> list[Span]:
    spans: list[Span] = []
    began = run.started_at or end
    if began > run.created_at:
        spans.append(Span(run.created_at, began, "queued"))
    if run.started_at is not None:
        state: BarState = run.status if run.status != "pending" else "queued"
        spans.append(Span(began, end, state))
    return spans


def _spans(step: StepRun, run: WorkflowRun, end: datetime) -> list[Span]:
    spans: list[Span] = []
    for attempt in step.attempts:
        if spans and spans[-1].ended < attempt.started_at:
            spans.append(Span(spans[-1].ended, attempt.started_at, "waiting"))
        state: BarState = "succeeded" if attempt.error is None else "failed"
        spans.append(Span(attempt.started_at, attempt.finished_at, state, attempt.attempt))
    if step.status == "running" and step.started_at is not None:
        if spans and spans[-1].ended < step.started_at:
            spans.append(Span(spans[-1].ended, step.started_at, "waiting"))
        state = "canceled" if run.is_finished else "running"
        spans.append(Span(step.started_at, max(step.started_at, end), state, step.attempt))
    elif not step.attempts and step.started_at is not None:
        until = step.finished_at or max(step.started_at, end)
        spans.append(Span(step.started_at, until, "failed" if step.status == "failed" else "waiting"))
    elif step.status == "waiting" and spans:
        spans.append(Span(spans[-1].ended, max(spans[-1].ended, end), "waiting"))
    return spans


# -- the scale --------------------------------------------------------------------------------------------------------


def _scale(
    began: datetime, ended: datetime, busy: Sequence[tuple[datetime, datetime]], marks: Sequence[datetime]
) -> list[Piece]:
    moments = sorted({began, ended, *(moment for moment in marks if began <= moment <= ended)})
    gaps = _choose_gaps(_idle(moments, busy), (ended - began).total_seconds())
    stretches = _around(gaps, began, ended)
    to_scale = sum((b - a).total_seconds() for a, b in stretches if (a, b) not in gaps)
    share = 100 - GAP_SHARE * len(gaps)
    pieces: list[Piece] = []
    left = 0.0
    for a, b in stretches:
        is_gap = (a, b) in gaps
        width = GAP_SHARE if is_gap else share * (b - a).total_seconds() / to_scale
        pieces.append(Piece(a, b, left, width, is_gap))
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


def _place(moment: datetime, pieces: Sequence[Piece]) -> float:
    for piece in pieces:
        if moment <= piece.ended:
            if moment <= piece.began:
                return piece.left
            long_s = (piece.ended - piece.began).total_seconds()
            return piece.left + piece.width * (moment - piece.began).total_seconds() / long_s
    return 100.0


def _bars(spans: Sequence[Span], pieces: Sequence[Piece]) -> list[Bar]:
    if not pieces:
        return [_bar(span, pieces) for span in spans]
    return [_bar(span, pieces) for span in spans if _is_seen(span, pieces[0].began, pieces[-1].ended)]


def _bar(span: Span, pieces: Sequence[Piece]) -> Bar:
    left = _place(span.began, pieces)
    width = max(LEAST_BAR, _place(span.ended, pieces) - left)
    left = min(left, 100 - width)
    return Bar(round(left, 3), round(width, 3), span.state, span.began, span.ended, span.attempt)


# -- the axis ---------------------------------------------------------------------------------------------------------


class _Axis:
    """What is written on it: nothing over anything else, in a wide picture and in a narrow one."""

    def __init__(self) -> None:
        self._taken: dict[float, list[tuple[float, float]]] = {WIDE: [], NARROW: []}

    def room(self, at: float, label: str) -> Room:
        """Where it fits it takes the place."""
        if not self._takes(at, label, WIDE):
            return "none"
        return "any" if self._takes(at, label, NARROW) else "wide"

    def _takes(self, at: float, label: str, share: float) -> bool:
        """At the ends words stand within the picture, elsewhere around their place."""
        wide, taken = len(label) * share, self._taken[share]
        left = at if at < 2 else at - wide if at > 96 else at - wide / 2
        if any(left < other_right and left + wide > other_left for other_left, other_right in taken):
            return False
        taken.append((left - share, left + wide + share))
        return True


def _gaps(pieces: Sequence[Piece], axis: _Axis) -> list[Gap]:
    """The longest ones say first how long they are."""
    found: list[Gap] = []
    for piece in sorted((piece for piece in pieces if piece.is_gap), key=lambda piece: piece.began - piece.ended):
        at, seconds = piece.left + piece.width / 2, (piece.ended - piece.began).total_seconds()
        label = roughly(seconds)
        found.append(Gap(at, seconds, label, axis.room(at, f"| {label} |")))
    return sorted(found, key=lambda gap: gap.at)


def _ticks(zero: datetime, pieces: Sequence[Piece], gaps: Sequence[Gap], axis: _Axis) -> list[Tick]:
    """At round times, as far as they stand apart from each other and from the breaks."""
    to_scale_s = sum((piece.ended - piece.began).total_seconds() for piece in pieces if not piece.is_gap)
    if not to_scale_s:
        return []
    step_s = _round_step(to_scale_s / TICKS)
    ticks: list[Tick] = []
    for began, ended in ((piece.began, piece.ended) for piece in pieces if not piece.is_gap):
        first = math.ceil((began - zero).total_seconds() / step_s)
        last = math.floor((ended - zero).total_seconds() / step_s)
        for number in range(first, min(last, first + 4 * TICKS) + 1):
            at = round(_place(zero + timedelta(seconds=number * step_s), pieces), 3)
            is_free = all(abs(at - gap.at) >= GAP_SHARE for gap in gaps)
            if is_free and (not ticks or at - ticks[-1].at >= 100 / TICKS / 2):
                label = _since(number, step_s)
                if (room := axis.room(at, label)) != "none":
                    ticks.append(Tick(at, round(number * step_s, 6), label, room))
    return ticks


def _since(number: int, step_s: float) -> str:
    """So many steps, with the digits that tell one from the next."""
    digits = max(0, math.ceil(-math.log10(step_s) - 1e-9))
    whole_s, part = divmod(round(number * step_s * 10**digits), 10**digits)
    if not whole_s:
        return f"{part * 10.0 ** (3 - digits):.{max(0, digits - 3)}f} ms" if part else "0"
    said: list[str] = []
    for size, unit in _UNITS:
        count, whole_s = divmod(whole_s, size)
        if count:
            said.append(f"{count} {unit}")
    if whole_s or part:
        said.append(f"{whole_s}.{part:0{digits}} s" if digits else f"{whole_s} s")
    return " ".join(said)


_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def _round_step(seconds: float) -> float:
    """The next of 1, 2, 5 times a power of ten; from a minute on, what clocks have."""
    for round_s in (60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400, 604_800, 2_592_000):
        if 30 < seconds <= round_s:
            return float(round_s)
    power = 10.0 ** math.floor(math.log10(max(seconds, 1e-3)))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= seconds or factor == 10)
