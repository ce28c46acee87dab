"""add_minute, sample_queues, read_minutes: counters that are added once, and gone a day later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lua.harness import PREFIX, T0

if TYPE_CHECKING:
    from tests.lua.harness import Lua

MINUTE = T0 // 60_000


def add(lua: Lua, number: int, *counts: object, worker: str = "one", minute: int = MINUTE) -> list[object]:
    return lua.twice("add_minute", counts, minute=minute, worker=worker, number=number, keep_ms=90_000_000)


def read(lua: Lua, *, since_ms: int = 0, at: object = "", limit: int = 30) -> list[object]:
    return lua.call("read_minutes", at=at, since_ms=since_ms, limit=limit)


def test_what_is_sent_again_is_counted_once(lua: Lua) -> None:
    add(lua, 1, "s order", 2)
    add(lua, 2, "s order", 3, "o order", 1)
    add(lua, 1, "s order", 7, worker="two")
    # The first worker's first call arrives once more.
    add(lua, 1, "s order", 2)
    kept = lua.redis.hgetall(f"{PREFIX}minute:{MINUTE}")
    assert kept == {b"s order": b"12", b"o order": b"1", b"w one": b"2", b"w two": b"1"}
    assert 0 < lua.redis.pttl(f"{PREFIX}minute:{MINUTE}") <= 90_000_000


def test_minutes_are_read_in_pieces(lua: Lua) -> None:
    add(lua, 1, "s order", 1, minute=MINUTE - 4)
    add(lua, 2, "s order", 2)
    assert read(lua) == ["ok", MINUTE, 0, [b"w one", b"2", b"s order", b"2"]]
    first = read(lua, since_ms=4 * 60_000, limit=2)
    assert first == ["ok", MINUTE - 4, 1, [b"w one", b"1", b"s order", b"1"], []]
    assert read(lua, since_ms=4 * 60_000, at=MINUTE - 2, limit=3)[1:3] == [MINUTE - 2, 0]


def test_a_sample_replaces_the_one_before(lua: Lua) -> None:
    lua.twice("sample_queues", ["q default", 5, "q mail", 1], keep_ms=90_000_000)
    lua.twice("sample_queues", ["q default", 3], keep_ms=90_000_000)
    assert lua.redis.hgetall(f"{PREFIX}minute:{MINUTE}") == {b"q default": b"3", b"q mail": b"1"}


def test_an_end_from_outside_is_counted_there_and_then(lua: Lua) -> None:
    lua.create("run-1")
    lua.create("run-2")
    assert lua.twice("cancel_run", run_id="run-1") == ["canceled"]
    assert lua.redis.hgetall(f"{PREFIX}minute:{MINUTE}") == {b"c order": b"1"}
    # A chart that cannot be written is no reason to go on.
    lua.redis.delete(f"{PREFIX}minute:{MINUTE}")
    lua.redis.set(f"{PREFIX}minute:{MINUTE}", "x", px=1000)
    assert lua.twice("cancel_run", run_id="run-2") == ["canceled"]
    lua.redis.delete(f"{PREFIX}minute:{MINUTE}")


def test_a_minute_that_is_something_else_hides_no_other(lua: Lua) -> None:
    add(lua, 1, "s order", 1)
    lua.redis.set(f"{PREFIX}minute:{MINUTE - 1}", "x", px=1000)
    assert read(lua, since_ms=60_000) == ["ok", MINUTE - 1, 0, [], [b"w one", b"1", b"s order", b"1"]]
    lua.redis.delete(f"{PREFIX}minute:{MINUTE - 1}")


def test_a_damaged_field_loses_what_is_its_own_and_nothing_else(lua: Lua) -> None:
    add(lua, 1, "s order", 1)
    lua.redis.hset(f"{PREFIX}minute:{MINUTE}", "s order", "x")
    add(lua, 2, "s order", 1, "o order", 1)
    add(lua, 3, "o order", 1)
    assert lua.redis.hget(f"{PREFIX}minute:{MINUTE}", "o order") == b"2"
