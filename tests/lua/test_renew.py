"""renew_runs: one heartbeat for all runs of a worker, and for itself."""

from __future__ import annotations

from tests.lua.harness import PREFIX, T0, Lua


def test_a_heartbeat_renews_presence_and_leases(lua: Lua) -> None:
    for number in range(3):
        lua.create(f"run-{number}")
    claims = lua.claim()
    for held in claims:
        lua.expire(held)
    assert lua.renew(*claims, presence_ms=5_000, about=b"\x00host") == []
    assert lua.reclaim() == ["end", 0, 0, 0]
    assert lua.redis.zscore(f"{PREFIX}workers", "w1") == T0 + 5_000
    assert lua.redis.hget(f"{PREFIX}worker:w1", "about") == b"\x00host"


def test_a_heartbeat_of_an_idle_worker_says_that_it_lives(lua: Lua) -> None:
    assert lua.renew(worker="w9") == []
    assert lua.listed("workers") == ["w9"]


def test_a_heartbeat_that_is_sent_again_changes_nothing_more(lua: Lua) -> None:
    held = lua.take()
    tail = [held.run_id, held.queue, held.fence, held.entry]
    arguments = {"worker": "w1", "presence_ms": 5_000, "about": b"x", "serves": "default order "}
    first = lua.call("renew_runs", tail, **arguments)
    before = lua.dump_without_leases()
    assert lua.call("renew_runs", tail, **arguments) == first == ["ok"]
    assert lua.dump_without_leases() == before


def test_a_hundred_heartbeats_are_no_deliveries(lua: Lua) -> None:
    held = lua.take()
    for _ in range(100):
        lua.renew(held)
    pending = lua.pending(held)
    assert pending is not None
    assert pending["times_delivered"] == 1
    assert "x" not in lua.fields(), "nor crashes"


def test_a_heartbeat_names_the_runs_that_the_worker_no_longer_holds(lua: Lua) -> None:
    names = ["kept", "canceled", "parked", "finished", "reclaimed", "released", "deleted"]
    for name in names:
        lua.create(name)
    held = {claim.run_id: claim for claim in lua.claim()}
    lua.cancel("canceled")
    lua.park(held["parked"], due=T0 + 1)
    lua.finish(held["finished"])
    lua.expire(held["reclaimed"])
    lua.reclaim()
    lua.release(held["released"])
    lua.cancel("deleted")
    lua.delete("run:deleted")
    lua.redis.zrem(f"{PREFIX}done:order:canceled", "deleted")
    assert sorted(lua.renew(*held.values())) == sorted(set(names) - {"kept"})


def test_a_broken_run_costs_no_other_its_lease(lua: Lua) -> None:
    for number in range(3):
        lua.create(f"run-{number}")
    claims = lua.claim()
    for held in claims:
        lua.expire(held)
    key = f"{PREFIX}run:run-0"
    kept = lua.redis.dump(key)
    lua.redis.set(key, "not a hash")
    assert lua.renew(*claims) == ["run-0"]
    lua.redis.restore(key, 0, kept, replace=True)
    assert lua.reclaim() == ["end", 1, 0, 0]


def test_a_lost_stream_costs_no_other_run_its_lease(lua: Lua) -> None:
    lua.create("run-1", queue="lost")
    lua.create("run-2", queue="kept")
    claims = lua.claim(queues=["lost", "kept"])
    lua.expire(claims[1])
    lua.delete("q:lost:0")
    assert lua.renew(*claims) == []
    assert lua.reclaim(queue="kept") == ["end", 0, 0, 0]
    assert lua.reconcile() == (2, 1)


def test_thousands_of_runs_fit_one_heartbeat(lua: Lua) -> None:
    held = lua.take()
    tail = [held.run_id, held.queue, held.fence, held.entry]
    strangers = [part for number in range(3_000) for part in (f"nobody-{number}", "default", "1:x", "0:1-1")]
    reply = lua.call("renew_runs", [*strangers, *tail], worker="w1", presence_ms=1, about=b"", serves="")
    assert len(reply) == 3_001


def test_a_worker_is_told_to_drain_by_its_heartbeats_until_it_says_good_bye(lua: Lua) -> None:
    assert lua.call("drain_worker", worker="w1") == ["missing"]
    lua.renew(worker="w1", about=b"about")
    lua.renew(worker="w2")
    held = lua.take()
    assert lua.twice("drain_worker", worker="w1") == ["ok"]
    for _ in range(2):
        assert lua.renew(held, worker="w1") == ["drain"]
    assert lua.renew(worker="w2") == []
    assert {row[0]: row[3] for row in lua.call("list_workers", first=0, limit=9)[2:]} == {b"w1": b"1", b"w2": b""}
    lua.finish(held)
    lua.call("leave_worker", ["default"], worker="w1")
    assert lua.call("drain_worker", worker="w1") == ["missing"]
    assert lua.redis.hget(f"{PREFIX}worker:w1", "drain") is None


def test_a_worker_that_is_not_alive_any_more_is_not_told_to_drain(lua: Lua) -> None:
    lua.renew(worker="w1", presence_ms=10)
    lua.later(10)
    assert lua.call("drain_worker", worker="w1") == ["missing"]
