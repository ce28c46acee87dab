"""Failures: an exception as data, whatever the exception does."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redisflow.codec import decode, encode
from redisflow.durations import to_ms
from redisflow.errors import CannotDecode, InvalidDuration
from redisflow.failure import Failure


def failure_of(body: Any, **options: Any) -> Failure:
    try:
        body()
    except BaseException as error:
        return Failure.of(error, **options)
    raise AssertionError("the body did not raise")


class CardDeclined(Exception):
    class Inner(Exception):
        pass


def test_a_type_is_named_with_its_module_unless_it_is_built_in():
    assert Failure.of(ValueError("no")).error_type == "ValueError"
    assert Failure.of(CardDeclined()).error_type == f"{__name__}.CardDeclined"
    assert Failure.of(CardDeclined.Inner()).error_type == f"{__name__}.CardDeclined.Inner"


def test_causes_contexts_notes_and_groups_are_told():
    def body() -> None:
        try:
            try:
                raise KeyError("first")
            except KeyError:
                raise OSError("second")  # noqa: B904 - the context is what is tested
        except OSError as error:
            group = ExceptionGroup("many", [ValueError("in the group")])
            group.add_note("a note")
            raise group from error

    failure = failure_of(body)
    assert failure.message == "many (1 sub-exception)"
    for told in ("first", "second", "During handling", "direct cause", "in the group", "a note", "in body"):
        assert told in failure.traceback
    assert failure.traceback.endswith("\n")


def test_values_of_variables_are_not_told():
    def body() -> None:
        password = "hunter2" * 3
        raise ValueError(len(password))

    assert "hunter2hunter2" not in failure_of(body).traceback


def test_frames_through_which_a_body_is_called_are_left_out():
    def body() -> None:
        to_ms("soon")

    def in_a_thread() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(body).result()

    error: BaseException | None = None
    try:
        in_a_thread()
    except InvalidDuration as raised:
        error = raised
    assert error is not None
    trace = error.__traceback__
    while trace is not None and "concurrent" not in str(trace.tb_frame.f_globals["__name__"]):
        trace = trace.tb_next
    assert trace is not None
    failure = Failure.of(error.with_traceback(trace))
    assert "concurrent" not in failure.traceback
    assert "in body" in failure.traceback
    assert "in to_ms" in failure.traceback


def test_an_error_of_the_library_itself_keeps_its_frames():
    error: BaseException | None = None
    try:
        to_ms("soon")
    except InvalidDuration as raised:
        error = raised
    assert error is not None
    assert error.__traceback__ is not None
    assert "in to_ms" in Failure.of(error.with_traceback(error.__traceback__.tb_next)).traceback


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("even this")


class VeryBroken(Exception):
    def __str__(self) -> str:
        raise SystemExit


class NoText(Exception):
    def __str__(self) -> str:
        return 7  # type: ignore[return-value] # noqa: PLE0307 - that is what is broken


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in ("__qualname__", "__module__"):
            raise RuntimeError(name)
        return super().__getattribute__(name)


class NoName(Exception, metaclass=Meta):
    pass


class BadNotes(Exception):
    __notes__ = property(lambda self: 1 / 0)


@pytest.mark.parametrize("kind", [Broken, VeryBroken, NoText, NoName, BadNotes])
def test_an_exception_that_breaks_when_it_is_looked_at_is_recorded_all_the_same(kind):
    def body() -> None:
        raise kind("x")

    failure = failure_of(body)
    assert failure.error_type
    assert failure.traceback
    assert Failure.from_wire(decode(encode(failure.to_wire()))) == failure


def test_what_a_broken_message_raised_is_told():
    assert (
        failure_of(lambda: (_ for _ in ()).throw(Broken())).message == "<no message: its __str__ raised RuntimeError>"
    )


@given(st.text(st.characters(), max_size=50) | st.just("\ud800 lone"))
def test_text_of_any_kind_can_be_recorded(text):
    failure = Failure.of(ValueError(text))
    assert decode(encode(failure.to_wire())) == failure.to_wire()


def test_a_long_message_is_cut_at_its_end():
    message = Failure.of(ValueError("é" * 10_000)).message
    assert len(message) == 4_096
    assert message.endswith("é...")


@given(st.integers(0, 3_000), st.text(st.characters(exclude_categories=["Cs"]), max_size=100))
def test_a_long_traceback_is_cut_in_its_middle_to_the_limit(limit, text):
    failure = Failure.of(ValueError("begin " + (text or "x") * 50 + " end"), limit=limit)
    size = len(failure.traceback.encode())
    assert size <= limit
    whole = Failure.of(ValueError("begin " + (text or "x") * 50 + " end")).traceback
    if len(whole.encode()) <= limit:
        assert failure.traceback == whole
    elif limit > 100:
        assert "(cut)" in failure.traceback
        assert failure.traceback.endswith(" end\n")
        assert size > limit - 10


def test_endless_recursion_is_told_in_few_lines():
    def body() -> None:
        body()

    failure = failure_of(body)
    assert failure.error_type == "RecursionError"
    assert len(failure.traceback) < 5_000


def test_a_failure_without_a_traceback_is_told_by_its_last_line():
    assert Failure.of(ValueError("no")).traceback == "ValueError: no\n"
    assert sys.exc_info() == (None, None, None)


@pytest.mark.parametrize("wire", [None, [], ["a", "b"], ["a", "b", 3], "abc", {"a": 1}, ["a", "b", "c", "d"]])
def test_what_is_no_recorded_failure_is_refused(wire):
    with pytest.raises(CannotDecode, match="list of three texts"):
        Failure.from_wire(wire)
