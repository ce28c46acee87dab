"""release_run, shelve_run and wake_stuck: runs that their holder gives back, now or until there is code for them."""

from __future__ import annotations

import pytest

from tests.lua.harness import PREFIX, T0, Held, Lua, shelved


def test_a_released_run_is_claimed_by_the_next_worker_at_once(lua: Lua) -> None:
    held = lua.take()
    lua.commit(held, b"one")
    lua.delete("bell:default")
    assert lua.release(held) == "ok"
    assert (lua.status(), lua.entries("w"), lua.length("bell:default")) == ("pending", ["run-1"], 1)
    other = lua.claim_only("w2")
    assert (other.fence.split(":")[0], other.mark, "x" in other.fields) == ("2", "1:5", False)


def test_releasing_twice_releases_once(lua: Lua) -> None:
    held = lua.take()
    mine = {"run_id": held.run_id, "fence": held.fence, "entry": held.entry}
    assert lua.twice("release_run", **mine) == ["ok"]
    lua.claim_only("w2")
    assert lua.twice("release_run", **mine) == ["fenced"]


@pytest.mark.parametrize("reason", ["stranded", "suspended"])
def test_shelving_twice_shelves_once(lua: Lua, reason: str) -> None:
    held = lua.take()
    assert lua.twice("shelve_run", **shelved(held, reason, problem=b"why")) == ["ok"]
    lua.wake_stuck()
    lua.claim_only("w2")
    assert lua.twice("shelve_run", **shelved(held, reason, problem=b"why")) == ["fenced"]


@pytest.mark.parametrize("how", ["release", "shelve"])
def test_a_holder_that_gave_its_run_back_has_shut_itself_out(lua: Lua, how: str) -> None:
    held = lua.take()
    getattr(lua, how)(held)
    before = lua.dump()
    answers = lua.holder_calls(held)
    lua.redis.zrem(f"{PREFIX}workers", "w1")
    assert {answers.pop("release"), answers.pop("shelve")} == {"ok"}  # said once more, nothing done
    assert set(answers.values()) == {"fenced"}
    assert lua.dump() == {key: before.get(key) for key in lua.dump()}


@pytest.mark.parametrize("reason", ["stranded", "suspended"])
def test_a_run_that_waits_for_code_is_offered_again_ever_more_seldom(lua: Lua, reason: str) -> None:
    lua.create()
    waits = []
    for _ in range(6):
        held = lua.claim_only()
        lua.shelve(held, reason)
        due = lua.due()
        assert due is not None
        waits.append(due - lua.now)
        lua.at(due)
    assert waits == [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]
    assert lua.listed("stuck:order") == ["run-1"]
    assert "x" not in lua.fields()


def test_a_run_stranded_for_years_still_has_an_exact_due_time(lua: Lua) -> None:
    held = lua.take()
    lua.redis.hset(f"{PREFIX}run:run-1", "z", 5_000)
    lua.shelve(held, "stranded", first_ms=5_000, last_ms=300_000)
    assert lua.due() == T0 + 300_000


def test_a_run_that_was_served_since_begins_again_with_short_waits(lua: Lua) -> None:
    lua.shelve(lua.take(), "stranded")
    lua.later(1_000)
    lua.park(lua.claim_only(), due=lua.now + 1)
    lua.later(1)
    lua.shelve(lua.claim_only(), "stranded")
    assert lua.due() == lua.now + 1_000


def test_a_suspended_run_shows_why_until_it_is_offered_again(lua: Lua) -> None:
    held = lua.take()
    lua.note(held)
    lua.shelve(held, "suspended", problem=b"\x00why")
    assert (lua.status(), lua.due(), lua.fields()["er"]) == ("waiting:suspended", T0 + 1_000, b"\x00why")
    lua.later(999)
    assert lua.wake() == (0, 1)
    lua.later(1)
    lua.wake()
    assert (lua.status(), lua.listed("stuck:order"), "er" in lua.fields()) == ("pending", [], False)


def test_a_run_that_is_not_to_be_offered_by_itself_waits_for_a_worker_to_start(lua: Lua) -> None:
    lua.shelve(lua.take(), "suspended", first_ms=0, problem=b"why")
    assert (lua.status(), lua.due()) == ("waiting:suspended", None)
    lua.redis.zadd(f"{PREFIX}delayed", {"run-1": T0})  # a stale member wakes it as little
    lua.later(10**9)
    lua.wake()
    assert (lua.status(), lua.due(), lua.fields()["er"]) == ("waiting:suspended", None, b"why")
    assert lua.wake_stuck() == (1, lua.now)
    assert lua.status() == "pending"


def test_a_deadline_before_the_next_offer_comes_first(lua: Lua) -> None:
    lua.shelve(lua.take("run-1", deadline="+500"), "stranded")
    assert lua.due() == T0 + 500


@pytest.mark.parametrize("reason", ["stranded", "suspended"])
def test_a_worker_with_new_code_is_offered_what_waited_for_it(lua: Lua, reason: str) -> None:
    lua.shelve(lua.take("run-1", deadline="+90000"), reason, problem=b"why")
    lua.create("run-2", workflow="other")
    lua.shelve(lua.claim_only(), reason)
    assert lua.wake_stuck("order") == (1, T0)
    assert (lua.status("run-1"), lua.status("run-2")) == ("pending", f"waiting:{reason}")
    assert (lua.due("run-1"), "er" in lua.fields("run-1")) == (T0 + 90_000, False)
    assert lua.twice("wake_stuck", workflow="order", limit=100, until_ms="")[1] == 0


def test_the_offer_goes_on_in_steps_and_leaves_what_came_back_meanwhile(lua: Lua) -> None:
    for number in range(5):
        lua.create(f"run-{number}")
    for held in lua.claim():
        lua.shelve(held, "suspended")
    woken, until_ms = lua.wake_stuck(limit=2)
    assert (woken, until_ms) == (2, T0)
    lua.later(1)
    for held in lua.claim():
        lua.shelve(held, "suspended")  # this worker's code does not fit them either
    assert lua.wake_stuck(limit=2, until_ms=until_ms) == (2, T0)
    assert lua.wake_stuck(limit=2, until_ms=until_ms) == (1, T0)
    assert lua.wake_stuck(limit=2, until_ms=until_ms) == (0, T0)
    assert len(lua.listed("stuck:order")) == 2


def test_a_broken_run_keeps_no_other_from_being_offered(lua: Lua) -> None:
    for number in range(3):
        lua.create(f"run-{number}")
    for held in lua.claim():
        lua.shelve(held, "suspended")
    key = f"{PREFIX}run:run-0"
    kept = lua.redis.dump(key)
    lua.redis.set(key, "not a hash")
    assert lua.wake_stuck() == (3, T0)
    assert lua.entries("w") == ["run-1", "run-2"]
    lua.redis.restore(key, 0, kept, replace=True)
    assert lua.reconcile() == (3, 1)
    assert lua.listed("stuck:order") == ["run-0"]


def test_a_listing_that_names_other_runs_is_cleared(lua: Lua) -> None:
    lua.create()
    lua.redis.zadd(f"{PREFIX}stuck:order", {"run-1": 1, "nobody": 2})
    before = lua.fields()
    lua.wake_stuck()
    assert (lua.fields(), lua.listed("stuck:order")) == (before, [])


def test_a_zombie_can_neither_release_nor_shelve(lua: Lua) -> None:
    zombie: Held = lua.take()
    lua.expire(zombie)
    lua.reclaim()
    before = lua.dump()
    assert (lua.release(zombie), lua.shelve(zombie)) == ("fenced", "fenced")
    lua_state = lua.dump()
    assert lua_state == before


@pytest.mark.parametrize(
    ("serves", "is_served"),
    [
        ("default order v2", True),
        ("default order ", True),  # of whichever version
        ("other order v1\ndefault order v2\ndefault order v1", True),
        ("default order v1", False),
        ("default order-v2 ", False),
        ("other order v2", False),
        ("default order v22", False),
    ],
)
def test_a_run_that_another_worker_has_code_for_is_offered_again_soon(lua: Lua, serves: str, is_served: bool) -> None:
    lua.renew(worker="w2", presence_ms=60_000, serves=serves)
    lua.create(version="v2")
    waits = []
    for _ in range(6):
        lua.shelve(lua.claim_only(), first_ms=5_000, last_ms=20_000, again_ms=200)
        waits.append((lua.due() or 0) - lua.now)
        lua.at(lua.now + waits[-1])
        lua.renew(worker="w2", presence_ms=60_000, serves=serves)
    assert waits == ([200] * 6 if is_served else [5_000, 10_000, 20_000, 20_000, 20_000, 20_000])
    assert ("z" in lua.fields()) != is_served  # it begins with short waits again where they are gone


def test_the_more_runs_wait_that_another_worker_serves_the_less_often_each_is_offered(lua: Lua) -> None:
    lua.renew(worker="w2", presence_ms=60_000, serves="default order ")
    for number in range(8):
        lua.create(f"run-{number}")
    waits = []
    for held in lua.claim():
        lua.shelve(held, again_ms=3, last_ms=6)
        waits.append((lua.due(held.run_id) or 0) - lua.now)
    assert waits == [3, 3, 3, 3, 4, 5, 6, 6]


def test_what_served_a_run_and_is_gone_is_forgotten(lua: Lua) -> None:
    lua.renew(worker="w2", presence_ms=1_000, serves="default order ")
    lua.renew(worker="w3", presence_ms=500, serves="default order ")  # the one that lives longer counts
    held = lua.take()
    lua.later(999)
    lua.shelve(held, again_ms=10)
    assert lua.due() == lua.now + 10
    lua.later(10)
    lua.shelve(lua.claim_only(), first_ms=3_000, last_ms=9_000, again_ms=10)
    assert lua.due() == lua.now + 3_000
    lua.later(3_600_000)
    lua.call("sweep_workers", queue="default", lane="0")
    assert lua.redis.zcard(f"{PREFIX}served") == 0
