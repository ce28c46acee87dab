"""What is to be done when a tick is due, late or missed: decided from the stored schedule and the time alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from redisflow import InvalidName, InvalidSchedule, Schedule, ScheduleInfo
from redisflow.run_id import check_run_id, partition_of, run_id_at
from redisflow.schedule import MISSED_AFTER_MS, Firing, ScheduleDefinition, plan
from redisflow.ticks import Ticks

T0 = 1_700_000_040_000
"""A whole minute."""
MINUTE = 60_000
HOUR = 3_600_000


def _info(**changes: Any) -> ScheduleInfo:
    definition = ScheduleDefinition(
        id="nightly",
        workflow="report",
        version=None,
        queue="default",
        input=b"\xc0",
        ticks=Ticks(cron="* * * * *"),
        overlap="skip",
        catch_up=changes.pop("catch_up", "last"),
    )
    wanted = {"revision": 1, "is_paused": False, "created_at": datetime(2026, 1, 1, tzinfo=UTC), "next_ms": T0}
    empty = {"last_ms": None, "last_outcome": None, "last_run_id": None}
    return ScheduleInfo(definition=definition, **{**wanted, **empty, **changes})


def test_nothing_is_due_before_its_time_or_while_paused() -> None:
    assert plan(_info(), T0 - 1) is None
    assert plan(_info(next_ms=None), T0) is None
    assert plan(_info(is_paused=True), T0) is None


@pytest.mark.parametrize("catch_up", ["none", "last", "all"])
def test_a_tick_that_is_late_by_less_than_a_minute_is_fired(catch_up: str) -> None:
    wanted = Firing(T0, T0, T0 + MINUTE, is_missed=False)
    assert plan(_info(catch_up=catch_up), T0) == wanted
    assert plan(_info(catch_up=catch_up), T0 + MISSED_AFTER_MS) == wanted


def _steps(catch_up: str, now_ms: int) -> list[tuple[int, bool]]:
    """Every step until nothing is due any more: the tick, and whether a run is created for it."""
    info, steps = _info(catch_up=catch_up), []
    while (firing := plan(info, now_ms)) is not None:
        steps.append((firing.tick_ms - T0, not firing.is_missed))
        info = replace(info, next_ms=firing.next_ms)
    return steps


def test_after_an_outage_each_policy_does_what_it_says() -> None:
    now_ms = T0 + HOUR + 30_000
    assert _steps("all", now_ms) == [(minute * MINUTE, True) for minute in range(61)]
    assert _steps("last", now_ms) == [(HOUR, True)]
    assert _steps("none", now_ms) == [(59 * MINUTE, False), (HOUR, True)], "the last of them is only late"


def test_next_fire_times_begin_with_the_stored_one() -> None:
    times = _info().next_fire_times(3)
    assert [round(time.timestamp() * 1000) - T0 for time in times] == [0, MINUTE, 2 * MINUTE]
    assert _info(is_paused=True).next_fire_times() == ()
    assert _info(is_paused=True).next_fire_at is None


def test_a_run_of_a_tick_has_the_same_id_wherever_it_is_made() -> None:
    run_id = run_id_at(T0, "shop nightly", 77)
    assert run_id == run_id_at(T0, "shop nightly", 77) == check_run_id(run_id)
    assert (partition_of(run_id), int(run_id[:12], 16)) == (77, T0)
    others = {run_id_at(T0 + 1, "shop nightly", 77), run_id_at(T0, "shop weekly", 77)}
    assert run_id not in others
    assert len(others) == 2


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"cron": "* * * * *", "overlap": "allow"}, "overlap is one of 'skip'"),
        ({"cron": "* * * * *", "catch_up": "some"}, "catch_up is one of 'none'"),
        ({"cron": "* * *"}, "cannot be understood"),
    ],
)
def test_a_schedule_that_cannot_work_is_refused_where_it_is_written(wanted: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidSchedule, match=why):
        Schedule(**wanted)
    with pytest.raises(InvalidName):
        Schedule(every="1m", id="two words")
