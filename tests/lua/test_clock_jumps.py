"""The server's clock jumps, in the middle of whatever a run does: it is followed, and no holder is harmed."""

from __future__ import annotations

import pytest

from tests.lua.harness import LEASE_MS, PREFIX, T0, Lua
from tests.lua.test_controls import ORDERS, drive, pause, release

JUMP_MS = 600_000

either_way = pytest.mark.parametrize("jump_ms", [JUMP_MS, -JUMP_MS], ids=["forwards", "backwards"])


@pytest.mark.parametrize("reason", ["timer", "retry"])
def test_a_timer_follows_the_clock_back_and_forth(lua: Lua, reason: str) -> None:
    lua.park(lua.take(), b"asked", due=T0 + 60_000, reason=reason)
    lua.at(T0 - JUMP_MS)
    assert lua.wake() == (0, JUMP_MS + 60_000)
    lua.at(T0 + 59_999)
    assert lua.wake() == (0, 1)
    lua.at(T0 + JUMP_MS)
    assert lua.wake() == (1, -1)
    lua.at(T0)
    assert lua.claim_only("w2").run_id == "run-1", "what was woken stays awake"


def test_a_delayed_start_follows_the_clock_back_and_forth(lua: Lua) -> None:
    lua.create(available="+1000")
    lua.at(T0 - JUMP_MS)
    assert lua.claim() == []
    lua.at(T0 + 999)
    assert lua.claim() == []
    lua.at(T0 + JUMP_MS)
    assert lua.claim_only().run_id == "run-1"


def test_a_deadline_follows_the_clock_back_and_forth(lua: Lua) -> None:
    held = lua.take(deadline="+1000")
    lua.at(T0 - JUMP_MS)
    assert (lua.wake(), lua.commit(held, b"one")) == ((0, JUMP_MS + 1_000), "ok")
    lua.at(T0 + JUMP_MS)
    assert lua.commit(held, b"two") == "ended"
    lua.at(T0)
    assert (lua.status(), lua.commit(held, b"two")) == ("failed", "ended"), "a verdict stands"
    assert lua.wake() == (0, -1)


@either_way
@pytest.mark.parametrize("end", ["finish", "park", "release", "shelve"])
def test_a_holder_goes_on_whatever_the_clock_does_meanwhile(lua: Lua, jump_ms: int, end: str) -> None:
    held = lua.take()
    assert lua.commit(held, b"one") == "ok"
    lua.later(jump_ms)
    assert lua.renew(held) == []
    assert lua.commit(held, b"two", renew="w1") == "ok"
    lua.later(-2 * jump_ms)
    assert lua.renew(held) == []
    assert lua.commit(held, b"three") == "ok"
    ends = {
        "finish": lambda: lua.finish(held, b"four"),
        "park": lambda: lua.park(held, b"four", due=lua.now + 5),
        "release": lambda: lua.release(held),
        "shelve": lambda: lua.shelve(held),
    }
    assert ends[end]() == "ok"
    assert lua.records()[:3] == [b"one", b"two", b"three"]
    if end == "finish":
        assert lua.fields()["t"] == b"%d" % lua.now
    else:
        lua.later(10_000)
        assert lua.claim_only("w2").run_id == "run-1"


def test_a_lease_that_a_jump_ends_too_early_shuts_out_the_holder_and_repeats_nothing_recorded(lua: Lua) -> None:
    lua.renew(presence_ms=LEASE_MS)
    held = lua.take()
    lua.commit(held, b"one")
    lua.note(held)
    lua.later(JUMP_MS)
    lua.expire(held)  # the idle time of its entry is a difference of the same clock
    assert lua.reclaim() == ["end", 1, 0, 0]
    assert set(lua.holder_calls(held).values()) == {"fenced"}
    again = lua.claim_only("w2")
    assert lua.records() == [b"one"]
    assert lua.commit(again, b"two") == "ok"
    # The heartbeats that follow the jump say that w1 is alive; three jumps in a row would be needed to poison a run.
    assert lua.fields()["x"] == b"1"
    assert lua.finish(again) == "ok"


def test_a_jump_back_makes_a_worker_live_on_and_takes_no_run_from_it(lua: Lua) -> None:
    lua.renew(presence_ms=LEASE_MS)
    held = lua.take()
    lua.note(held)
    lua.later(-JUMP_MS)
    assert lua.reclaim() == ["end", 0, 0, 0]
    assert lua.finish(held) == "ok"


@either_way
def test_upkeep_repairs_nothing_that_is_right_whatever_the_clock_says(lua: Lua, jump_ms: int) -> None:
    lua.park(lua.take("sleeps"), due=T0 + 1_000_000)
    held = lua.take("runs")
    lua.create("waits", available="+1000000")
    lua.create("pending")
    lua.later(jump_ms)
    before = lua.dump_without_leases()
    assert lua.reconcile()[1] == 0
    assert lua.reclaim() == ["end", 0, 0, 0]
    assert lua.dump_without_leases() == before
    assert lua.finish(held) == "ok"


def test_a_live_worker_whose_consumer_was_swept_by_a_jump_claims_on(lua: Lua) -> None:
    lua.renew(presence_ms=LEASE_MS)
    lua.finish(lua.take())
    lua.later(JUMP_MS)
    assert lua.call("sweep_workers", queue="default", lane="0")[1] == 1
    assert lua.take("run-2").run_id == "run-2"


# -- ahead for a moment, and set right: what counts by the clock does not stand still until it is there again ---------


def claimed(lua: Lua) -> list[str]:
    lua.wake()
    return [held.run_id for held in lua.claim()]


def test_a_rate_that_was_used_while_the_clock_was_ahead_has_room_a_period_after_it_was_set_right(lua: Lua) -> None:
    rate = {"lk": "aa:3:1000"}
    lua.create("run-0", rate)
    assert claimed(lua) == ["run-0"]
    lua.at(T0 + JUMP_MS)
    for number in range(1, 5):
        lua.create(f"run-{number}", rate)
    assert claimed(lua) == ["run-1", "run-2", "run-3"]
    lua.at(T0 + 2_000)
    for number in range(5, 7):
        lua.create(f"run-{number}", rate)
    assert claimed(lua) == []
    lua.reconcile()  # the timer of the line was set by the clock that was ahead
    assert lua.due("line:aa") == T0 + 3_000
    lua.at(T0 + 2_999)
    assert claimed(lua) == []
    lua.at(T0 + 3_000)
    assert sorted(claimed(lua)) == ["run-4", "run-5", "run-6"]


def test_a_slot_of_a_rate_that_was_only_given_counts_until_it_is_used_whatever_the_clock_does(lua: Lua) -> None:
    rate = {"lk": "aa:1:1000"}
    for number in range(3):
        lua.create(f"run-{number}", rate)
    assert claimed(lua) == ["run-0"]
    lua.at(T0 + JUMP_MS)
    lua.wake()
    assert lua.status("run-1") == "pending"
    lua.at(T0 + 1_000)
    lua.call("repair_line", name="blocked:aa", member="")
    assert lua.redis.zscore(f"{PREFIX}limit:aa", "run-1") == 9e15
    lua.at(T0 + 5_000)
    assert claimed(lua) == ["run-1"]
    lua.at(T0 + 5_999)
    assert claimed(lua) == []
    lua.at(T0 + 6_000)
    assert claimed(lua) == ["run-2"]


def test_a_throttle_that_counted_while_the_clock_was_ahead_has_room_a_window_after_it_was_set_right(lua: Lua) -> None:
    rule = ("throttle", "k", 2, 1_000, "reject")
    lua.at(T0 + JUMP_MS)
    for number in range(2):
        assert lua.start(f"run-{number}", rule)[0] == "created"
    lua.at(T0)
    for at in (0, 500, 999):
        lua.at(T0 + at)
        assert lua.start("run-2", rule) == ["throttled", "run-1", str(T0 + 1_000)]
    lua.at(T0 + 1_000)
    assert [lua.start(f"run-{number}", rule)[0] for number in (2, 3, 4)] == ["created", "created", "throttled"]


def test_a_start_that_was_delayed_by_right_keeps_its_place_when_the_clock_is_set_right(lua: Lua) -> None:
    rule = ("throttle", "k", 1, 1_000, "delay")
    lua.at(T0 + JUMP_MS)
    for number, waits in enumerate(["", T0 + JUMP_MS + 1_000]):
        assert lua.start(f"run-{number}", rule) == ["created", f"run-{number}", str(waits)]
    lua.at(T0)
    for number, at in enumerate([2_000, 3_000, 4_000], 2):
        lua.later(1)
        assert lua.start(f"run-{number}", rule) == ["created", f"run-{number}", str(T0 + at + 1)]


def test_a_release_that_let_go_while_the_clock_was_ahead_goes_on_when_it_was_set_right(lua: Lua) -> None:
    names = [f"run-{number}" for number in range(6)]
    for name in names:
        lua.create(name)
    pause(lua, ORDERS)
    claimed(lua)
    lua.at(T0 + JUMP_MS)
    release(lua, ORDERS)  # 20 runs a second
    lua.later(100)
    assert drive(lua)[0] == 2
    lua.at(T0)
    assert drive(lua)[0] == 0
    lua.later(100)
    assert drive(lua)[0] == 2
    assert claimed(lua) == names[:4]
