"""How durations are told, and what a table leaves out where the terminal is narrow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from redisflow.cli.output import ago, took

NOW = datetime(2026, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(0.0042, "4 ms"), (4.85, "4.8 s"), (59, "59 s"), (119, "1 min 59 s"), (7_200, "2 h"), (259_000, "2 d 23 h")],
)
def test_a_duration_is_told_in_its_two_largest_units(seconds: float, says: str):
    assert took(seconds) == says


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (259_000, "in 2 d 23 h"),
        (0.5, "now"),
        (-0.5, "now"),
        (-4.85, "4 s ago"),
        (-119, "1 min ago"),
        (-259_000, "2 d ago"),
    ],
)
def test_what_is_left_is_told_in_two_units_and_what_is_past_in_one(seconds: float, says: str):
    assert ago(NOW + timedelta(seconds=seconds), NOW) == says
