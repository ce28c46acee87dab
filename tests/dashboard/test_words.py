"""How pages say numbers, times and states."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from redisflow.dashboard import words
from redisflow.dashboard.filters import Query
from redisflow.run_id import new_run_id
from redisflow.words import took

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, ""),
        (-1, "0 ms"),
        (0, "0 ms"),
        (0.0123, "12 ms"),
        (0.9996, "1.0 s"),
        (1, "1.0 s"),
        (9.94, "9.9 s"),
        (10, "10 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (74, "1 min 14 s"),
        (3_600, "1 h"),
        (3_661, "1 h 1 min"),
        (7_500, "2 h 5 min"),
        (86_400, "1 d"),
        (90_000, "1 d 1 h"),
        (86_400 * 400, "400 d"),
        (timedelta(minutes=2), "2 min"),
    ],
)
def test_durations(seconds: float | timedelta | None, said: str):
    assert took(seconds) == said


@given(st.floats(0, 1e9))
def test_a_duration_has_at_most_two_units(seconds: float):
    assert len(took(seconds).split(" ")) in {2, 4}


def test_instants_are_said_in_utc():
    assert words.clock(NOON) == "2026-11-27 12:00:00 UTC"
    assert words.clock(NOON.astimezone(timezone(timedelta(hours=2)))) == "2026-11-27 12:00:00 UTC"
    assert words.clock(None) == ""
    assert words.between(NOON, NOON + timedelta(seconds=12)) == "12 s"
    assert words.between(None, NOON) == words.between(NOON, None) == ""


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [(0, 0, "\u2013"), (0, 9, "0 %"), (9, 9, "100 %"), (1, 3, "33 %"), (1, 250, "0.4 %"), (1, 100_000, "< 0.1 %")],
)
def test_shares(part: int, whole: int, said: str):
    assert words.share(part, whole) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 << 10, "1.5 MiB"),
        (3 << 40, "3.0 TiB"),
        (1 << 60, "1048576.0 TiB"),
    ],
)
def test_sizes(number: int, said: str):
    assert words.size(number) == said


def test_numbers_and_what_they_count():
    assert words.count(1234567) == "1,234,567"
    assert [words.many(number, "run") for number in (0, 1, 1200)] == ["0 runs", "1 run", "1,200 runs"]


def test_an_id_is_short_in_a_list_and_two_of_a_moment_differ():
    first, second = new_run_id(0), new_run_id(0)
    assert words.short(first) != words.short(second)
    assert len(words.short(first)) < 20
    assert words.short("mine") == "mine"


@pytest.mark.parametrize(
    ("status", "reason", "colour", "said"),
    [
        ("pending", None, "pending", "pending"),
        ("waiting", "timer", "waiting", "waiting: timer"),
        ("waiting", "stranded", "stranded", "waiting: stranded"),
        ("waiting", "suspended", "stranded", "waiting: suspended"),
        ("waiting", "paused", "paused", "waiting: paused"),
        ("succeeded", None, "succeeded", "succeeded"),
    ],
)
def test_states(status: str, reason: str | None, colour: str, said: str):
    run = SimpleNamespace(status=status, waiting_for=reason)
    assert (words.state_of(run), words.state_words(run)) == (colour, said)
    assert words.icon_of(colour) in set(words.ICONS.values())


def test_what_is_not_known_has_an_icon_too():
    assert words.icon_of("new") == "circle-dot"
    assert words.kind_icon("new") == "zap"


@given(st.text(min_size=1))
def test_a_part_of_a_path_stays_one(text: str):
    assert not {"/", "?", "#", "%2f"} & set(words.part(text.encode(errors="ignore").decode()))


PRINTABLE = st.text(min_size=1, max_size=20).filter(str.isprintable)


@given(PRINTABLE.filter(lambda name: "=" not in name), PRINTABLE)
def test_the_filter_of_a_tag_finds_it(name: str, value: str):
    assert Query.parse(words.tag_filter((name, value))).tags == ((name, value),)


def test_signs_that_nobody_sees_are_shown_and_all_others_stay():
    assert words.visible("a\x00\x1b\u202e\ufeff\ud800") == "a\\u0000\\u001b\\u202e\\ufeff\\ud800"
    for text in ("plain", "line\nline\r\n\ttab", "naïve", "日本語", "👩\u200d🔬", "x\u0301"):
        assert words.visible(text) == text
    markup = Markup("<b>\x00</b>")
    assert words.visible(markup) is markup
    assert words.visible(12) == 12
