"""Workers come and go: presence, consumers, turns and the layout of the namespace."""

from __future__ import annotations

import pytest

from tests.lua.harness import PREFIX, T0, Lua

HOUR_MS = 3_600_000


def consumers(lua: Lua, lane: str = "0") -> set[str]:
    return {item["name"].decode() for item in lua.redis.xinfo_consumers(f"{PREFIX}q:default:{lane}", "workers")}


def sweep(lua: Lua, lane: str = "0") -> int:
    count: int = lua.call("sweep_workers", queue="default", lane=lane)[1]
    return count


def test_a_worker_that_leaves_takes_its_presence_and_its_consumers_along(lua: Lua) -> None:
    lua.renew(worker="w1", about=b"host")
    lua.create()
    lua.finish(lua.claim_only("w1"))
    assert lua.twice("leave_worker", ["default", "never"], worker="w1") == ["ok"]
    assert (consumers(lua, "0"), consumers(lua, "w"), lua.listed("workers")) == (set(), set(), [])
    assert lua.redis.exists(f"{PREFIX}worker:w1") == 0


def test_what_a_leaving_worker_still_holds_is_not_dropped(lua: Lua) -> None:
    held = lua.take()
    assert lua.twice("leave_worker", ["default"], worker="w1") == ["ok"]
    assert consumers(lua) == {"w1"}
    lua.expire(held)
    assert lua.reclaim() == ["end", 1, 0, 0]


def test_consumers_of_dead_workers_are_deleted_and_those_of_live_ones_kept(lua: Lua) -> None:
    for number in range(50):
        lua.create(f"run-{number}")
        lua.finish(lua.claim_only(f"w{number}"))
    lua.renew(worker="w7", presence_ms=1_000)
    assert sweep(lua) == 49
    assert consumers(lua) == {"w7"}
    assert lua.twice("sweep_workers", queue="default", lane="0") == ["ok", 0]
    lua.later(1_000)
    assert sweep(lua) == 1
    sweep(lua, "w")  # Valkey makes a consumer where there is nothing to be read, Redis 7.0 does not


def test_the_consumer_of_a_dead_worker_that_held_runs_is_kept_until_they_are_reclaimed(lua: Lua) -> None:
    held = lua.take()
    assert sweep(lua) == 0
    lua.expire(held)
    lua.reclaim()
    assert sweep(lua) == 1
    assert lua.claim_only("w2").run_id == "run-1"


def test_presence_is_remembered_for_an_hour(lua: Lua) -> None:
    lua.renew(worker="w1", presence_ms=1_000, about=b"host")
    lua.later(1_000 + HOUR_MS - 1)
    lua.claim("w2")
    sweep(lua)
    assert lua.listed("workers") == ["w1"]
    lua.later(1)
    sweep(lua)
    assert lua.listed("workers") == []
    assert lua.redis.exists(f"{PREFIX}worker:w1") == 0


def test_a_claim_that_comes_after_the_good_bye_of_its_worker_leaves_nothing_behind(lua: Lua) -> None:
    lua.renew(worker="w1", about=b"host")
    lua.call("leave_worker", ["default"], worker="w1")
    held = lua.take()
    sweep(lua)
    assert lua.redis.exists(f"{PREFIX}worker:w1") == 1  # its run is still pending
    lua.expire(held)
    lua.reclaim()
    sweep(lua)
    assert lua.redis.keys(f"{PREFIX}worker*") == []


def test_what_a_worker_that_lives_has_claimed_last_is_kept_when_it_holds_nothing(lua: Lua) -> None:
    lua.renew(worker="w1", presence_ms=1_000)
    lua.finish(lua.take())
    lua.later(1_000)
    assert sweep(lua) == 1  # it looks dead, and may only have been silent
    assert lua.redis.hget(f"{PREFIX}worker:w1", "runs") == b"run-1"


def test_sweeping_a_stream_that_does_not_exist_is_nothing(lua: Lua) -> None:
    assert lua.call("sweep_workers", queue="nowhere", lane="0") == ["ok", 0]


def test_one_worker_at_a_time_has_a_turn_and_keeps_it_by_asking(lua: Lua) -> None:
    def ask(worker: str, chore: str = "timers") -> str:
        return str(lua.call("take_turn", chore=chore, worker=worker, ms=60_000)[0])

    assert lua.twice("take_turn", chore="timers", worker="w1", ms=60_000) == ["yes"]
    assert lua.twice("take_turn", chore="timers", worker="w2", ms=60_000) == ["no"]
    assert (ask("w1"), ask("w2", "upkeep")) == ("yes", "yes")
    assert 0 < lua.redis.pttl(f"{PREFIX}turn:timers") <= 60_000
    lua.delete("turn:timers")  # its time is over
    assert (ask("w2"), ask("w1")) == ("yes", "no")


@pytest.mark.parametrize("chore", ["timers", "upkeep", "retention", "schedules", "payloads"])
def test_whatever_a_worker_did_the_next_need_not_wait_for_it(lua: Lua, chore: str) -> None:
    lua.call("take_turn", chore=chore, worker="w1", ms=60_000)
    lua.call("leave_worker", ["default"], worker="w1")
    assert lua.call("take_turn", chore=chore, worker="w2", ms=60_000) == ["yes"]


def test_a_worker_that_leaves_gives_up_its_own_turns_and_no_others(lua: Lua) -> None:
    lua.call("take_turn", chore="timers", worker="w1", ms=60_000)
    lua.call("take_turn", chore="upkeep", worker="w2", ms=60_000)
    assert lua.twice("leave_worker", ["default"], worker="w1") == ["ok"]
    assert lua.call("take_turn", chore="timers", worker="w3", ms=60_000) == ["yes"]
    assert lua.call("take_turn", chore="upkeep", worker="w3", ms=60_000) == ["no"]


def test_whoever_opens_a_namespace_first_fixes_its_layout(lua: Lua) -> None:
    assert lua.twice("open_namespace", partitions=0, layout=1) == ["missing"]
    assert lua.twice("open_namespace", partitions=4, layout=1) == ["ok", b"4", b"1"]
    assert lua.twice("open_namespace", partitions=16, layout=2) == ["ok", b"4", b"1"]
    assert lua.twice("open_namespace", partitions=0, layout=1) == ["ok", b"4", b"1"]


def test_a_namespace_keeps_the_name_that_it_was_first_given_in_stores(lua: Lua) -> None:
    assert lua.twice("name_store", name="first") == ["ok", b"first"]
    assert lua.twice("name_store", name="second") == ["ok", b"first"]


@pytest.mark.parametrize("zeros", [5, 8, 11])
def test_instants_with_many_zeros_are_stored_as_whole_numbers(lua: Lua, zeros: int) -> None:
    step = 10**zeros
    lua.at((T0 // step + 1) * step)
    lua.create("run-1", available=f"+{step}", deadline=f"+{3 * step + step // 10}")
    lua.at(lua.now + step)
    held = lua.claim_only()
    lua.shelve(held, "stranded", first_ms=step, last_ms=step)
    lua.at(lua.now + step)
    held = lua.claim_only()
    lua.park(held, due=lua.now + step)
    lua.renew(presence_ms=step)
    lua.at(lua.now + step)
    lua.finish(lua.claim_only())
    instants = {name: lua.fields()[name] for name in ("c", "a", "av", "dl", "t")}
    assert all(value.isdigit() for value in instants.values()), instants
    assert int(instants["t"]) == lua.now
