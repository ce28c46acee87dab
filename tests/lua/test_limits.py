"""Limits of concurrency and rates: decided in the claim, freed by whoever frees, never exceeded (S18)."""

from __future__ import annotations

import pytest

from tests.lua.harness import T0, Held, Lua, audit, new_run

ONE, TWO = {"lk": "aa:1:0"}, {"lk": "aa:2:0"}
PER_SECOND = {"lk": "bb:2:1000"}


def start(lua: Lua, count: int, fields: dict[str, str], first: int = 1, **changes: object) -> list[str]:
    """Runs r1, r2, ... each created a ms after the one before."""
    names = [f"r{number}" for number in range(first, first + count)]
    for name in names:
        lua.later(1)
        lua.create(name, fields, **changes)
    return names


def claimed(lua: Lua, worker: str = "w1", **changes: object) -> list[str]:
    return [held.run_id for held in lua.claim(worker, **changes)]


def statuses(lua: Lua, names: list[str]) -> list[str]:
    return [lua.status(name) for name in names]


def end(lua: Lua, held: Held) -> str:
    return lua.finish(held, effects=["free"])


def test_no_more_runs_than_the_limit_are_claimed_and_the_rest_wait_in_order(lua: Lua) -> None:
    start(lua, 5, TWO)
    assert claimed(lua) == ["r1", "r2"]
    assert statuses(lua, ["r3", "r4", "r5"]) == ["waiting:limited"] * 3
    assert lua.listed("blocked:aa") == ["r3", "r4", "r5"]
    assert lua.entries() == ["r1", "r2"]


def test_whoever_ends_wakes_the_next_and_rings_for_it(lua: Lua) -> None:
    start(lua, 3, ONE)
    first = lua.claim_only()
    lua.delete("bell:default")
    assert end(lua, first) == "ok"
    assert (lua.status("r2"), lua.length("bell:default")) == ("pending", 1)
    assert lua.listed("limit:aa") == ["r2"]
    assert claimed(lua, "w2") == ["r2"]
    assert lua.listed("blocked:aa") == ["r3"]


def test_a_slot_that_was_given_is_taken_by_nobody_else(lua: Lua) -> None:
    start(lua, 2, ONE)
    first = lua.claim_only()
    end(lua, first)
    start(lua, 1, ONE, first=3)
    # r3 is first in lane 0, but r2 has the slot.
    assert claimed(lua, limit=1) == ["r2"]
    assert claimed(lua) == []
    assert lua.status("r3") == "waiting:limited"


def test_finishing_again_after_a_lost_reply_frees_nothing_more(lua: Lua) -> None:
    start(lua, 4, ONE)
    first = lua.claim_only()
    shown = {**first.shown(b"r"), "status": "succeeded", "payload": b"out"}
    assert lua.twice("finish_run", [b"r"], ["free"], **shown) == ["ok"]
    assert lua.listed("limit:aa") == ["r2"]


def test_claiming_again_after_a_lost_reply_gives_the_same_runs(lua: Lua) -> None:
    start(lua, 4, TWO)
    lua.twice("claim_runs", ["default"], **lua.claim_arguments())
    assert lua.listed("limit:aa") == ["r1", "r2"]


def test_a_parked_run_holds_no_slot_and_waits_for_one_when_it_is_due(lua: Lua) -> None:
    start(lua, 2, ONE)
    first = lua.claim_only()
    shown = {**first.shown(b"r"), "reason": "timer", "due": lua.now + 500, "seen": "", "wants": ""}
    assert lua.twice("park_run", [b"r"], ["free"], **shown) == ["ok"]
    second = lua.claim_only()
    assert second.run_id == "r2"
    lua.later(500)
    assert claimed(lua) == []
    assert lua.status("r1") == "waiting:limited"
    end(lua, second)
    assert lua.claim_only().fields["0"] == b"r"


def test_a_run_that_is_not_parked_because_of_its_mail_keeps_its_slot(lua: Lua) -> None:
    start(lua, 2, ONE)
    first = lua.claim_only()
    lua.redis.hset("rf:{shop:0}:run:r1", "m", 1)
    assert lua.park(first, due=lua.now + 500, seen="0", wants="\n", effects=["free"]) == "mail"
    assert lua.listed("limit:aa") == ["r1"]
    assert lua.status("r2") == "waiting:limited"


@pytest.mark.parametrize("reason", ["stranded", "suspended"])
def test_a_shelved_run_holds_no_slot(lua: Lua, reason: str) -> None:
    start(lua, 2, ONE)
    first = lua.claim_only()
    claimed(lua)
    assert lua.shelve(first, reason) == "ok"
    assert lua.listed("limit:aa") == ["r2"]


def test_a_run_that_is_handed_back_keeps_its_slot_for_whoever_takes_it_next(lua: Lua) -> None:
    start(lua, 2, ONE)
    first = lua.claim_only()
    assert lua.release(first) == "ok"
    assert claimed(lua, "w2") == ["r1"]
    assert lua.status("r2") == "waiting:limited"


def test_the_slot_of_a_dead_worker_comes_back(lua: Lua) -> None:
    start(lua, 2, ONE)
    dead = lua.claim_only("dead")
    assert claimed(lua) == []
    lua.expire(dead)
    assert lua.reclaim() == ["end", 1, 0, 0]
    again = lua.claim_only("w2")
    assert again.run_id == "r1"
    end(lua, again)
    assert claimed(lua) == ["r2"]


def test_a_poisoned_run_gives_its_slot_to_the_next(lua: Lua) -> None:
    start(lua, 2, ONE)
    dead = lua.claim_only("dead")
    claimed(lua)
    lua.expire(dead)
    assert lua.reclaim(crash_limit=1) == ["end", 0, 1, 0]
    assert claimed(lua) == ["r2"]


def test_cancel_and_deadline_free_slots_and_places(lua: Lua) -> None:
    start(lua, 1, ONE, deadline="+1000")
    start(lua, 3, ONE, first=2)
    held = lua.claim_only()
    assert lua.cancel("r3") == ["canceled"]
    assert lua.listed("blocked:aa") == ["r2", "r4"]
    lua.later(1000)
    assert lua.commit(held) == "ended"
    assert lua.listed("limit:aa") == ["r2"]
    # Pending with a slot: that, too, goes to the next.
    assert lua.cancel("r2") == ["canceled"]
    assert lua.listed("limit:aa") == ["r4"]


def test_the_deadline_of_a_run_that_waits_for_a_limit_ends_it(lua: Lua) -> None:
    start(lua, 1, ONE)
    lua.create("late", ONE, deadline="+1000")
    lua.claim()
    lua.later(1000)
    assert lua.wake() == (1, -1)
    assert lua.fields("late")["ca"] == b"deadline"
    assert lua.listed("blocked:aa") == []


def test_a_run_takes_all_of_its_slots_or_none(lua: Lua) -> None:
    both = {"lk": "aa:1:0 cc:1:0"}
    lua.create("a", ONE)
    lua.create("both", both)
    lua.create("c", {"lk": "cc:1:0"})
    held = {run.run_id: run for run in lua.claim()}
    assert sorted(held) == ["a", "c"]
    assert lua.listed("blocked:aa") == ["both"]
    # There is room in aa, but none in cc: it waits in the other line, and takes nothing.
    end(lua, held["a"])
    audit(lua)
    assert (lua.listed("blocked:aa"), lua.listed("blocked:cc"), lua.listed("limit:aa")) == ([], ["both"], [])
    end(lua, held["c"])
    assert claimed(lua) == ["both"]


def test_the_more_urgent_go_first_and_the_others_do_not_starve(lua: Lua) -> None:
    lua.at(T0 + 1)
    lua.create("running", ONE)
    held = lua.claim_only()
    for number in range(300):
        lua.create(f"urgent{number:03}", {**ONE, "pr": "9"})
        if number % 100 == 0:
            lua.create(f"plain{number:03}", ONE)
            lua.create(f"middle{number:03}", {**ONE, "pr": "5"})
        lua.claim()
    began = []
    for _ in range(120):
        lua.later(37)
        end(lua, held)
        held = lua.claim_only()
        began.append(held.run_id)
    assert began[:2] == ["urgent000", "urgent001"]
    assert {"plain000", "plain100", "middle000"} <= set(began)
    urgent = [name for name in began if name.startswith("urgent")]
    assert len(urgent) > 100
    assert urgent == sorted(urgent)


def test_a_rate_counts_first_claims_and_is_never_exceeded(lua: Lua) -> None:
    start(lua, 5, PER_SECOND)
    first = lua.now
    assert claimed(lua) == ["r1", "r2"]
    assert lua.listed("blocked:bb") == ["r3", "r4", "r5"]
    # The line has one timer for all of them.
    assert (lua.due("line:bb"), lua.due("r3")) == (first + 1000, None)
    lua.at(first + 999)
    assert lua.wake() == (0, 1)
    lua.at(first + 1000)
    assert claimed(lua) == ["r3", "r4"]
    assert lua.due("line:bb") == first + 2000
    lua.at(first + 2000)
    assert claimed(lua) == ["r5"]
    assert lua.listed("delayed") == [], "nobody waits any more"


def test_a_slot_of_a_rate_counts_from_the_claim_and_not_from_its_time(lua: Lua) -> None:
    start(lua, 6, PER_SECOND)
    lua.claim()
    lua.later(1000)
    lua.wake()
    assert lua.listed("limit:bb") == ["r3", "r4"]
    # No worker is there for a while: what is begun late does not come on top of the next period.
    lua.later(5000)
    lua.wake()
    assert claimed(lua) == ["r3", "r4"]
    lua.later(999)
    assert claimed(lua) == []
    lua.later(1)
    assert claimed(lua) == ["r5", "r6"]


def test_the_timer_of_a_rate_goes_on_when_the_first_in_line_is_canceled(lua: Lua) -> None:
    start(lua, 4, PER_SECOND)
    lua.claim()
    at = lua.due("line:bb")
    lua.cancel("r3")
    assert at is not None
    assert lua.due("line:bb") == at
    lua.cancel("r4")
    assert lua.due("line:bb") is None, "nobody waits any more"


def test_a_woken_run_is_not_counted_again_by_its_rate(lua: Lua) -> None:
    start(lua, 2, PER_SECOND)
    first, _ = lua.claim()
    assert lua.park(first, due=lua.now + 10, effects=["free"]) == "ok"
    lua.later(10)
    assert claimed(lua) == ["r1"]


def continued(held: Held) -> dict[str, object]:
    shown = held.shown()
    return {"input": b"more", **{name: shown[name] for name in ("run_id", "fence", "entry", "before")}}


def test_a_run_that_is_continued_as_new_counts_again_beside_what_it_used_before(lua: Lua) -> None:
    lua.create("r1", PER_SECOND)
    began = []
    for _ in range(400):
        for held in lua.claim():
            began.append(lua.now - T0)
            assert lua.twice("continue_run", [], **continued(held)) == ["ok"]
            audit(lua)
        lua.later(10)
        lua.wake()
    assert began == [0, 10, 1000, 1010, 2000, 2010, 3000, 3010]


def test_what_a_run_used_before_it_was_continued_counts_for_others_whatever_becomes_of_it(lua: Lua) -> None:
    lua.create("r1", PER_SECOND)
    lua.call("continue_run", [], **continued(lua.claim_only()))
    lua.cancel("r1")
    start(lua, 2, PER_SECOND, first=2)
    lua.reconcile()
    assert claimed(lua) == ["r2"]
    lua.call("repair_line", name="limit:bb", member="r1~0")
    assert lua.listed("limit:bb") == ["r1~0", "r2"]
    audit(lua)
    lua.at(T0 + 1000)
    lua.wake()
    assert claimed(lua) == ["r3"]


def test_who_comes_anew_stands_behind_those_that_wait_for_a_rate(lua: Lua) -> None:
    start(lua, 4, PER_SECOND)
    lua.claim()
    lua.later(1000)
    start(lua, 2, PER_SECOND, first=5)
    assert claimed(lua) == ["r3", "r4"]
    assert lua.listed("blocked:bb") == ["r5", "r6"]


def test_lost_slots_and_places_are_rebuilt_from_the_hashes(lua: Lua) -> None:
    start(lua, 4, TWO)
    lua.claim()
    lua.delete("limit:aa", "blocked:aa")
    assert lua.reconcile() == (4, 4)
    audit(lua)
    assert lua.reconcile() == (4, 0)


def test_a_slot_of_nobody_is_freed(lua: Lua) -> None:
    start(lua, 2, ONE)
    lua.claim()
    lua.redis.zrem("rf:{shop:0}:limit:aa", "r1")
    lua.redis.zadd("rf:{shop:0}:limit:aa", {"gone": T0})
    lua.delete("run:r1", "q:default:0")
    assert lua.reconcile() == (2, 2)  # r1 in the listing, and the slot
    assert claimed(lua) == ["r2"]


def test_a_thousand_runs_that_wait_cost_no_more_than_the_one_that_is_woken(lua: Lua) -> None:
    start(lua, 1000, ONE)
    held = lua.claim_only(limit=1000)
    lua.redis.execute_command("CONFIG", "RESETSTAT")
    end(lua, held)
    assert lua.redis.info("commandstats")["cmdstat_zrem"]["calls"] < 10


def test_creating_a_limited_run_again_changes_nothing(lua: Lua) -> None:
    fields = ["lk", "aa:1:0", "pr", "3", "fp", "dd"]
    assert lua.twice("create_run", fields, **new_run()) == ["created"]


def test_a_run_that_waits_for_a_limit_past_its_start_by_time_is_canceled(lua: Lua) -> None:
    lua.create("a", ONE)
    lua.create("b", {**ONE, "xp": "+100"})
    lua.create("c", {**ONE, "xp": "+900"})
    held = lua.claim_only()
    assert statuses(lua, ["b", "c"]) == ["waiting:limited"] * 2
    lua.later(100)
    lua.wake()
    assert (lua.status("b"), lua.fields("b")["ca"]) == ("canceled", b"expired")
    assert lua.listed("blocked:aa") == ["c"]
    end(lua, held)
    # A slot is not a worker yet: it expires all the same, and its slot is free again.
    lua.create("d", ONE)
    lua.later(800)
    assert claimed(lua) == ["d"]
