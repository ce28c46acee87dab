"""Events and state: said once by the workflow's code, with its commits; at once by bodies; read from any event on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.lua.harness import PREFIX, Lua

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.lua.harness import Held

STREAM = f"{PREFIX}events:run-1"
STATE = f"{PREFIX}state:run-1"


def output(mark: str, *events: bytes, keep: int = 10_000, **state: bytes) -> list[Any]:
    said = [part for data in events for part in ("data", data, "", "")]
    changes = [part for pair in state.items() for part in pair]
    return ["output", mark, keep, len(said), *said, len(changes), *changes]


def emit(lua: Lua, held: Held, number: int, *events: bytes, most: int = 100, **state: bytes) -> str:
    said = [part for data in events for part in ("token", data, "answer", 2)]
    changes = [part for pair in state.items() for part in pair]
    arguments = {"run_id": held.run_id, "fence": held.fence, "number": number, "keep": 10_000, "most": most}
    word: str = lua.twice("emit_events", [*said, *changes], **arguments, count=len(said))[0]
    return word


def read(lua: Lua, after: str = "", *, limit: int = 1_000, size: int = 1_000_000) -> tuple[list[int], list[Any]]:
    """More, over and gap; and the events."""
    word, *rest = lua.call("read_events", run_id="run-1", after=after, limit=limit, bytes=size)
    assert word == "ok"
    return rest[:3], rest[3:]


def data(events: Sequence[Any]) -> list[bytes]:
    return [fields[3] for _, fields in events]


def test_what_code_says_is_stored_with_its_commits_and_its_end(lua: Lua) -> None:
    held = lua.take()
    effects = output("-1:2", b"a", b"b", phase=b"1")
    assert lua.commit(held, b"one", effects=effects) == "ok"
    assert lua.park(held, b"two", effects=output("0:1", b"c", phase=b"2"), due=lua.now + 1) == "ok"
    lua.later(1)
    held = lua.claim_only()
    assert held.fields["ev"] == b"0:1"
    assert lua.finish(held, b"three", effects=output("2:1", b"d", phase=b"3")) == "ok"
    flags, events = read(lua)
    assert (flags, data(events)) == ([0, 1, 0], [b"a", b"b", b"c", b"d"])
    assert events[0][1] == [b"k", b"data", b"d", b"a"]
    assert lua.redis.hgetall(STATE) == {b"phase": b"3"}


def test_a_commit_without_records_that_is_sent_again_says_nothing_again(lua: Lua) -> None:
    held = lua.take()
    shown = {**held.shown(), "renew": "", "forget": "", "seen": ""}
    assert lua.twice("commit_run", [], output("-1:1", b"a", x=b"1"), **shown) == ["ok"]
    assert lua.twice("commit_run", [], output("-1:2", b"b", x=b"2"), **shown) == ["ok"]
    assert lua.twice(
        "park_run", [], output("-1:3", b"c"), **held.shown(), reason="timer", due=lua.now + 1, seen="", wants=""
    ) == ["ok"]
    assert data(read(lua)[1]) == [b"a", b"b", b"c"]


def test_a_parking_run_that_has_mail_has_said_what_it_said(lua: Lua) -> None:
    held = lua.take()
    lua.call("signal_run", run_id="run-1", name="s:go", item=b"s\ngo\n\x01", once="k", ms=1_000, most=10)
    arguments = {**held.shown(), "reason": "signal", "due": "", "seen": 0, "wants": "\ns:go\n"}
    assert lua.twice("park_run", [], output("-1:1", b"a"), **arguments) == ["mail"]
    assert data(read(lua)[1]) == [b"a"]


def test_a_call_that_is_refused_says_nothing(lua: Lua) -> None:
    held = lua.take()
    lua.cancel()
    assert lua.commit(held, b"one", effects=output("-1:1", b"a")) == "ended"
    assert emit(lua, held, 1, b"b", x=b"1") == "fenced"
    assert not lua.redis.exists(STREAM, STATE)


def test_effects_of_other_kinds_stand_beside_it(lua: Lua) -> None:
    held = lua.take()
    lua.call("signal_run", run_id="run-1", name="s:go", item=b"s\ngo\n\x01", once="k", ms=1_000, most=10)
    assert lua.commit(held, b"one", effects=[*output("-1:1", b"a"), "take", 1, *output("-1:2", b"b")]) == "ok"
    assert data(read(lua)[1]) == [b"a", b"b"]
    assert not lua.redis.exists(f"{PREFIX}mail:run-1")


def test_bodies_speak_at_once_and_once_for_each_call(lua: Lua) -> None:
    held = lua.take()
    assert emit(lua, held, 1, b"a", b"b", x=b"1") == "ok"
    assert emit(lua, held, 2, b"c") == "ok"
    assert emit(lua, held, 3, x=b"2") == "ok"
    events = read(lua)[1]
    assert data(events) == [b"a", b"b", b"c"]
    assert events[0][1] == [b"k", b"token", b"d", b"a", b"s", b"answer", b"a", b"2"]
    assert lua.redis.hgetall(STATE) == {b"x": b"2"}
    # What was committed meanwhile and before by its holder is not touched by it, nor the other way round.
    assert lua.commit(held, b"one", effects=output("-1:1", b"d")) == "ok"
    assert emit(lua, held, 4, b"e") == "ok"
    assert data(read(lua)[1]) == [b"a", b"b", b"c", b"d", b"e"]


def test_an_earlier_call_that_comes_again_late_says_nothing_and_sets_nothing_back(lua: Lua) -> None:
    held = lua.take()
    for number in range(1, 12):
        assert emit(lua, held, number, b"%d" % number, x=b"%d" % number) == "ok"
    for late in (1, 9, 10):
        assert emit(lua, held, late, b"%d" % late, x=b"%d" % late) == "ok"
    assert data(read(lua)[1]) == [b"%d" % number for number in range(1, 12)]
    assert lua.redis.hgetall(STATE) == {b"x": b"11"}


def test_the_next_holder_counts_its_calls_anew(lua: Lua) -> None:
    held = lua.take()
    assert emit(lua, held, 1, b"a") == "ok"
    lua.release(held)
    following = lua.claim_only()
    assert emit(lua, held, 2, b"late") == "fenced"
    assert emit(lua, following, 1, b"b") == "ok"
    assert data(read(lua)[1]) == [b"a", b"b"]


def test_a_full_state_takes_no_new_keys_and_still_changes_the_old_ones(lua: Lua) -> None:
    held = lua.take()
    assert emit(lua, held, 1, most=2, a=b"1") == "ok"
    assert emit(lua, held, 2, b"x", most=2, a=b"2", b=b"1", c=b"1") == "full"
    assert lua.redis.hgetall(STATE) == {b"a": b"2", b"b": b"1"}
    assert data(read(lua)[1]) == [b"x"]


@pytest.mark.parametrize("limit", [1, 10, 11, 25, 100])
def test_events_are_read_on_from_the_last_one(lua: Lua, limit: int) -> None:
    held = lua.take()
    wanted = [b"%d" % number for number in range(25)]
    lua.commit(held, b"one", effects=output("-1:25", *wanted))
    after, found, flags = "", [], [1, 0, 0]
    while flags[0]:
        flags, events = read(lua, after, limit=limit)
        found += data(events)
        after = events[-1][0].decode() if events else after
    assert found == wanted
    assert flags == [0, 0, 0]
    lua.finish(held)
    assert read(lua, after) == ([0, 1, 0], [])
    assert len(read(lua, size=1)[1]) == 10


def test_what_was_trimmed_is_told_to_those_who_miss_it_and_to_nobody_else(lua: Lua) -> None:
    held = lua.take()
    assert lua.call("read_events", run_id="nobody", after="", limit=1, bytes=1) == ["missing"]
    assert read(lua) == ([0, 0, 0], [])
    lua.commit(held, b"one", effects=output("-1:1", b"first", keep=100))
    first = read(lua)[1][0][0].decode()
    assert read(lua, "0-0")[0] == [0, 0, 0]
    for number in range(400):
        lua.commit(held, effects=output(f"0:{number + 1}", b"%d" % number, keep=100))
    length = lua.redis.xlen(STREAM)
    assert 100 <= length < 400
    flags, events = read(lua, first)
    assert (flags[2], data(events)[-1], len(events)) == (1, b"399", length)
    assert read(lua)[0][2] == 1
    assert read(lua, events[0][0].decode())[0][2] == 0


def test_an_event_from_outside_stands_once_among_those_of_the_run_whatever_it_does(lua: Lua) -> None:
    def note(said: bytes) -> list[Any]:
        reply: list[Any] = lua.twice("note_event", ("audit", said, "", ""), run_id="run-1", keep=10_000)
        return reply

    assert note(b"early") == ["missing"]
    held = lua.take()
    assert emit(lua, held, 1, b"token") == "ok"
    assert note(b"while it runs") == ["ok"]
    assert emit(lua, held, 2, b"another") == "ok"
    assert lua.finish(held) == "ok"
    assert note(b"after its end") == ["ok"]
    flags, events = read(lua)
    assert flags == [0, 1, 0]
    assert data(events) == [b"token", b"while it runs", b"another", b"after its end"]
    assert events[1][1] == [b"k", b"audit", b"d", b"while it runs"]


def test_those_who_listen_are_told(lua: Lua) -> None:
    held = lua.take()
    listener = lua.redis.pubsub()
    listener.ssubscribe(STREAM)
    assert listener.get_sharded_message(timeout=5)["type"] == "ssubscribe"
    lua.commit(held, b"one", effects=output("-1:1", x=b"1"))
    lua.commit(held, b"two", effects=output("0:1", b"a", b"b"))
    emit(lua, held, 1, b"c")
    told = [listener.get_sharded_message(timeout=5) for _ in range(2)]
    assert [message["type"] for message in told] == ["smessage", "smessage"]
    listener.close()


def test_events_and_state_of_the_wrong_type_stop_their_own_run_alone(lua: Lua) -> None:
    held, other = lua.take(), lua.take("run-2")
    lua.redis.set(STREAM, "not ours")
    assert lua.commit(held, b"one", effects=output("-1:1", b"a")) == "broken"
    assert lua.records() == []
    assert lua.commit(other, b"one", effects=output("-1:1", b"a")) == "ok"
    lua.redis.delete(STREAM)
