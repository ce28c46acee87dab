"""survey_partition: whether anything is going on, and when something will be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.lua.harness import PREFIX, T0

if TYPE_CHECKING:
    from tests.lua.harness import Lua


def seen(lua: Lua) -> tuple[Any, ...]:
    word, now, due, posted, entries, *run_ids = lua.twice("survey_partition", named=2)
    assert (word, now) == ("ok", lua.now)
    return int(due) if due else None, posted, entries, {run_id.decode() for run_id in run_ids}


def test_a_partition_is_at_rest_when_nothing_is_to_be_claimed_held_or_delivered(lua: Lua) -> None:
    assert seen(lua) == (None, 0, 0, set())
    lua.create("pending")
    assert seen(lua) == (None, 0, 1, {"pending"})
    (held,) = lua.claim()
    assert seen(lua) == (None, 0, 1, {"pending"})
    lua.park(held, due=T0 + 50)
    assert seen(lua) == (T0 + 50, 0, 0, set())
    lua.later(50)
    lua.call("wake_runs", limit=10)
    assert seen(lua) == (None, 0, 1, {"pending"}), "a woken run is in another stream"


def test_every_queue_counts_and_some_runs_are_named(lua: Lua) -> None:
    for number in range(5):
        lua.create(f"run-{number}", queue="" if number % 2 else "another")
    due, posted, entries, named = seen(lua)
    assert (due, posted, entries, len(named)) == (None, 0, 5, 4), "two of each stream"


def test_the_next_tick_of_a_schedule_counts_and_that_of_a_paused_one_does_not(lua: Lua) -> None:
    lua.redis.zadd(f"{PREFIX}schedules", {"nightly": T0 + 7, "weekly": T0 + 70})
    assert seen(lua) == (T0 + 7, 0, 0, set())
    lua.redis.delete(f"{PREFIX}schedules")
    lua.redis.zadd(f"{PREFIX}schedules", {"paused": (1 << 53) - 1})
    assert seen(lua) == (None, 0, 0, set())
    lua.redis.delete(f"{PREFIX}schedules")


def test_what_was_posted_counts_until_it_is_cleared(lua: Lua) -> None:
    entry = lua.redis.xadd(f"{PREFIX}outbox", {"do": "cancel", "run": "elsewhere"})
    assert seen(lua) == (None, 1, 0, set())
    lua.call("clear_outbox", [entry])
    assert seen(lua) == (None, 0, 0, set())


def peeked(lua: Lua, limit: int = 10, queue: str = "default") -> list[tuple[str, str]]:
    word, *rows = lua.twice("peek_queue", queue=queue, limit=limit)
    assert word == "ok"
    return [(run_id.decode(), lane.decode()) for run_id, lane, _ in rows]


def test_the_next_runs_of_a_queue_are_those_that_a_claim_would_read_first(lua: Lua) -> None:
    lua.at(T0 + 1)
    lua.park(lua.take("woken"), due=lua.now + 1)
    for name, priority in (("taken", ""), ("plain", ""), ("low", "1"), ("high", "9"), ("later", "")):
        lua.create(name, {"pr": priority} if priority else {})
        if name == "taken":
            lua.claim_only("w1")
    lua.later(2)
    lua.wake()
    expected = [("woken", "w"), ("high", "9"), ("low", "1"), ("plain", "0"), ("later", "0")]
    assert peeked(lua) == expected
    assert peeked(lua, limit=2) == expected[:2]
    assert [held.run_id for held in lua.claim()] == [name for name, _ in expected]
    assert peeked(lua) == []


def test_a_queue_that_nobody_ever_read_is_shown_and_an_entry_that_names_no_pending_run_is_not(lua: Lua) -> None:
    for name in ("a", "b", "c"):
        lua.create(name, queue="slow")
    lua.redis.hset(f"{PREFIX}run:b", "s", "waiting:timer")
    lua.redis.xadd(f"{PREFIX}q:slow:0", {"r": "nobody"})
    assert peeked(lua, queue="slow") == [("a", "0"), ("c", "0")]
    assert peeked(lua, queue="other") == []
    lua.delete("q:slow:0")
    lua.redis.set(f"{PREFIX}q:slow:0", "no stream")
    assert peeked(lua, queue="slow") == []
    lua.delete("q:slow:0", "run:a", "run:b", "run:c", "runs:order")
