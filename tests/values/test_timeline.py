"""The bars of a run over time: to scale, but for long stretches in which nothing runs."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redisflow.failure import Failure
from redisflow.runs import StepAttempt, StepRun, StepStatus, WorkflowRun
from redisflow.timeline import GAP_SHARE, LEAST_BAR, NARROW, WIDE, Timeline, Zoom, draw_timeline

T0 = datetime(2026, 11, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def attempt(number: int, began: float, ended: float, *, fails: bool = False) -> StepAttempt:
    error = Failure("OSError", "no", "") if fails else None
    return StepAttempt(attempt=number, started_at=at(began), finished_at=at(ended), error=error)


def body(key: str, *attempts: StepAttempt, **changes: Any) -> StepRun:
    last = attempts[-1]
    fields: dict[str, Any] = {
        "status": "failed" if last.error else "succeeded",
        "attempt": last.attempt,
        "started_at": last.started_at,
        "finished_at": last.finished_at,
        "attempts": attempts,
    }
    return StepRun(key=key, kind="run", **{**fields, **changes})


def sleep(began: float, ended: float | None) -> StepRun:
    status: StepStatus = "waiting" if ended is None else "succeeded"
    finished = None if ended is None else at(ended)
    return StepRun(key="nap", kind="sleep", status=status, started_at=at(began), finished_at=finished)


def a_run(*steps: StepRun, started: float = 0, finished: float | None = None, **changes: Any) -> WorkflowRun:
    fields: dict[str, Any] = {
        "id": "0" * 32,
        "workflow": "order",
        "version": None,
        "queue": "default",
        "status": "running" if finished is None else "succeeded",
        "waiting_for": None,
        "input": None,
        "output": None,
        "error": None,
        "attempt": 1,
        "claims": 1,
        "crashes": 0,
        "created_at": T0,
        "available_at": None,
        "started_at": at(started),
        "finished_at": None if finished is None else at(finished),
        "deadline_at": None,
        "steps": steps,
    }
    return WorkflowRun(**{**fields, **changes})


def lefts(timeline: Timeline) -> list[list[tuple[str, float, float]]]:
    return [[(bar.state, round(bar.left), round(bar.width)) for bar in row.bars] for row in timeline.rows]


def test_steps_are_drawn_to_scale():
    run = a_run(body("a", attempt(1, 0, 4)), body("b", attempt(1, 4, 10)), finished=10)
    drawn = draw_timeline(run, at(99))
    assert lefts(drawn) == [[("succeeded", 0, 40)], [("succeeded", 40, 60)]]
    assert [(tick.at, tick.seconds) for tick in drawn.ticks] == [(0, 0), (20, 2), (40, 4), (60, 6), (80, 8), (100, 10)]
    assert drawn.gaps == []


def test_a_day_of_sleep_is_drawn_short_and_says_how_long_it_is():
    run = a_run(body("a", attempt(1, 0, 1)), sleep(1, 86_401), body("b", attempt(1, 86_401, 86_402)), finished=86_402)
    drawn = draw_timeline(run, at(99_999))
    assert [(gap.at, gap.seconds) for gap in drawn.gaps] == [(50, 86_400)]
    assert lefts(drawn) == [[("succeeded", 0, 46)], [("waiting", 46, 9)], [("succeeded", 54, 46)]]


def test_two_waits_that_are_equally_long_are_both_drawn_short():
    run = a_run(body("a", attempt(1, 0, 2)), sleep(2, 3602), sleep(3602, 7202), body("b", attempt(1, 7202, 7204)))
    drawn = draw_timeline(run, at(7204))
    assert [gap.seconds for gap in drawn.gaps] == [3600, 3600]


def test_attempts_are_parts_of_a_row_with_what_was_waited_between_them():
    step = body("a", attempt(1, 0, 2, fails=True), attempt(2, 4, 6, fails=True), attempt(3, 8, 10))
    assert lefts(draw_timeline(a_run(step, finished=10), at(10))) == [
        [("failed", 0, 20), ("waiting", 20, 20), ("failed", 40, 20), ("waiting", 60, 20), ("succeeded", 80, 20)]
    ]


def test_what_goes_on_reaches_to_now_and_what_a_run_left_to_its_end():
    running = StepRun(key="a", kind="run", status="running", attempt=1, started_at=at(5))
    assert lefts(draw_timeline(a_run(running), at(10))) == [[("running", 50, 50)]]
    left = draw_timeline(a_run(running, finished=10, status="canceled"), at(99))
    assert lefts(left) == [[("canceled", 50, 50)]]
    assert left.rows[0].is_left
    retrying = body("a", attempt(1, 0, 5, fails=True), status="waiting", next_attempt_at=at(60))
    assert lefts(draw_timeline(a_run(retrying, status="waiting"), at(10))) == [[("failed", 0, 50), ("waiting", 50, 50)]]


def test_a_run_shows_how_long_it_was_queued():
    drawn = draw_timeline(a_run(body("a", attempt(1, 5, 10)), started=5, finished=10), at(10))
    assert [(bar.state, bar.left, bar.width) for bar in drawn.run] == [("queued", 0, 50), ("succeeded", 50, 50)]


def test_a_run_that_nobody_has_taken_up_is_one_bar():
    drawn = draw_timeline(a_run(started_at=None, status="pending"), at(10))
    assert [(bar.state, bar.left, bar.width) for bar in drawn.run] == [("queued", 0, 100)]
    assert draw_timeline(a_run(started_at=None, status="pending"), T0).rows == []


moments = st.floats(0, 1e7, allow_nan=False)


@given(st.lists(st.tuples(moments, moments).map(sorted), max_size=12), moments)
def test_whatever_happened_it_fits_in_order_and_nothing_is_invisible(spans: list[list[float]], now: float):
    steps = [body(str(number), attempt(1, *span)) for number, span in enumerate(spans)]
    drawn = draw_timeline(a_run(*steps), at(now))
    bars = [bar for row in drawn.rows for bar in row.bars]
    for bar in bars:
        assert bar.width >= LEAST_BAR
        assert bar.left >= -1e-6
        assert bar.left + bar.width <= 100.01
    for one, other in itertools.pairwise(bars):
        if one.ended < other.began:
            assert one.left <= other.left + 2 * LEAST_BAR
    assert [tick.at for tick in drawn.ticks] == sorted(tick.at for tick in drawn.ticks)
    assert len(drawn.ticks) < 40
    assert len(drawn.gaps) * GAP_SHARE < 100


# -- the axis ---------------------------------------------------------------------------------------------------------


def labels(timeline: Timeline) -> list[str]:
    return [tick.label for tick in timeline.ticks]


def spaces(timeline: Timeline, share: float, *rooms: str) -> list[tuple[float, float]]:
    """Where words stand on a picture in which a character takes so much, from left to right."""
    words = [(gap.at, f"| {gap.label} |") for gap in timeline.gaps if gap.room in rooms]
    words += [(tick.at, tick.label) for tick in timeline.ticks if tick.room in rooms]
    found: list[tuple[float, float]] = []
    for place, text in words:
        long = len(text) * share
        left = place if place < 2 else place - long if place > 96 else place - long / 2
        found.append((left, left + long))
    return sorted(found)


def test_ticks_late_in_a_run_have_the_digits_that_tell_them_apart():
    run = a_run(body("a", attempt(1, 0, 0.1)), body("b", attempt(1, 470, 471.2)), finished=471.2)
    found = labels(draw_timeline(run, at(471.2)))
    assert "7 min 50.5 s" in found
    assert len(set(found)) == len(found) > 1


@pytest.mark.parametrize(
    ("long_s", "wanted"),
    [
        (0.006, ["0", "1 ms", "2 ms", "3 ms", "4 ms", "5 ms", "6 ms"]),
        (2.5, ["0", "500 ms", "1.0 s", "1.5 s", "2.0 s", "2.5 s"]),
        (10, ["0", "2 s", "4 s", "6 s", "8 s", "10 s"]),
        (600, ["0", "2 min", "4 min", "6 min", "8 min", "10 min"]),
        (40_000, ["0", "2 h", "4 h", "6 h", "8 h", "10 h"]),
        (500_000, ["0", "1 d", "2 d", "3 d", "4 d", "5 d"]),
    ],
)
def test_ticks_are_round(long_s: float, wanted: list[str]):
    assert labels(draw_timeline(a_run(body("a", attempt(1, 0, long_s)), finished=long_s), at(long_s))) == wanted


def test_a_tick_keeps_clear_of_what_is_written_at_a_break():
    run = a_run(body("a", attempt(1, 0, 1)), sleep(1, 260.5), body("b", attempt(1, 260.5, 262.5)), finished=262.5)
    drawn = draw_timeline(run, at(262.5))
    (gap,) = drawn.gaps
    assert gap.label == "4 min"
    assert all(abs(tick.at - gap.at) > (len(tick.label) + len("| 4 min |")) * WIDE / 2 for tick in drawn.ticks)


def test_of_two_breaks_beside_each_other_the_longer_one_says_how_long_it_is():
    run = a_run(
        body("a", attempt(1, 0, 50)),
        sleep(50, 3_650),
        body("b", attempt(1, 3_650, 3_650.01)),
        sleep(3_650.01, 40_000),
        body("c", attempt(1, 40_000, 40_050)),
        finished=40_050,
    )
    assert [(gap.label, gap.room) for gap in draw_timeline(run, at(40_050)).gaps] == [("1 h", "none"), ("10 h", "any")]


@given(st.lists(st.tuples(moments, moments).map(sorted), max_size=12), moments)
def test_nothing_on_the_axis_is_written_over_anything_else(spans: list[list[float]], now: float):
    drawn = draw_timeline(a_run(*(body(str(number), attempt(1, *span)) for number, span in enumerate(spans))), at(now))
    assert len(set(labels(drawn))) == len(drawn.ticks)
    for share, rooms in ((WIDE, ("any", "wide")), (NARROW, ("any",))):
        for one, other in itertools.pairwise(spaces(drawn, share, *rooms)):
            assert one[1] <= other[0]


# -- a part of the time -----------------------------------------------------------------------------------------------


def test_a_zoom_shows_a_part_of_the_time_and_what_was_under_way_in_it():
    run = a_run(body("a", attempt(1, 0, 4)), body("b", attempt(1, 4, 10)), body("c", attempt(1, 10, 20)), finished=20)
    drawn = draw_timeline(run, at(99), Zoom(6, 14))
    assert [row.step.key for row in drawn.rows] == ["b", "c"]
    assert lefts(drawn) == [[("succeeded", 0, 50)], [("succeeded", 50, 50)]]
    assert [(each.left, each.width, each.began_s, each.ended_s) for each in drawn.stretches] == [(0, 100, 6, 14)]
    assert [tick.seconds for tick in drawn.ticks][:2] == [6, 8]


def test_what_ended_where_the_zoom_begins_is_not_in_it_and_what_took_no_time_there_is():
    run = a_run(body("a", attempt(1, 0, 4)), body("b", attempt(1, 4, 4)), body("c", attempt(1, 4, 8)), finished=8)
    assert [row.step.key for row in draw_timeline(run, at(99), Zoom(4, 6)).rows] == ["b", "c"]


def test_of_a_step_in_the_zoom_the_attempts_outside_of_it_are_not_drawn():
    step = body("a", attempt(1, 0, 1, fails=True), attempt(2, 3, 4, fails=True), attempt(3, 7, 9))
    (row,) = draw_timeline(a_run(step, finished=9), at(99), Zoom(6, 10)).rows
    assert [(bar.state, bar.attempt) for bar in row.bars] == [("waiting", None), ("succeeded", 3)]
    assert len(row.spans) == 5


def test_a_zoom_beyond_the_end_shows_no_step_and_no_scale():
    drawn = draw_timeline(a_run(body("a", attempt(1, 0, 4)), finished=4), at(99), Zoom(50, 60))
    assert (drawn.rows, drawn.ticks, drawn.stretches) == ([], [], [])


@pytest.mark.parametrize(("began_s", "ended_s"), [(4, 4), (5, 4), (-1, 4), (0, math.inf), (math.nan, 1), (0, math.nan)])
def test_what_is_no_part_of_a_time_is_refused(began_s: float, ended_s: float):
    with pytest.raises(ValueError, match="from some second to a later one"):
        Zoom(began_s, ended_s)


@given(
    bounds=st.lists(st.floats(0, 50, allow_nan=False), min_size=2, max_size=2, unique=True).map(sorted),
    steps=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 10)), max_size=8),
)
def test_whatever_the_zoom_all_lies_within_the_picture(bounds: list[float], steps: list[tuple[int, int]]):
    bodies = [body(f"s{n}", attempt(1, began, began + took)) for n, (began, took) in enumerate(steps)]
    drawn = draw_timeline(a_run(*bodies, finished=50), at(50), Zoom(*bounds))
    for bar in (*drawn.run, *(bar for row in drawn.rows for bar in row.bars)):
        assert 0 <= bar.left <= 100
        assert bar.left + bar.width <= 100.001
    for before, after in itertools.pairwise(drawn.stretches):
        assert before.ended_s == after.began_s
        assert abs(before.left + before.width - after.left) < 0.01
