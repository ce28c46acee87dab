"""Ticks: every one later than the one before, the same from wherever they are asked for, clocks changing or not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redisflow.durations import from_ms
from redisflow.errors import InvalidSchedule
from redisflow.ticks import Ticks, zone_of

PARIS = "Europe/Paris"
# Half an hour, a whole one, at midnight, south of the equator, and none at all.
ZONES = st.sampled_from(["UTC", PARIS, "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kolkata"])
YEARS = st.integers(1_735_689_600_000, 1_861_920_000_000)


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


def _fields() -> st.SearchStrategy[str]:
    def field(low: int, high: int) -> st.SearchStrategy[str]:
        number = st.integers(low, high).map(str)
        several = st.lists(number, min_size=2, max_size=3).map(",".join)
        return st.one_of(st.just("*"), st.integers(2, 20).map("*/{}".format), number, several)

    usual = st.tuples(field(0, 59), field(0, 23), field(1, 28), st.just("*"), st.just("*"))
    weekly = st.tuples(field(0, 59), field(0, 23), st.just("*"), st.just("*"), field(0, 6))
    return st.one_of(usual, weekly).map(" ".join)


CRONS = st.builds(lambda cron, zone: Ticks(cron=cron, timezone=zone), _fields(), ZONES)
INTERVALS = st.integers(100, 40 * 86_400_000).map(lambda every_ms: Ticks(every_ms=every_ms))
# Within hours of a change of clocks in Paris and New York, as well as anywhere.
INSTANTS = st.one_of(
    YEARS,
    st.builds(
        lambda day, ms: _ms(day) + ms,
        st.sampled_from([datetime(2026, *day, tzinfo=UTC) for day in ((3, 29), (10, 25), (3, 8), (11, 1))]),
        st.integers(-10_000_000, 40_000_000),
    ),
)


@given(st.one_of(CRONS, INTERVALS), INSTANTS)
def test_ticks_are_later_than_asked_and_rise(ticks: Ticks, at_ms: int) -> None:
    found = list(islice(ticks.after(at_ms), 5))
    assert found[0] > at_ms
    assert found == sorted(set(found))


@given(st.one_of(CRONS, INTERVALS), INSTANTS, st.data())
def test_there_is_no_tick_between_two_that_follow_each_other(ticks: Ticks, at_ms: int, data: st.DataObject) -> None:
    first, second = islice(ticks.after(at_ms), 2)
    assert ticks.next_after(data.draw(st.integers(at_ms, first - 1))) == first
    assert ticks.next_after(data.draw(st.integers(first, second - 1))) == second


@given(st.one_of(CRONS, INTERVALS), INSTANTS, st.integers(1, 300))
def test_the_last_tick_until_an_instant_is_found_without_counting(ticks: Ticks, at_ms: int, count: int) -> None:
    known, *others = islice(ticks.after(at_ms), count + 1)
    last, following = [known, *others][-2:]
    assert ticks.last_until(last, known) == last
    assert ticks.last_until(following - 1, known) == last


def test_ten_years_of_missed_seconds_are_not_counted_through() -> None:
    ticks = Ticks(cron="* * * * * *", timezone=PARIS)
    now_ms = _ms(datetime(2026, 6, 1, 12, tzinfo=UTC))
    assert ticks.last_until(now_ms + 500, now_ms - 10 * 365 * 86_400_000) == now_ms


def _shown(cron: str, begin: datetime, count: int) -> list[str]:
    ticks = Ticks(cron=cron, timezone=PARIS)
    found = islice(ticks.after(_ms(begin)), count)
    return [f"{from_ms(tick).astimezone(zone_of(PARIS)):%d %H:%M %z}" for tick in found]


@pytest.mark.parametrize(
    ("cron", "wanted"),
    [
        ("30 2 * * *", ["29 03:00 +0200", "30 02:30 +0200"]),
        ("0,30 2 * * *", ["29 03:00 +0200", "30 02:00 +0200"]),
        ("0 2,3 * * *", ["29 03:00 +0200", "30 02:00 +0200"]),
        ("0 * * * *", ["29 01:00 +0100", "29 03:00 +0200"]),
        ("*/30 2 * * *", ["30 02:00 +0200", "30 02:30 +0200"]),
    ],
)
def test_a_time_that_the_clock_skips_comes_when_it_has_jumped(cron: str, wanted: list[str]) -> None:
    # In Paris, on 2026-03-29, 01:59:59 is followed by 03:00:00.
    assert _shown(cron, datetime(2026, 3, 28, 23, 30, tzinfo=UTC), 2) == wanted


@pytest.mark.parametrize(
    ("cron", "wanted"),
    [
        ("30 2 * * *", ["25 02:30 +0200", "26 02:30 +0100"]),
        ("0 3 * * *", ["25 03:00 +0100", "26 03:00 +0100"]),
        ("0 * * * *", ["25 02:00 +0200", "25 02:00 +0100"]),
        ("*/30 2 * * *", ["25 02:00 +0200", "25 02:30 +0200"]),
    ],
)
def test_a_time_that_the_clock_shows_twice_comes_once_and_hours_come_twice(cron: str, wanted: list[str]) -> None:
    # In Paris, on 2026-10-25, 02:59:59 summer time is followed by 02:00:00.
    assert _shown(cron, datetime(2026, 10, 24, 23, 30, tzinfo=UTC), 2) == wanted


@pytest.mark.parametrize("minute", [5, 35])
def test_asked_in_the_second_of_two_equal_hours_it_does_not_go_back(minute: int) -> None:
    second_time = datetime(2026, 10, 25, 1, minute, tzinfo=UTC)
    assert _shown("30 2 * * *", second_time, 1) == ["26 02:30 +0100"]


def test_intervals_are_counted_from_1970() -> None:
    quarter = Ticks.of(None, "15m", "UTC")
    noon = datetime(2026, 3, 29, 12, tzinfo=UTC)
    assert from_ms(quarter.next_after(_ms(noon)) or 0) == noon + timedelta(minutes=15)
    assert from_ms(quarter.next_after(_ms(noon) - 1) or 0) == noon


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({}, "either cron"),
        ({"cron": "0 3 * * *", "every": "1h"}, "either cron"),
        ({"cron": "0 3 * *"}, "cannot be understood"),
        ({"cron": "61 3 * * *"}, "cannot be understood"),
        ({"cron": ""}, "cannot be understood"),
        ({"cron": 5}, "is text"),
        ({"cron": "0 0 30 2 *"}, "cannot be understood"),
        ({"cron": "0 3 * * *", "timezone": "Europe/Atlantis"}, "is not known here"),
        ({"cron": "0 3 * * *", "timezone": "../etc"}, "is not known here"),
        ({"every": "50ms"}, "100ms at least"),
        ({"every": "soon"}, "is not a duration"),
        ({"every": "1h", "timezone": PARIS}, "belongs to cron"),
    ],
)
def test_what_makes_no_ticks_is_refused_and_says_why(wanted: dict[str, str], why: str) -> None:
    with pytest.raises(InvalidSchedule, match=why):
        Ticks.of(wanted.get("cron"), wanted.get("every"), wanted.get("timezone", "UTC"))
