"""Priorities have lanes of their own, and the runs of a fair key enter them a few at a time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lua.harness import PREFIX, T0, Held, Lua, new_run

FAIR = {"fp": "ab"}


def claimed(lua: Lua, **changes: Any) -> list[str]:
    return [held.run_id for held in lua.claim(**changes)]


def test_the_more_urgent_run_is_claimed_first_and_a_woken_one_before_all(lua: Lua) -> None:
    lua.at(T0 + 1)
    woken = lua.take("woken")
    lua.park(woken, due=lua.now + 1)
    for name, priority in (("plain", ""), ("low", "1"), ("high", "9"), ("middle", "5")):
        lua.create(name, {"pr": priority} if priority else {})
    lua.later(2)
    assert claimed(lua) == ["woken", "high", "middle", "low", "plain"]


def test_only_lanes_that_were_used_are_read(lua: Lua) -> None:
    lua.create("a")
    lua.claim()
    assert sorted(lua.redis.keys(f"{PREFIX}q:*")) == [f"{PREFIX}q:default:0".encode(), f"{PREFIX}q:default:w".encode()]
    lua.create("b", {"pr": "3"}, queue="mail")
    lua.claim(queues=("default", "mail"))
    assert f"{PREFIX}q:default:3".encode() not in lua.redis.keys(f"{PREFIX}q:*")


def test_every_lane_comes_first_now_and_then(lua: Lua) -> None:
    """With one place at a time and more urgent work all the time, the others still get their turns."""
    for number in range(100):
        lua.create(f"urgent{number:02}", {"pr": "9"})
    lua.create("plain")
    lua.create("middle", {"pr": "4"})
    began: list[str] = []
    for _ in range(90):
        lua.later(37)
        began += claimed(lua, limit=1)
    assert {"plain", "middle"} <= set(began)
    assert len([name for name in began if name.startswith("urgent")]) == 88


def test_upkeep_knows_the_lanes(lua: Lua) -> None:
    held = lua.take("run-1", fields={"pr": "7"})
    assert held.entry.startswith("7:")
    lua.expire(held)
    assert lua.reclaim("7") == ["end", 1, 0, 0]
    assert lua.claim_only("w2").run_id == "run-1"
    lua.call("leave_worker", ["default"], worker="w1")
    assert b"w1" not in [item["name"] for item in lua.redis.xinfo_consumers(f"{PREFIX}q:default:7", "workers")]


def test_a_delayed_run_enters_the_lane_of_its_priority(lua: Lua) -> None:
    lua.create("late", {"pr": "2"}, available="+10")
    lua.later(10)
    assert lua.claim_only().entry.startswith("2:")


def test_two_keys_take_turns_though_one_has_a_hundred_times_more_runs(lua: Lua) -> None:
    for number in range(200):
        lua.create(f"many{number:03}", {"fp": "aa"})
    for number in range(2):
        lua.create(f"few{number}", {"fp": "bb"})
    assert lua.entries() == ["many000", "many001", "many002", "many003", "few0", "few1"]
    assert claimed(lua, limit=1) == ["many000"]
    assert lua.entries()[-1] == "many004"
    lua.create("few2", {"fp": "bb"})
    order = claimed(lua, limit=20)
    assert order.index("few2") == 6
    assert order[7:] == [f"many{number:03}" for number in range(5, 18)]


def test_one_claim_takes_more_of_a_key_than_its_window_where_nobody_else_wants_to(lua: Lua) -> None:
    for number in range(30):
        lua.create(f"r{number:02}", FAIR)
    lua.twice("claim_runs", ["default"], **lua.claim_arguments(limit=25))
    assert lua.status("r24") == "running"
    assert (lua.status("r25"), lua.status("r29")) == ("pending", "waiting:limited")


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_a_run_that_ends_before_it_began_makes_room_for_the_next_of_its_key(lua: Lua, how: str) -> None:
    for number in range(6):
        lua.create(f"r{number}", FAIR, deadline="+100" if number in (0, 5) and how == "deadline" else "")
    if how == "cancel":
        lua.cancel("r0")
        lua.cancel("r5")
    else:
        lua.later(100)
        lua.wake()
    assert lua.entries() == ["r1", "r2", "r3", "r4"]
    assert lua.listed("blocked:ab") == []


def test_fair_runs_that_wait_are_those_of_less_urgency(lua: Lua) -> None:
    lua.at(T0 + 1)
    for number in range(5):
        lua.create(f"r{number}", FAIR)
    lua.create("urgent", {**FAIR, "pr": "9"})
    assert claimed(lua, limit=1) == ["r0"]
    assert lua.entries("9") == ["urgent"]


def test_a_fair_run_that_becomes_available_lines_up(lua: Lua) -> None:
    for number in range(4):
        lua.create(f"r{number}", FAIR)
    lua.create("late", FAIR, available="+10")
    lua.later(10)
    lua.wake()
    assert lua.status("late") == "waiting:limited"
    assert claimed(lua) == ["r0", "r1", "r2", "r3", "late"]


def test_a_fair_run_with_a_limit_frees_its_window_when_it_waits_for_the_limit(lua: Lua) -> None:
    fields = {**FAIR, "lk": "cc:1:0"}
    for number in range(8):
        lua.create(f"r{number}", fields)
    held: Held = lua.claim_only()
    assert lua.listed("blocked:cc") == [f"r{number}" for number in range(1, 8)]
    lua.finish(held, effects=["free"])
    assert claimed(lua) == ["r1"]


def test_a_lost_window_is_rebuilt(lua: Lua) -> None:
    for number in range(6):
        lua.create(f"r{number}", FAIR)
    lua.redis.zadd(f"{PREFIX}fair:ab", {"gone": T0})
    lua.redis.zrem(f"{PREFIX}fair:ab", "r0")
    lua.redis.delete(f"{PREFIX}run:r0")
    assert lua.reconcile() == (6, 2)
    assert claimed(lua) == ["r1", "r2", "r3", "r4", "r5"]


def test_a_large_fair_run_is_marked_when_it_enters(lua: Lua) -> None:
    for number in range(5):
        lua.create(f"r{number}", FAIR, input=b"x" * 20_000)
    lua.claim(limit=1)
    assert lua.redis.xrevrange(f"{PREFIX}q:default:0", count=1)[0][1] == {b"r": b"r4", b"b": b"1"}


def test_creating_a_fair_run_again_changes_nothing(lua: Lua) -> None:
    for number in range(4):
        lua.create(f"r{number}", FAIR)
    assert lua.twice("create_run", ["fp", "ab"], **new_run("again")) == ["created"]


def test_a_fork_of_a_fair_run_keeps_no_place_from_others_once_it_is_claimed(lua: Lua) -> None:
    lua.call("stage_fork", ["0", b"one"], run_id="fork", keep_ms=60_000)
    begun = ["a", 5, "f", "0:-", "h", "1:3", "fp", "ab"]
    assert lua.call("create_run", begun, **new_run("fork", input=b"")) == ["created"]
    assert lua.claim_only().run_id == "fork"
    assert lua.listed("fair:ab") == []


def test_runs_in_a_lane_are_claimed_after_it_was_forgotten_which_lanes_there_are(lua: Lua) -> None:
    lua.create("run-1", {"pr": "7"})
    lua.delete("lanes")
    assert claimed(lua) == []
    assert lua.reconcile() == (1, 1)
    assert claimed(lua) == ["run-1"]
    assert lua.reconcile() == (1, 0)
