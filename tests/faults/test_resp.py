"""The splitter gives back exactly the bytes it was given, cut where messages end, wherever the network cuts them."""

from __future__ import annotations

import itertools
from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redisflow.testing.faults import NotResp, ReplySplitter, RequestSplitter

WORDS = st.lists(st.binary(max_size=30), min_size=1, max_size=6)
PLAIN = st.text("abcXYZ 019", min_size=1, max_size=12).map(str.strip).filter(bool)
LEAVES = st.one_of(
    PLAIN.map(lambda text: f"+{text}\r\n".encode()),
    PLAIN.map(lambda text: f"-ERR {text}\r\n".encode()),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: b":%d\r\n" % number),
    st.binary(max_size=40).map(lambda data: b"$%d\r\n%s\r\n" % (len(data), data)),
    st.binary(max_size=40).map(lambda data: b"=%d\r\ntxt:%s\r\n" % (len(data) + 4, data)),
    st.sampled_from([b"$-1\r\n", b"*-1\r\n", b"_\r\n", b"#t\r\n", b"#f\r\n", b",1.5\r\n", b",inf\r\n", b"$0\r\n\r\n"]),
    st.integers().map(lambda number: b"(%d\r\n" % number),
)


def nested(values: Any) -> Any:
    lists = st.lists(values, max_size=4)
    return st.one_of(
        st.tuples(st.sampled_from("*~>"), lists).map(
            lambda made: f"{made[0]}{len(made[1])}\r\n".encode() + b"".join(made[1])
        ),
        lists.map(lambda made: b"%%%d\r\n" % len(made) + b"".join(b":1\r\n" + value for value in made)),
    )


# hiredis does not know this one.
LONG_ERRORS = st.binary(min_size=1, max_size=40).map(lambda data: b"!%d\r\n%s\r\n" % (len(data), data))
KNOWN_REPLIES = st.recursive(LEAVES, nested, max_leaves=8)
REPLIES = st.recursive(LEAVES | LONG_ERRORS, nested, max_leaves=20)
# An attribute stands before a value, and belongs to it.
WITH_ATTRIBUTES = st.tuples(st.sampled_from([b"", b"|1\r\n+ttl\r\n:3600\r\n"]), REPLIES).map(b"".join)


def request_of(words: list[bytes]) -> bytes:
    packed: bytes = hiredis.pack_command(tuple(words))  # type: ignore[arg-type]  # its stub knows one element only
    return packed


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[first:last] for first, last in itertools.pairwise(places)]


CUTS = st.lists(st.integers(0, 10_000), max_size=30)


@given(st.lists(WITH_ATTRIBUTES, max_size=8), CUTS)
def test_replies_come_out_whole_and_as_they_were(replies: list[bytes], cuts: list[int]) -> None:
    splitter = ReplySplitter()
    found = [reply.raw for piece in in_pieces(b"".join(replies), cuts) for reply in splitter.feed(piece)]
    assert found == replies
    assert splitter.take_rest() == b""


@given(st.lists(st.one_of(WORDS, PLAIN), max_size=8), CUTS)
def test_requests_come_out_whole_with_their_words(commands: list[list[bytes] | str], cuts: list[int]) -> None:
    raw = [f"{one}\r\n".encode() if isinstance(one, str) else request_of(one) for one in commands]
    words = [one.encode().split() if isinstance(one, str) else one for one in commands]
    splitter = RequestSplitter()
    found = [request for piece in in_pieces(b"".join(raw), cuts) for request in splitter.feed(piece)]
    assert [request.raw for request in found] == raw
    assert [list(request.words) for request in found] == words


@given(st.lists(WITH_ATTRIBUTES, min_size=1, max_size=4))
def test_byte_by_byte_nothing_comes_too_early_or_too_late(replies: list[bytes]) -> None:
    splitter = ReplySplitter()
    for reply in replies:
        assert [found for at in range(len(reply) - 1) for found in splitter.feed(reply[at : at + 1])] == []
        assert [found.raw for found in splitter.feed(reply[-1:])] == [reply]


@given(KNOWN_REPLIES)
def test_it_sees_the_borders_that_the_parser_of_the_engine_sees(reply: bytes) -> None:
    parser: Any = hiredis.Reader(notEnoughData=...)
    parser.feed(reply + b"+end\r\n")
    parser.gets()
    assert parser.gets() == b"end"
    assert [found.raw for found in ReplySplitter().feed(reply + b"+end\r\n")] == [reply, b"+end\r\n"]


def test_what_a_server_does_not_answer_is_a_request_without_words() -> None:
    requests = RequestSplitter().feed(b"\r\n*0\r\n*-1\r\nPING\n")
    assert [request.words for request in requests] == [(), (), (), (b"PING",)]


def test_the_first_word_of_a_push_and_what_has_none() -> None:
    data = (
        b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n*1\r\n+pong\r\n*1\r\n:1\r\n*1\r\n$-1\r\n*0\r\n+OK\r\n-ERR no\r\n"
    )
    replies = ReplySplitter().feed(data)
    assert [reply.first_word for reply in replies] == [b"message", b"pong", b"", b"", b"", b"", b""]
    assert [reply.is_push for reply in replies] == [True, *[False] * 6]
    assert [reply.is_error for reply in replies] == [*[False] * 6, True]


def test_what_has_come_of_an_unfinished_message_can_be_taken_out() -> None:
    splitter = RequestSplitter()
    assert [request.words for request in splitter.feed(b"PING\r\n*1\r\n$4\r\nPI")] == [(b"PING",)]
    assert splitter.take_rest() == b"*1\r\n$4\r\nPI"
    assert [request.words for request in splitter.feed(b"PING\r\n")] == [(b"PING",)]


@pytest.mark.parametrize("data", [b"HTTP/1.1 200 OK\r\n", b"$x\r\n", b"*?\r\n", b"+" + b"x" * 70_000])
def test_what_is_not_the_protocol_is_refused(data: bytes) -> None:
    with pytest.raises(NotResp):
        ReplySplitter().feed(data)
    if not data.startswith((b"H", b"$")):
        with pytest.raises(NotResp):
            RequestSplitter().feed(data)
