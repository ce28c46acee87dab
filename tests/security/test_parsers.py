"""Whatever is written or answered: parsers give what they are for, or refuse it in their own words."""

from __future__ import annotations

import asyncio
import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from redisflow import InvalidCursor, InvalidDuration, InvalidSchedule
from redisflow.backend.connect import mask_url, read_url
from redisflow.backend.cursors import read_cursor
from redisflow.backend.wire import Refusal, Wire
from redisflow.contract import RunFilter
from redisflow.durations import to_ms
from redisflow.errors import InvalidName
from redisflow.ticks import Ticks

T0_MS = 1_700_000_000_000
# Cursors may be read back for as long as a list goes on; nobody but this code writes them.
cursors = st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1"))
fields = st.text("0123456789*/-,LW#?", max_size=8) | st.sampled_from(["*", "*/5", "0", "1-5", "MON", "L", "99"])


@given(st.lists(st.binary(max_size=200), max_size=6))
@example([b"*2147483647\r\n", b"$-5\r\n"])
@example([b"*1\r\n" * 5_000])
@example([b"$999999999999999999999\r\n"])
def test_replies_of_any_kind_are_replies_or_the_end_of_the_connection(pieces: list[bytes]):
    async def receive() -> None:
        wire = Wire()
        replies: list[object] = []
        ends: list[str] = []
        wire.own(replies.extend, ends.append)
        for piece in pieces:
            wire.data_received(piece)
        assert all(isinstance(why, str) for why in ends)
        # An error reply within a reply is a value; none of them is raised.
        assert all(not isinstance(reply, BaseException) or isinstance(reply, Refusal) for reply in replies)

    asyncio.run(receive())


@given(
    st.lists(fields, min_size=1, max_size=6).map(" ".join) | st.text(max_size=40),
    st.sampled_from(["UTC", "Europe/Oslo"]),
)
def test_a_cron_expression_of_any_kind_has_ticks_or_is_refused(cron: str, timezone: str):
    try:
        ticks = Ticks.of(cron, None, timezone)
    except InvalidSchedule:
        return
    found = list(itertools.islice(ticks.after(T0_MS), 3))
    assert found == sorted(set(found))
    assert all(at > T0_MS for at in found)


@given(st.text(max_size=40) | st.floats() | st.integers())
def test_a_duration_of_any_kind_is_milliseconds_or_is_refused(value: str | float):
    try:
        assert to_ms(value) >= 0
    except InvalidDuration as error:
        assert len(str(error)) < 500  # noqa: PT017  # it may also be none


@given(cursors)
def test_a_cursor_of_any_kind_is_a_place_or_is_refused(cursor: str):
    try:
        place = read_cursor(RunFilter(), cursor, 1)
    except InvalidCursor:
        return
    assert place.began_ms >= 0


@given(
    st.text(max_size=80)
    | st.text(max_size=60).map("redis://".__add__)
    | st.text(max_size=60).map("rediss+sentinel://".__add__)
)
def test_a_url_of_any_kind_means_something_or_is_refused(url: str):
    try:
        target = read_url(url)
    except InvalidName:
        return
    assert target.masked == mask_url(url)
