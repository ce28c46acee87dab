"""Retry policies: when the next attempt is due, as a pure function."""

from __future__ import annotations

import dataclasses
import math
from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redisflow.errors import InvalidDuration, NonRetryableError, RetryAfter
from redisflow.retry import NO_RETRY, RetryPolicy, delay_ms

ERROR = ValueError("no")
UNIT = st.floats(0, 1)


def test_the_default_policy_waits_one_two_and_four_seconds_and_gives_up():
    policy = RetryPolicy()
    assert [delay_ms(policy, attempt, ERROR, 0.5) for attempt in range(1, 6)] == [1_000, 2_000, 4_000, None, None]


def test_no_retry_makes_one_attempt():
    assert delay_ms(NO_RETRY, 1, ERROR, 0.5) is None
    assert delay_ms(NO_RETRY, 1, RetryAfter("1s"), 0.5) is None


def test_jitter_makes_a_wait_shorter_or_longer_by_its_share():
    policy = RetryPolicy(jitter=0.1)
    assert [delay_ms(policy, 1, ERROR, unit) for unit in (0.0, 0.5, 1.0)] == [900, 1_000, 1_100]
    assert {delay_ms(RetryPolicy(jitter=0), 1, ERROR, unit) for unit in (0.0, 0.3, 1.0)} == {1_000}


@given(
    initial_ms=st.integers(0, 10**9),
    coefficient=st.floats(1, 10),
    longest_ms=st.integers(0, 10**9),
    attempt=st.integers(1, 10**6),
    jitter=st.floats(0, 1),
    unit=UNIT,
)
def test_every_wait_is_that_of_exact_arithmetic(initial_ms, coefficient, longest_ms, attempt, jitter, unit):
    longest_ms = max(initial_ms, longest_ms)
    policy = RetryPolicy(
        initial_interval=timedelta(milliseconds=initial_ms),
        backoff_coefficient=coefficient,
        maximum_interval=timedelta(milliseconds=longest_ms),
        maximum_attempts=0,
        jitter=jitter,
    )
    wait = delay_ms(policy, attempt, ERROR, unit)
    assert type(wait) is int
    # Exact powers of a million would be numbers of megabytes: past the maximum nothing more is multiplied.
    backoff, factor = Fraction(initial_ms), Fraction(coefficient)
    for _ in range(min(attempt - 1, 200)):
        if not 0 < backoff < longest_ms or factor == 1:
            break
        backoff = Fraction(float(backoff * factor))
    if 0 < backoff < longest_ms and factor > 1 and attempt > 201:
        return
    expected = min(backoff, longest_ms) * (1 + Fraction(jitter) * (2 * Fraction(unit) - 1))
    assert wait >= 0
    assert abs(wait - expected) <= 1 + expected / 10**6


@pytest.mark.parametrize("coefficient", [1.0, 1.0000001, 2.0, 1e300])
def test_the_millionth_attempt_waits_no_longer_than_the_maximum(coefficient):
    policy = RetryPolicy(maximum_attempts=0, jitter=0, backoff_coefficient=coefficient)
    wait = delay_ms(policy, 10**6, ERROR, 0.5)
    assert wait is not None
    assert 1_000 <= wait <= 100_000
    at_once = RetryPolicy(maximum_attempts=0, initial_interval=0, backoff_coefficient=coefficient)
    assert delay_ms(at_once, 10**6, ERROR, 0.5) == 0


@given(st.integers(1, 50), st.integers(1, 60))
def test_the_number_of_attempts_is_the_one_that_was_asked_for(maximum, attempt):
    spent = delay_ms(RetryPolicy(maximum_attempts=maximum), attempt, ERROR, 0.5) is None
    assert spent == (attempt >= maximum)


def test_retry_after_chooses_the_wait_and_still_counts():
    policy = RetryPolicy(maximum_attempts=3)
    assert delay_ms(policy, 1, RetryAfter("1h"), 0.9) == 3_600_000
    assert delay_ms(policy, 2, RetryAfter(0), 0.9) == 0
    assert delay_ms(policy, 3, RetryAfter("1h"), 0.9) is None


def test_retry_after_something_that_is_no_duration_falls_back_to_the_policy():
    assert delay_ms(RetryPolicy(), 1, RetryAfter("soon"), 0.5) == 1_000
    assert delay_ms(RetryPolicy(), 1, RetryAfter(None), 0.5) == 1_000


class Declined(Exception):
    pass


class ReallyDeclined(Declined):
    pass


@pytest.mark.parametrize(
    ("non_retryable", "error", "retried"),
    [
        ((), NonRetryableError("stop"), False),
        ((), Declined(), True),
        ((Declined,), Declined(), False),
        ((Declined,), ReallyDeclined(), False),
        ((ReallyDeclined,), Declined(), True),
        (("Declined",), Declined(), False),
        (("Declined",), ReallyDeclined(), True),
        ((f"{__name__}.Declined",), Declined(), False),
        (("ValueError", OSError), ValueError(), False),
        (("ValueError", OSError), FileNotFoundError(), False),
        (("builtins.ValueError",), ValueError(), False),
        ((RetryAfter,), RetryAfter("1s"), False),
    ],
)
def test_errors_that_are_named_end_the_attempts(non_retryable, error, retried):
    policy = RetryPolicy(non_retryable=non_retryable)
    assert (delay_ms(policy, 1, error, 0.5) is not None) == retried


@pytest.mark.parametrize(
    ("wrong", "value"),
    [
        ("initial_interval", "soon"),
        ("initial_interval", -1),
        ("maximum_interval", 0.5),
        ("maximum_interval", None),
        ("backoff_coefficient", 0.9),
        ("backoff_coefficient", math.nan),
        ("backoff_coefficient", math.inf),
        ("backoff_coefficient", "2"),
        ("maximum_attempts", -1),
        ("maximum_attempts", 2.0),
        ("maximum_attempts", True),
        ("jitter", -0.1),
        ("jitter", 1.1),
        ("jitter", None),
        ("non_retryable", "ValueError"),
        ("non_retryable", [ValueError]),
        ("non_retryable", (ValueError(),)),
        ("non_retryable", (int,)),
    ],
)
def test_a_wrong_field_is_refused_by_its_name_where_it_is_written(wrong, value):
    with pytest.raises(ValueError, match=wrong):
        RetryPolicy(**{wrong: value})


def test_a_wrong_duration_in_a_policy_is_an_invalid_duration():
    with pytest.raises(InvalidDuration, match="initial_interval"):
        RetryPolicy(initial_interval="30")


def test_a_policy_is_a_value():
    policy = RetryPolicy(initial_interval="2s", non_retryable=(ValueError, "KeyError"))
    assert policy == RetryPolicy(initial_interval="2s", non_retryable=(ValueError, "KeyError"))
    assert len({policy, RetryPolicy(), RetryPolicy()}) == 2
    assert delay_ms(dataclasses.replace(policy, initial_interval="3s"), 1, OSError(), 0.5) == 3_000
    assert repr(NO_RETRY).startswith("RetryPolicy(initial_interval=1, ")
    assert "_ms" not in repr(policy)
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.jitter = 0.5  # type: ignore[misc]
