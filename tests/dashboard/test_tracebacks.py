"""Tracebacks as Python prints them become frames, and nothing of them is lost."""

from __future__ import annotations

import json
import sysconfig
import traceback
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redisflow.dashboard.tracebacks import MOST_FRAMES, Frame, Group, Traceback, read_traceback

HERE = __file__


def printed(fails: Callable[[], object]) -> str:
    try:
        fails()
    except BaseException:
        return traceback.format_exc()
    raise AssertionError("it did not fail")


def frames(read: Traceback) -> list[Frame]:
    return [frame for part in read.parts if isinstance(part, Group) for frame in part.frames]


def texts(read: Traceback) -> str:
    return "\n".join(part for part in read.parts if isinstance(part, str))


def divide() -> float:
    return 1 / 0


def test_a_frame_says_where_in_which_function_and_by_which_code():
    read = read_traceback(printed(divide))
    *_, last = frames(read)
    assert (last.path, last.name, last.code, last.is_own) == (HERE, "divide", ["return 1 / 0"], True)
    assert last.place == f"{HERE}:{divide.__code__.co_firstlineno + 1}"
    assert texts(read).split("\n")[0] == "Traceback (most recent call last):"
    assert texts(read).split("\n")[-1] == "ZeroDivisionError: division by zero"


def test_the_frames_of_libraries_are_folded_and_those_of_the_user_stand_out():
    read = read_traceback(printed(lambda: json.loads("{")))
    groups = [part for part in read.parts if isinstance(part, Group)]
    assert [group.is_folded for group in groups] == [False, True]
    library = sysconfig.get_path("stdlib")
    assert all(frame.path.startswith((library, "/")) and "json" in frame.path for frame in groups[1].frames)
    foreign = [
        "/app/.venv/lib/python3.12/site-packages/httpx/_client.py",
        "/usr/lib/python3/dist-packages/six.py",
        "/usr/lib/python3.13/asyncio/tasks.py",
        "C:\\app\\Lib\\site-packages\\x.py",
        "/srv/redisflow/engine/execution.py",
        "<frozen importlib._bootstrap>",
        "<string>",
    ]
    for path in foreign:
        (frame,) = frames(read_traceback(f'  File "{path}", line 1, in f\n    f()\n'))
        assert not frame.is_own, path
    for path in ("/srv/shop/orders.py", "C:\\shop\\orders.py", "/srv/my redisflow/app.py", "orders.py"):
        (frame,) = frames(read_traceback(f'  File "{path}", line 1, in f\n    f()\n'))
        assert frame.is_own, path


def test_causes_and_contexts_stand_between_their_frames():
    def caused() -> None:
        try:
            divide()
        except ZeroDivisionError as error:
            raise ValueError("no price") from error

    def during() -> None:
        try:
            caused()
        except ValueError:
            raise KeyError("again")  # noqa: B904  # a context, no cause

    read = read_traceback(printed(during))
    said = texts(read)
    first, second, third = (
        said.index(each) for each in ("ZeroDivisionError: ", "ValueError: no price", "KeyError: 'again'")
    )
    assert first < second < third
    assert "The above exception was the direct cause" in said
    assert "During handling of the above exception" in said
    kinds = ["text" if isinstance(part, str) else "frames" for part in read.parts]
    assert kinds == ["text", "frames", "text", "frames", "text", "frames", "text"]


def test_notes_and_errors_of_several_lines_are_kept():
    def noted() -> None:
        error = ValueError("first line\n  second line\nthird")
        error.add_note("run 01a: look at the receipt")
        raise error

    said = texts(read_traceback(printed(noted)))
    for line in ("ValueError: first line", "  second line", "third", "run 01a: look at the receipt"):
        assert line in said.split("\n")


def test_groups_of_exceptions_keep_all_their_words():
    def grouped() -> None:
        raise ExceptionGroup("two", [ValueError("one of them"), KeyError("the other")])

    text = printed(grouped)
    read = read_traceback(text)
    said = "\n".join([texts(read), *(line for frame in frames(read) for line in [frame.place, *frame.code])])
    for words in ("ExceptionGroup: two (2 sub-exceptions)", "ValueError: one of them", "KeyError: 'the other'"):
        assert words in said


def test_syntax_errors_say_where():
    read = read_traceback(printed(lambda: compile("x = = 1", "orders.py", "exec")))
    last = frames(read)[-1]
    assert (last.path, last.line, last.name) == ("orders.py", "1", "")
    assert last.code == ["x = = 1"]
    assert "SyntaxError: invalid syntax" in texts(read)


def test_lines_that_only_point_are_left_out():
    text = '  File "a.py", line 1, in f\n    f(x)\n    ~^^^\n    ^\nValueError: x\n'
    (frame,) = frames(read_traceback(text))
    assert frame.code == ["f(x)"]


def test_a_deep_recursion_is_shown_in_part_and_its_rest_is_text():
    text = "".join(f'  File "a.py", line {number}, in f\n    f()\n' for number in range(1, 1001))
    read = read_traceback(f"Traceback (most recent call last):\n{text}RecursionError: too deep")
    assert len(frames(read)) == MOST_FRAMES
    assert "line 1000, in f" in texts(read)
    assert texts(read).endswith("RecursionError: too deep")


@pytest.mark.parametrize("text", ["", "\n\n", "   ", "no traceback at all", '  File "', "\x00\r\n\u2028"])
def test_what_is_no_traceback_stays_text(text: str):
    read = read_traceback(text)
    assert not frames(read)
    assert "".join(texts(read).split()) == "".join(text.split())


LINES = st.one_of(
    st.text(max_size=30),
    st.just("Traceback (most recent call last):"),
    st.builds('  File "{}", line {}, in {}'.format, st.text("ab/<>", min_size=1), st.integers(0, 99), st.text("fg")),
    st.builds("    {}".format, st.text("abc()", min_size=1)),
)


@given(st.lists(LINES, max_size=12).map("\n".join))
def test_no_word_of_any_text_is_lost(text: str):
    read = read_traceback(text)
    kept = " ".join([texts(read), *(" ".join([each.path, each.line, each.name, *each.code]) for each in frames(read))])
    for line in text.splitlines():
        if line.strip(" ^~") and not line.startswith("  File "):
            assert line.strip() in kept
