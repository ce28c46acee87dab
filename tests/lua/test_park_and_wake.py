"""park_run and wake_runs: nobody holds a run that waits, and it comes back at its time, not before."""

from __future__ import annotations

import pytest

from tests.lua.harness import PREFIX, T0, Lua


def test_a_parked_run_is_held_by_nobody_and_looked_at_when_it_is_due(lua: Lua) -> None:
    held = lua.take()
    lua.note(held)
    assert lua.park(held, b"asked", due=T0 + 5_000, reason="timer") == "ok"
    assert lua.status() == "waiting:timer"
    assert (lua.due(), lua.fields()["d"]) == (T0 + 5_000, b"%d" % (T0 + 5_000))
    assert (lua.entries(), lua.records()) == ([], [b"asked"])
    assert lua.pending(held) is None


@pytest.mark.parametrize("records", [(), (b"one",)])
def test_parking_twice_parks_once(lua: Lua, records: tuple[bytes, ...]) -> None:
    held = lua.take()
    assert lua.twice("park_run", records, **held.shown(*records), reason="retry", due=T0 + 9, seen="", wants="") == [
        "ok"
    ]


def test_parking_again_after_the_run_was_woken_leaves_it_awake(lua: Lua) -> None:
    held = lua.take()
    again = {**held.shown(b"one"), "reason": "timer", "due": T0 + 9, "seen": "", "wants": ""}
    lua.park(held, b"one", due=T0 + 9)
    lua.later(9)
    lua.wake()
    assert lua.twice("park_run", [b"one"], **again) == ["ok"]
    assert lua.status() == "pending"
    lua.claim_only("w2")
    assert lua.twice("park_run", [b"one"], **again) == ["fenced"]


def test_a_run_is_woken_at_its_time_and_not_a_millisecond_before(lua: Lua) -> None:
    lua.park(lua.take(), due=T0 + 5_000)
    assert lua.wake() == (0, 5_000)
    lua.later(4_999)
    assert lua.wake() == (0, 1)
    assert lua.status() == "waiting:timer"
    lua.later(1)
    assert lua.wake() == (1, -1)
    assert (lua.status(), lua.entries("w")) == ("pending", ["run-1"])
    assert lua.twice("wake_runs", limit=100) == ["ok", 0, -1]


def test_a_run_that_waited_for_its_start_joins_the_new_ones(lua: Lua) -> None:
    lua.create("run-1", available="+5")
    lua.later(5)
    lua.wake()
    assert (lua.entries("0"), lua.entries("w")) == (["run-1"], [])


def test_a_run_that_is_due_already_comes_back_at_once(lua: Lua) -> None:
    lua.park(lua.take(), due=T0 - 1)
    assert lua.length("alarm") == 1
    assert lua.wake() == (1, -1)


def test_due_runs_are_woken_in_their_order_a_bounded_number_at_a_time(lua: Lua) -> None:
    for number in (3, 1, 2):
        lua.create(f"run-{number}", available=f"+{number}")
    lua.later(10)
    assert lua.wake(limit=2) == (2, 0)
    assert lua.wake(limit=2) == (1, -1)
    assert lua.entries() == ["run-1", "run-2", "run-3"]


def test_waking_tells_the_idle_workers_of_the_queue(lua: Lua) -> None:
    lua.park(lua.take("run-1", queue="default"), due=T0 + 1)
    lua.delete("bell:default")
    lua.later(1)
    lua.wake()
    assert lua.length("bell:default") == 1


def test_parking_tells_the_watcher_only_of_an_earlier_first_time(lua: Lua) -> None:
    for number in range(3):
        lua.create(f"run-{number}")
    claims = lua.claim()
    rings = []
    for held, due in zip(claims, (5_000, 6_000, 4_000), strict=True):
        lua.delete("alarm")
        lua.park(held, due=T0 + due)
        rings.append(lua.length("alarm"))
    assert rings == [1, 0, 1]


def test_parking_ends_a_row_of_crashes(lua: Lua) -> None:
    lua.expire(lua.take())
    lua.reclaim()
    held = lua.claim_only()
    lua.park(held, due=T0 + 1)
    assert "x" not in lua.fields()


def test_a_member_without_a_run_is_dropped(lua: Lua) -> None:
    lua.redis.zadd(f"{PREFIX}delayed", {"nobody": T0})
    assert lua.wake() == (1, -1)
    assert lua.listed("delayed") == []


@pytest.mark.parametrize("status", ["pending", "running", "succeeded"])
def test_a_stale_member_does_not_move_a_run_that_waits_for_nothing(lua: Lua, status: str) -> None:
    lua.create()
    if status != "pending":
        held = lua.claim_only()
        if status == "succeeded":
            lua.finish(held)
    before = lua.fields()
    lua.redis.zadd(f"{PREFIX}delayed", {"run-1": T0})
    lua.wake()
    assert (lua.fields(), lua.listed("delayed")) == (before, [])


def test_a_stale_member_does_not_end_a_finished_run_by_its_deadline(lua: Lua) -> None:
    lua.finish(lua.take("run-1", deadline="+1000"))
    lua.redis.zadd(f"{PREFIX}delayed", {"run-1": T0 + 1_000})
    lua.later(2_000)
    before = lua.fields()
    lua.wake()
    assert lua.status() == "succeeded"
    assert lua.fields() == before


def test_a_stale_member_does_not_wake_a_run_before_its_time(lua: Lua) -> None:
    lua.park(lua.take(), due=T0 + 5_000)
    lua.redis.zadd(f"{PREFIX}delayed", {"run-1": T0})
    lua.wake()
    assert (lua.status(), lua.due()) == ("waiting:timer", T0 + 5_000)


def test_a_stale_member_does_not_wake_a_suspended_run(lua: Lua) -> None:
    lua.shelve(lua.take(), "suspended")
    lua.redis.zadd(f"{PREFIX}delayed", {"run-1": T0})
    lua.wake()
    assert (lua.status(), lua.due()) == ("waiting:suspended", T0 + 1_000)


def test_a_stale_member_does_not_lose_the_deadline_of_a_running_run(lua: Lua) -> None:
    lua.take("run-1", deadline="+5000")
    lua.redis.zadd(f"{PREFIX}delayed", {"run-1": T0})
    lua.wake()
    assert (lua.status(), lua.due()) == ("running", T0 + 5_000)


def test_a_broken_run_stops_no_other_and_is_looked_at_again_in_a_minute(lua: Lua) -> None:
    for number in range(3):
        lua.create(f"run-{number}", available=f"+{number + 1}")
    key = f"{PREFIX}run:run-0"
    kept = lua.redis.dump(key)
    lua.redis.set(key, "not a hash")
    lua.later(3)
    assert lua.wake() == (3, 60_000)
    assert lua.entries() == ["run-1", "run-2"]
    lua.redis.restore(key, 0, kept, replace=True)
    lua.later(60_000)
    assert lua.wake() == (1, -1)
    assert lua.status("run-0") == "pending"
