"""The scripts of schedules: each tick is fired once, and runs of a schedule overlap as its policy says."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import OutOfMemoryError

from tests.lua.harness import NEVER, PREFIX, T0, Held, Lua, audit, new_run

TICK = 60_000
ALL = ("skip", "queue", "cancel_running")
LIMIT = "aa:1:0"


def put(lua: Lua, *, overlap: str = "skip", data: bytes = b"in", **changes: Any) -> list[Any]:
    wanted = {"schedule": "nightly", "fingerprint": "one", "earlier": "", "next_ms": T0 + TICK, **changes}
    return lua.twice("put_schedule", ("w", "order", "i", data, "ov", overlap), **wanted)


def row(run_id: str) -> list[Any]:
    return [*new_run(run_id).values(), 2, "sc", "nightly"]


def firing(tick: int, /, **changes: Any) -> dict[str, Any]:
    wanted: dict[str, Any] = {"meant": tick, "tick": tick, "next_ms": tick + TICK}
    return {"schedule": "nightly", "revision": 1, **wanted, **changes}


def fire(lua: Lua, run_id: str, tick: int, **changes: Any) -> str:
    word: str = lua.twice("fire_schedule", row(run_id), **firing(tick, **changes))[0]
    return word


def trigger(lua: Lua, run_id: str, revision: int = 1) -> str:
    word: str = lua.call("trigger_schedule", row(run_id), schedule="nightly", revision=revision)[0]
    return word


def schedule(lua: Lua) -> dict[str, bytes]:
    return {name.decode(): value for name, value in lua.redis.hgetall(f"{PREFIX}schedule:nightly").items()}


def score(lua: Lua) -> int | None:
    found = lua.redis.zscore(f"{PREFIX}schedules", "nightly")
    return None if found is None else int(found)


def look(lua: Lua) -> None:
    """What a service does each second, and what then brings runs to their stream."""
    lua.call("due_schedules", limit=10, bytes=1000)
    lua.wake()


def queued(lua: Lua) -> list[bytes]:
    runs: list[bytes] = lua.redis.lrange(f"{PREFIX}queued:nightly", 0, -1)
    return runs


def fire_several(lua: Lua, overlap: str, count: int) -> list[str]:
    """The outcomes of run-1, run-2, ..., each at its tick."""
    put(lua, overlap=overlap)
    outcomes = []
    for number in range(1, count + 1):
        lua.later(TICK)
        outcomes.append(fire(lua, f"run-{number}", T0 + number * TICK))
    return outcomes


def finish(lua: Lua, held: Held) -> str:
    return lua.finish(held, effects=["leave", "nightly"])


def test_a_definition_that_is_new_asks_for_its_first_tick(lua: Lua) -> None:
    assert put(lua, next_ms="") == ["tell", T0]
    assert schedule(lua) == {}
    fields = ("w", "order")
    wanted = {"schedule": "nightly", "fingerprint": "one", "earlier": "", "next_ms": T0 + 1}
    assert lua.twice("put_schedule", fields, **wanted) == ["ok"]
    assert (schedule(lua)["rv"], schedule(lua)["c"], score(lua)) == (b"1", b"%d" % T0, T0 + 1)


def test_the_same_definition_changes_nothing_and_another_has_its_own_next_tick(lua: Lua) -> None:
    put(lua)
    before = schedule(lua)
    lua.later(5)
    assert put(lua, next_ms=T0 + 99) == ["ok"]
    assert schedule(lua) == before
    assert put(lua, fingerprint="two", next_ms=T0 + 99) == ["ok"]
    assert (schedule(lua)["rv"], score(lua), schedule(lua)["c"]) == (b"2", T0 + 99, before["c"])


def test_the_same_definition_under_another_key_is_stored_anew_and_keeps_its_tick(lua: Lua) -> None:
    put(lua)
    before = schedule(lua)
    lua.later(2 * TICK)
    assert put(lua, fingerprint="two", earlier="three one", next_ms="", data=b"sealed anew") == ["ok"]
    assert schedule(lua) == {**before, "fp": b"two", "i": b"sealed anew"}
    assert score(lua) == T0 + TICK, "a tick that nobody has fired yet is not lost"
    assert put(lua, fingerprint="five", earlier="four on", next_ms="") == ["tell", lua.now]


def test_a_new_definition_does_not_bring_a_tick_again(lua: Lua) -> None:
    put(lua)
    lua.later(TICK)
    fire(lua, "run-1", T0 + TICK)
    lua.at(T0)  # a clock that was set back
    assert put(lua, fingerprint="two", next_ms=T0 + TICK) == ["tell", T0 + TICK]


def test_a_tick_is_fired_once_and_not_before_its_time(lua: Lua) -> None:
    put(lua)
    lua.later(TICK - 1)
    assert lua.twice("fire_schedule", row("run-1"), **firing(T0 + TICK)) == ["early", 1]
    lua.later(1)
    assert fire(lua, "run-1", T0 + TICK) == "created"
    assert fire(lua, "run-other", T0 + TICK) == "created", "what the first call recorded"
    assert (lua.entries(), lua.listed("runs:order"), score(lua)) == (["run-1"], ["run-1"], T0 + 2 * TICK)
    assert schedule(lua)["lr"] == b"run-1"


@pytest.mark.parametrize(
    "changes", [{"revision": 2}, {"meant": T0 + TICK - 1, "tick": T0 + TICK - 1}, {"meant": 1, "tick": T0}]
)
def test_what_was_read_before_a_change_fires_nothing(lua: Lua, changes: dict[str, int]) -> None:
    put(lua)
    lua.later(TICK)
    assert lua.twice("fire_schedule", row("run-1"), **firing(T0 + TICK, **changes)) == ["stale"]
    assert lua.entries() == []


def test_a_missed_tick_moves_the_schedule_on_without_a_run(lua: Lua) -> None:
    put(lua)
    lua.later(10 * TICK)
    missed = firing(T0 + TICK, tick=T0 + 9 * TICK, next_ms=T0 + 10 * TICK)
    assert lua.twice("fire_schedule", [], **missed) == ["missed"]
    assert (score(lua), lua.entries()) == (T0 + 10 * TICK, [])


def test_a_schedule_without_another_tick_stays_listed(lua: Lua) -> None:
    put(lua)
    lua.later(TICK)
    assert fire(lua, "run-1", T0 + TICK, next_ms="") == "created"
    assert score(lua) == NEVER
    assert lua.call("due_schedules", limit=10, bytes=1000) == ["ok", T0 + TICK, -1]


def test_due_schedules_come_with_what_is_needed_and_no_broken_one_stops_them(lua: Lua) -> None:
    put(lua)
    assert lua.call("due_schedules", limit=10, bytes=1000) == ["ok", T0, TICK]
    lua.redis.zadd(f"{PREFIX}schedules", {"gone": T0, "broken": T0})
    lua.redis.set(f"{PREFIX}schedule:broken", "no hash")
    lua.later(TICK)
    _, now, next_in, *rows = lua.call("due_schedules", limit=10, bytes=1000)
    assert (now, next_in, [name for name, _ in rows]) == (T0 + TICK, 0, [b"nightly"])
    assert lua.listed("schedules") == ["nightly", "broken"]
    lua.delete("schedule:broken")
    lua.redis.zrem(f"{PREFIX}schedules", "broken")


@pytest.mark.parametrize("overlap", ALL)
def test_a_run_starts_at_once_where_the_one_before_has_ended(lua: Lua, overlap: str) -> None:
    assert fire_several(lua, overlap, 1) == ["created"]
    finish(lua, lua.claim_only())
    lua.later(TICK)
    assert fire(lua, "run-2", T0 + 2 * TICK) == "created"
    assert (lua.status("run-1"), lua.status("run-2")) == ("succeeded", "pending")


def test_skip_creates_no_run_while_one_goes_on(lua: Lua) -> None:
    assert fire_several(lua, "skip", 2) == ["created", "skipped"]
    assert (lua.entries(), schedule(lua)["lw"], schedule(lua)["lr"]) == (["run-1"], b"skipped", b"run-1")


def test_cancel_running_ends_the_older_in_the_same_step(lua: Lua) -> None:
    put(lua, overlap="cancel_running")
    lua.later(TICK)
    fire(lua, "run-1", T0 + TICK)
    held = lua.claim_only()
    lua.later(TICK)
    assert fire(lua, "run-2", T0 + 2 * TICK) == "created"
    assert (lua.status("run-1"), lua.status("run-2")) == ("canceled", "pending")
    assert finish(lua, held) == "ended"


def test_queued_runs_start_in_their_order_each_by_the_end_of_the_one_before(lua: Lua) -> None:
    assert fire_several(lua, "queue", 3) == ["created"] * 3
    assert [lua.status(f"run-{number}") for number in (1, 2, 3)] == ["pending", "waiting:overlap", "waiting:overlap"]
    held = lua.claim_only()
    assert finish(lua, held) == "ok"
    assert (lua.status("run-2"), lua.due("run-2"), queued(lua)) == ("waiting:start", lua.now, [b"run-3"])
    assert lua.length("alarm") == 1, "whoever wakes what is due is told"
    assert finish(lua, held) == "ok", "sent again, it starts nothing more"
    lua.wake()
    assert (lua.status("run-2"), lua.status("run-3")) == ("pending", "waiting:overlap")
    lua.cancel("run-2")
    assert score(lua) == 0, "the schedule is looked at now"
    look(lua)
    assert (lua.status("run-3"), score(lua)) == ("pending", T0 + 4 * TICK)
    finish(lua, lua.claim_only())
    assert (queued(lua), "on" in schedule(lua)) == ([], False)


def test_a_queued_run_that_is_canceled_is_passed_over(lua: Lua) -> None:
    fire_several(lua, "queue", 3)
    assert lua.cancel("run-2") == ["canceled"]
    look(lua)
    assert lua.status("run-3") == "waiting:overlap"
    finish(lua, lua.claim_only())
    lua.wake()
    assert lua.status("run-3") == "pending"


def test_a_deadline_that_passes_lets_the_next_start(lua: Lua) -> None:
    put(lua, overlap="queue")
    lua.later(TICK)
    late = [*new_run("run-1", deadline="+100").values(), 2, "sc", "nightly"]
    lua.call("fire_schedule", late, **firing(T0 + TICK))
    lua.later(TICK)
    with_deadline = [*new_run("run-2", deadline=f"+{TICK}").values(), 2, "sc", "nightly"]
    lua.delete("delayed")  # nobody looks yet
    lua.call("fire_schedule", with_deadline, **firing(T0 + 2 * TICK))
    lua.redis.zadd(f"{PREFIX}delayed", {"run-1": T0 + TICK + 100})
    lua.wake()
    look(lua)
    assert (lua.status("run-1"), lua.status("run-2"), lua.due("run-2")) == ("failed", "pending", T0 + 3 * TICK)


def test_a_stale_timer_does_not_start_a_queued_run(lua: Lua) -> None:
    fire_several(lua, "queue", 2)
    lua.redis.zadd(f"{PREFIX}delayed", {"run-2": T0})
    lua.wake()
    assert lua.status("run-2") == "waiting:overlap"


def test_where_the_run_before_is_gone_the_next_tick_finds_out(lua: Lua) -> None:
    fire_several(lua, "queue", 3)
    held = lua.claim_only()
    lua.finish(held)  # by something that does not know of schedules
    lua.later(TICK)
    assert fire(lua, "run-4", T0 + 4 * TICK) == "created"
    assert (lua.status("run-2"), queued(lua)) == ("waiting:start", [b"run-3", b"run-4"])


def test_what_is_told_of_an_end_is_not_lost_by_a_pause(lua: Lua) -> None:
    fire_several(lua, "queue", 2)
    lua.cancel("run-1")
    assert lua.call("pause_schedule", schedule="nightly") == ["ok"]
    look(lua)
    assert (lua.status("run-2"), score(lua)) == ("pending", NEVER)


def test_no_more_than_a_hundred_runs_are_queued(lua: Lua) -> None:
    assert fire_several(lua, "queue", 103) == ["created"] * 101 + ["skipped"] * 2
    assert len(queued(lua)) == 100
    put(lua, fingerprint="two", overlap="cancel_running", next_ms=T0 + 104 * TICK)
    lua.later(TICK)
    assert fire(lua, "run-new", T0 + 104 * TICK, revision=2) == "created"
    assert (queued(lua), lua.entries(), len(lua.listed("done:order:canceled"))) == ([], ["run-new"], 101)


@pytest.mark.parametrize(("overlap", "word"), [*zip(ALL, ("skipped", "created", "created"), strict=True)])
def test_a_trigger_starts_a_run_beside_the_ticks_and_its_policy_holds(lua: Lua, overlap: str, word: str) -> None:
    put(lua, overlap=overlap)
    assert trigger(lua, "run-1") == "created"
    assert trigger(lua, "run-1") == "created"
    assert lua.entries() == ["run-1"]
    assert trigger(lua, "run-2") == word
    assert trigger(lua, "run-3", revision=7) == "stale"
    look(lua)
    assert score(lua) == T0 + TICK


def test_a_trigger_that_comes_again_late_starts_nothing_though_its_run_was_deleted(lua: Lua) -> None:
    put(lua)
    assert trigger(lua, "run-1") == "created"
    finish(lua, lua.claim_only())
    lua.call("delete_run", run_id="run-1")
    assert trigger(lua, "run-1") == "created"
    assert (lua.entries(), lua.redis.exists(f"{PREFIX}run:run-1")) == ([], 0)


def test_a_paused_schedule_fires_nothing_until_it_is_resumed(lua: Lua) -> None:
    put(lua)
    assert lua.twice("pause_schedule", schedule="nightly") == ["ok"]
    assert score(lua) == NEVER
    lua.later(TICK)
    assert fire(lua, "run-1", T0 + TICK) == "stale"
    assert put(lua, fingerprint="two", next_ms=T0 + 3 * TICK) == ["ok"]
    assert score(lua) == NEVER, "a new definition does not resume it"
    resumed = {"schedule": "nightly", "next_ms": T0 + 2 * TICK}
    assert lua.call("resume_schedule", revision=1, **resumed) == ["stale"]
    assert lua.twice("resume_schedule", revision=2, **resumed) == ["ok"]
    assert score(lua) == T0 + 2 * TICK


def test_deleting_cancels_what_is_queued_and_leaves_what_goes_on(lua: Lua) -> None:
    fire_several(lua, "queue", 3)
    assert lua.twice("delete_schedule", schedule="nightly") == ["ok"]
    assert [lua.status(f"run-{number}") for number in (1, 2, 3)] == ["pending", "canceled", "canceled"]
    assert (schedule(lua), score(lua), queued(lua)) == ({}, None, [])
    assert finish(lua, lua.claim_only()) == "ok"
    assert schedule(lua) == {}


def test_a_schedule_that_is_not_stored_is_missing(lua: Lua) -> None:
    assert lua.call("read_schedule", schedule="nightly") == ["missing"]
    assert lua.call("pause_schedule", schedule="nightly") == ["missing"]
    assert lua.call("resume_schedule", schedule="nightly", revision=1, next_ms=T0) == ["missing"]
    assert fire(lua, "run-1", T0) == "missing"
    assert trigger(lua, "run-1") == "missing"


def test_a_run_ends_even_where_its_schedule_is_no_schedule_any_more(lua: Lua) -> None:
    fire_several(lua, "skip", 1)
    held = lua.claim_only()
    lua.delete("schedule:nightly")
    lua.redis.set(f"{PREFIX}schedule:nightly", "no hash")
    assert finish(lua, held) == "ok"
    lua.delete("schedule:nightly", "schedules")


def test_without_memory_no_tick_is_fired_and_what_goes_on_ends(lua: Lua) -> None:
    fire_several(lua, "queue", 2)
    held = lua.claim_only()
    lua.later(TICK)
    before = lua.dump()
    lua.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(OutOfMemoryError):
            fire(lua, "run-3", T0 + 3 * TICK)
        with pytest.raises(OutOfMemoryError):
            trigger(lua, "run-3")
        assert lua.dump() == before
        assert lua.call("due_schedules", limit=10, bytes=1000)[2] == 0
        assert finish(lua, held) == "ok"
        lua.wake()
        assert lua.status("run-2") == "pending"
        assert lua.call("pause_schedule", schedule="nightly") == ["ok"]
        assert lua.call("delete_schedule", schedule="nightly") == ["ok"]
    finally:
        lua.redis.config_set("maxmemory", 0)


def test_the_scripts_of_schedules_stay_in_one_slot(cluster_lua: Lua) -> None:
    cluster_lua.redis.flushall()
    cluster_lua.at(T0)
    assert fire_several(cluster_lua, "queue", 2) == ["created"] * 2
    finish(cluster_lua, cluster_lua.claim_only())
    look(cluster_lua)
    assert cluster_lua.status("run-2") == "pending"
    assert trigger(cluster_lua, "run-3") == "created"
    put(cluster_lua, fingerprint="two", overlap="cancel_running", next_ms=T0 + 9 * TICK)
    assert trigger(cluster_lua, "run-4", revision=2) == "created"
    assert cluster_lua.status("run-3") == "canceled"
    assert cluster_lua.call("read_schedule", schedule="nightly")[0] == "ok"
    assert cluster_lua.call("due_schedules", limit=10, bytes=1000) == ["ok", T0 + 2 * TICK, 7 * TICK]
    assert cluster_lua.call("pause_schedule", schedule="nightly") == ["ok"]
    assert cluster_lua.call("resume_schedule", schedule="nightly", revision=2, next_ms=T0 + 9 * TICK) == ["ok"]
    assert cluster_lua.call("delete_schedule", schedule="nightly") == ["ok"]


# -- where people step in -------------------------------------------------------------------------------------------


def test_a_queued_run_that_was_paused_and_resumed_waits_for_its_turn_again(lua: Lua) -> None:
    fire_several(lua, "queue", 3)
    lua.pause("run-2")
    assert lua.resume("run-2") == ["resumed", "waiting:overlap"]
    assert (lua.status("run-2"), lua.entries()) == ("waiting:overlap", ["run-1"])
    finish(lua, lua.claim_only())
    lua.wake()
    assert [lua.status(f"run-{number}") for number in (2, 3)] == ["pending", "waiting:overlap"]


def test_one_whose_turn_came_while_it_was_paused_stands_last_in_the_queue(lua: Lua) -> None:
    fire_several(lua, "queue", 3)
    lua.pause("run-2")
    finish(lua, lua.claim_only())
    lua.wake()
    assert (lua.status("run-3"), queued(lua)) == ("pending", [])
    lua.resume("run-2")
    assert (lua.status("run-2"), queued(lua)) == ("waiting:overlap", [b"run-2"])
    finish(lua, lua.claim_only())
    lua.wake()
    assert lua.claim_only().run_id == "run-2"


def test_one_that_is_resumed_when_no_other_goes_on_has_the_turn(lua: Lua) -> None:
    fire_several(lua, "queue", 2)
    lua.pause("run-2")
    finish(lua, lua.claim_only())
    assert lua.resume("run-2") == ["resumed", "pending"]
    lua.later(TICK)
    assert (fire(lua, "run-3", T0 + 3 * TICK), lua.status("run-3")) == ("created", "waiting:overlap")


def test_one_whose_schedule_was_deleted_goes_on_at_once(lua: Lua) -> None:
    fire_several(lua, "queue", 2)
    lua.pause("run-2")
    lua.redis.delete(f"{PREFIX}queued:nightly")
    lua.call("delete_schedule", schedule="nightly")
    assert lua.resume("run-2") == ["resumed", "pending"]
    assert schedule(lua) == {}


def test_runs_whose_queue_was_lost_are_queued_again_in_their_order(lua: Lua) -> None:
    fire_several(lua, "queue", 3)
    lua.delete("queued:nightly")
    assert lua.reconcile() == (3, 2)
    assert queued(lua) == [b"run-2", b"run-3"]
    assert lua.reconcile() == (3, 0)


@pytest.mark.parametrize("by", ["upkeep", "audit"])
def test_a_queue_that_was_lost_while_the_last_run_ended_has_its_turn_though_nobody_goes_on(lua: Lua, by: str) -> None:
    fire_several(lua, "queue", 3)
    lua.call("pause_schedule", schedule="nightly")
    waiting = lua.redis.dump(f"{PREFIX}queued:nightly")
    lua.delete("queued:nightly")
    finish(lua, lua.claim_only())
    assert "on" not in schedule(lua)
    if by == "upkeep":
        assert lua.reconcile() == (2, 2)
    else:
        lua.redis.restore(f"{PREFIX}queued:nightly", 0, waiting)
        assert lua.call("repair_key", verb="schedule", name="schedule:nightly", member="turn") == ["ok", 1]
    look(lua)
    assert finish(lua, lua.claim_only("w2")) == "ok"
    lua.wake()
    assert (lua.claim_only().run_id, queued(lua), score(lua)) == ("run-3", [], NEVER)


def test_runs_whose_schedule_was_lost_start(lua: Lua) -> None:
    fire_several(lua, "queue", 2)
    lua.delete("queued:nightly", "schedule:nightly", "schedules")
    assert lua.reconcile() == (2, 1)
    lua.wake()
    assert lua.status("run-2") == "pending"
    assert schedule(lua) == {}


def test_a_failed_run_that_is_retried_in_place_has_the_turn_if_nobody_else_has(lua: Lua) -> None:
    fire_several(lua, "skip", 1)
    held = lua.claim_only()
    lua.finish(held, status="failed", payload=b"why", effects=["leave", "nightly"])
    mark = lua.fields()["h"].decode()
    lua.call("retry_run", [], run_id="run-1", retry=1, before=mark, after=mark, deadline="")
    lua.later(TICK)
    assert fire(lua, "run-2", T0 + 2 * TICK) == "skipped"


@pytest.mark.parametrize("overlap", ALL)
def test_runs_of_a_schedule_stand_in_the_lines_of_their_limits(lua: Lua, overlap: str) -> None:
    lua.create("before", {"lk": LIMIT})
    (before,) = lua.claim()
    put(lua, overlap=overlap)
    lua.later(TICK)
    limited = [*new_run("run-1").values(), 8, "sc", "nightly", "lk", LIMIT, "pr", "3", "fp", "ff"]
    assert lua.twice("fire_schedule", limited, **firing(T0 + TICK)) == ["created"]
    assert (lua.listed("fair:ff"), lua.entries(lane="3")) == (["run-1"], ["run-1"])
    assert lua.claim() == []
    assert lua.status("run-1") == "waiting:limited"
    audit(lua)
    lua.later(TICK)
    second = [*new_run("run-2").values(), 8, "sc", "nightly", "lk", LIMIT, "pr", "3", "fp", "ff"]
    outcome = lua.twice("fire_schedule", second, **firing(T0 + 2 * TICK))
    assert outcome == ["skipped" if overlap == "skip" else "created"]
    audit(lua)
    lua.finish(before, effects=["free"])
    audit(lua)
    began = lua.claim_only()
    assert began.run_id == ("run-2" if overlap == "cancel_running" else "run-1")
    audit(lua)
    if overlap == "queue":
        lua.finish(began, effects=["leave", "nightly", "free"])
        look(lua)
        assert lua.entries(lane="3") == ["run-2"]
        assert lua.claim_only().run_id == "run-2"
    audit(lua)
