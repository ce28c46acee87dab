"""Durations and instants: what people write, in whole milliseconds, never early."""

from __future__ import annotations

import math
import string
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redisflow.durations import MAX_DURATION_MS, When, describe_ms, from_ms, to_ms, to_when
from redisflow.errors import InvalidDuration

UNITS = {
    1: ["ms", "msec", "millisecond", "milliseconds"],
    1_000: ["s", "sec", "secs", "second", "seconds"],
    60_000: ["m", "min", "mins", "minute", "minutes"],
    3_600_000: ["h", "hr", "hrs", "hour", "hours"],
    86_400_000: ["d", "day", "days"],
    604_800_000: ["w", "wk", "week", "weeks"],
}


@pytest.mark.parametrize(
    ("written", "ms"),
    [
        ("500ms", 500),
        ("1h30m", 5_400_000),
        ("3d", 259_200_000),
        ("2 days", 172_800_000),
        ("1.5h", 5_400_000),
        (".5s", 500),
        ("30m 1h", 5_400_000),
        ("1h1h", 7_200_000),
        (" 1 Hour  30 MINUTES ", 5_400_000),
        ("0s", 0),
        ("0.1ms", 1),
        ("1.0001s", 1_001),
        (0, 0),
        (30, 30_000),
        (0.1, 100),
        (0.25, 250),
        (1e-9, 1),
        (timedelta(hours=1), 3_600_000),
        (timedelta(microseconds=1), 1),
        (timedelta(milliseconds=1), 1),
        (timedelta(days=3_653), MAX_DURATION_MS),
    ],
)
def test_a_duration_is_read_as_written(written, ms):
    assert to_ms(written) == ms


@st.composite
def written_durations(draw: st.DrawFn) -> tuple[str, Decimal]:
    text, total = draw(st.sampled_from(["", " "])), Decimal(0)
    for _ in range(draw(st.integers(1, 4))):
        size = draw(st.sampled_from(sorted(UNITS)))
        number = draw(st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,4})?", fullmatch=True).filter(str.isascii))
        unit = draw(st.sampled_from(UNITS[size]))
        text += number + draw(st.sampled_from(["", " "])) + draw(st.sampled_from([unit, unit.upper()]))
        text += draw(st.sampled_from(["", " "]))
        total += Decimal(number) * size
    return text, total


@given(written_durations())
def test_the_parts_of_a_text_add_up_and_are_rounded_up(written):
    text, total = written
    if total <= MAX_DURATION_MS:
        assert to_ms(text) == math.ceil(total)
    else:
        with pytest.raises(InvalidDuration, match="10 years"):
            to_ms(text)


@given(st.timedeltas(timedelta(0), timedelta(days=3_653)))
def test_a_timedelta_is_never_made_shorter(duration):
    ms = to_ms(duration)
    assert timedelta(milliseconds=ms - 1) < duration <= timedelta(milliseconds=ms)


@given(st.floats(0, MAX_DURATION_MS / 1_000))
def test_seconds_are_never_made_shorter(seconds):
    exact = Fraction(repr(seconds)) * 1_000
    assert exact <= to_ms(seconds) < exact + 1


@given(st.integers(0, MAX_DURATION_MS // 1_000))
def test_whole_seconds_are_the_same_as_int_float_and_text(seconds):
    assert to_ms(seconds) == to_ms(float(seconds)) == to_ms(f"{seconds}s") == seconds * 1_000


WRONG: list[tuple[Any, str]] = [
    ("30", "no unit"),
    ("-5", "no unit"),
    ("", "not a duration"),
    ("soon", "not a duration"),
    ("-5s", "not a duration"),
    ("5s later", "not a duration"),
    ("1h, 30m", "not a duration"),
    ("1..5s", "not a duration"),
    ("5 parsecs", "'parsecs'.*not a unit"),
    ("٣s", "not a duration"),
    ("1" * 200 + "s", "not a duration"),
    ("1" * 90 + "s", "10 years"),
    (True, "bool"),
    (None, "NoneType"),
    (b"5s", "bytes"),
    (math.nan, "nan"),
    (math.inf, "inf"),
    (-1, "negative"),
    (-0.001, "negative"),
    (timedelta(microseconds=-1), "negative"),
    (timedelta(days=3_654), "10 years"),
    (10**400, "1329 bits.*10 years"),
    (10**5_000, "bits.*10 years"),
    (-(10**5_000), "negative"),
    (-math.inf, "negative"),
    (1e300, "10 years"),
    (1_700_000_000, "10 years.*seconds"),
]


@pytest.mark.parametrize(("value", "reason"), WRONG, ids=range(len(WRONG)))
def test_what_is_no_duration_is_refused_with_the_reason_and_its_name(value, reason):
    with pytest.raises(InvalidDuration, match=rf"^retention: .*{reason}") as refused:
        to_ms(value, what="retention")
    assert len(str(refused.value)) < 300


@given(st.text(string.digits + ".hms dx-", max_size=12))
def test_text_of_any_kind_is_read_or_refused_as_such(text):
    try:
        ms = to_ms(text)
    except InvalidDuration:
        return
    assert 0 <= ms <= MAX_DURATION_MS


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-7)), ZoneInfo("Europe/Berlin")])))
def test_an_aware_datetime_is_an_absolute_instant_that_is_never_early(moment):
    when = to_when(moment, what="deadline_at")
    assert not when.relative
    moment = moment.astimezone(UTC)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert timedelta(milliseconds=when.ms - 1) < moment - epoch <= timedelta(milliseconds=when.ms)


@given(st.integers(0, 10**13))
def test_an_instant_comes_back_from_its_milliseconds(at_ms):
    moment = from_ms(at_ms)
    assert moment.tzinfo is UTC
    assert to_when(moment, what="at") == When(at_ms, relative=False)


def test_a_duration_is_an_instant_from_now():
    assert to_when("5m", what="available_at") == When(300_000, relative=True)
    assert to_when(timedelta(seconds=1), what="available_at") == When(1_000, relative=True)
    with pytest.raises(InvalidDuration, match=r"^available_at"):
        to_when("soon", what="available_at")


def test_a_naive_datetime_is_refused_with_what_to_use():
    with pytest.raises(InvalidDuration, match=r"^deadline_at: .*aware datetime"):
        to_when(datetime(2026, 1, 1), what="deadline_at")  # noqa: DTZ001 - that is what is refused


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0ms"),
        (250, "250ms"),
        (999, "999ms"),
        (1_000, "1s"),
        (3_250, "3.2s"),
        (59_999, "59.9s"),
        (60_000, "1m"),
        (65_000, "1m 5s"),
        (5_400_000, "1h 30m"),
        (3_600_000, "1h"),
        (3_601_000, "1h"),
        (273_600_000, "3d 4h"),
        (MAX_DURATION_MS, "3653d"),
        (-1_500, "-1.5s"),
    ],
)
def test_a_duration_is_described_in_its_two_largest_units(ms, text):
    assert describe_ms(ms) == text


@given(st.integers(0, MAX_DURATION_MS))
def test_a_description_can_be_read_back_and_is_at_most_a_tenth_off(ms):
    read = to_ms(describe_ms(ms))
    assert read <= ms <= read * 1.1 + 1
