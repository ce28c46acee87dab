"""Names: what may be one, and what a refusal says."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redisflow.errors import InvalidName, RedisflowError
from redisflow.names import check_name, check_step_name

ALLOWED = string.ascii_letters + string.digits + "._:-"


@given(st.text(ALLOWED, min_size=1, max_size=128))
def test_letters_digits_and_four_signs_make_a_name(name):
    assert check_name("queue", name) == name


@given(st.text(max_size=140) | st.text(ALLOWED + "\n é٣", max_size=140))
def test_a_name_is_allowed_exactly_if_it_matches(name):
    allowed = re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", name) is not None
    for _ in range(2):  # the second time from memory
        if allowed:
            assert check_name("workflow", name) == name
        else:
            with pytest.raises(InvalidName, match="1 to 128"):
                check_name("workflow", name)


def test_a_refusal_names_the_kind_and_shows_the_name_cut_short():
    with pytest.raises(InvalidName) as refused:
        check_name("namespace", "é" * 1_000)
    message = str(refused.value)
    assert "namespace" in message
    assert "'éé" in message
    assert len(message) < 300


@pytest.mark.parametrize("name", [None, b"name", 7, ["name"], ("n",)])
def test_only_text_is_a_name(name):
    with pytest.raises(InvalidName):
        check_name("queue", name)
    with pytest.raises(InvalidName, match=type(name).__name__):
        check_step_name(name)


def test_an_invalid_name_is_an_error_of_this_library_and_a_value_error():
    with pytest.raises(RedisflowError):
        check_name("queue", "")
    with pytest.raises(ValueError, match="queue"):
        check_name("queue", "")


@pytest.mark.parametrize("name", ["charge card", "prüfe #eins", "a#", "#", "7", "a#1b", "x" * 128, "é" * 64, "a# 1"])
def test_printable_text_names_a_step(name):
    assert check_step_name(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        ("a\nb", "printed"),
        ("a\x00", "printed"),
        ("\ud800", "printed"),
        ("a\u2028b", "printed"),
        ("x" * 129, "129 bytes"),
        ("é" * 65, "130 bytes"),
        ("a#1", "used again"),
        ("#007", "used again"),
    ],
)
def test_other_text_names_no_step_and_the_reason_is_said(name, reason):
    for _ in range(2):
        with pytest.raises(InvalidName, match=reason):
            check_step_name(name)


@given(st.text(max_size=140))
def test_a_step_name_is_allowed_exactly_by_the_rule(name):
    allowed = name.isprintable() and 1 <= len(name.encode("utf-8", "replace")) <= 128
    allowed = allowed and re.search(r"#[0-9]+$", name) is None
    if allowed:
        assert check_step_name(name) == name
    else:
        with pytest.raises(InvalidName):
            check_step_name(name)


@given(st.text(string.ascii_letters + "# ", min_size=1, max_size=20), st.integers(1, 999))
def test_no_name_can_be_taken_for_a_repeated_one(name, number):
    with pytest.raises(InvalidName):
        check_step_name(f"{name}#{number}")
