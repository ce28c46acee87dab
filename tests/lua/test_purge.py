"""purge_runs and delete_run: what is over is deleted to the last key, in steps, and nothing else is."""

from __future__ import annotations

from typing import Any

from redisflow.tags import encode_tags
from tests.lua.harness import PREFIX, T0, Lua, new_run

DAY = 86_400_000


def purge(lua: Lua, *listings: Any, limit: int = 100, all_bytes: int = 1 << 20) -> tuple[int, int]:
    """How many were deleted, and whether there is more. Of each listing: workflow, status, ms."""
    given = [part for at in range(0, len(listings), 3) for part in (*listings[at : at + 3], 0)]
    _, purged, more, staying = lua.call("purge_runs", given, limit=limit, all_bytes=all_bytes, tell="")
    assert staying == []
    return purged, more


def ended(lua: Lua, *names: str, **changes: Any) -> None:
    for name in names:
        lua.call("create_run", ["tg", encode_tags({"name": name, "all": "yes"})], **new_run(name, **changes))
    for held in lua.claim(limit=1000):
        lua.finish(held)


def private_keys(lua: Lua, run_id: str) -> None:
    """What other parts of the engine keep of a run."""
    for kind in ("mail", "state"):
        lua.redis.hset(f"{PREFIX}{kind}:{run_id}", "a", "b")
    lua.redis.xadd(f"{PREFIX}events:{run_id}", {"a": "b"})
    lua.redis.hset(f"{PREFIX}run:{run_id}", "sg", "h1 h2")
    for hash_ in ("h1", "h2"):
        lua.redis.zadd(f"{PREFIX}signal:{hash_}", {run_id: 1})


def runs_keys(lua: Lua) -> list[str]:
    shared = ("clock", "meta", "workflows", "queues", "worker:", "workers", "bell:", "q:", "idem:")
    names = [key.decode().removeprefix(PREFIX) for key in lua.redis.keys("*")]
    return sorted(name for name in names if not name.startswith(shared))


def test_what_is_over_goes_to_the_last_key(lua: Lua) -> None:
    ended(lua, "a", idem="key", idem_ms=60_000)
    ended(lua, "b")
    private_keys(lua, "a")
    lua.later(DAY - 1)
    assert purge(lua, "order", "succeeded", DAY) == (0, 0)
    lua.later(1)
    assert purge(lua, "order", "succeeded", DAY) == (2, 0)
    assert runs_keys(lua) == []
    assert purge(lua, "order", "succeeded", DAY) == (0, 0)


def test_statuses_and_workflows_have_times_of_their_own(lua: Lua) -> None:
    ended(lua, "a")
    lua.create("b")
    lua.finish(lua.claim_only(), status="failed")
    lua.create("c")
    lua.cancel("c")
    lua.create("d", workflow="bill")
    lua.finish(lua.claim_only())
    lua.create("unfinished")
    lua.later(1_000)
    assert purge(lua, "order", "succeeded", 1_001, "order", "failed", 1_000, "bill", "succeeded", 5_000) == (1, 0)
    assert sorted(name for name in "abcd" if lua.redis.exists(f"{PREFIX}run:{name}")) == ["a", "c", "d"]
    assert purge(lua, "order", "canceled", 0, "order", "succeeded", 0, "bill", "succeeded", 0) == (3, 0)
    assert lua.status("unfinished") == "pending"


def test_a_step_is_bounded_in_runs_and_in_bytes(lua: Lua) -> None:
    ended(lua, *(f"r{number:03}" for number in range(25)), input=b"x" * 100)
    assert purge(lua, "order", "succeeded", 0, limit=10) == (10, 1)
    # 100 bytes each: after the fourth the bytes are used up.
    assert purge(lua, "order", "succeeded", 0, all_bytes=350) == (4, 1)
    assert lua.listed("done:order:succeeded")[0] == "r014"
    assert purge(lua, "order", "succeeded", 0) == (11, 0)
    assert runs_keys(lua) == []


def test_it_tells_which_runs_it_has_deleted_where_that_is_asked_for(lua: Lua) -> None:
    ended(lua, "a", "b", "c")
    lua.redis.zadd(f"{PREFIX}done:order:succeeded", {"never-there": 1})
    told = lua.call("purge_runs", ["order", "succeeded", 0, 0], limit=3, all_bytes=1 << 20, tell="ids")
    assert told == ["ok", 2, 1, [], b"a", b"b"]
    assert lua.call("purge_runs", ["order", "succeeded", 0, 0], limit=3, all_bytes=0, tell="ids") == [
        "ok",
        1,
        1,
        [],
        b"c",
    ]


def test_a_listing_that_is_wrong_costs_no_run(lua: Lua) -> None:
    ended(lua, "over")
    lua.create("goes-on")
    lua.redis.zadd(f"{PREFIX}done:order:succeeded", {"goes-on": T0, "never-was": T0, "odd": T0})
    lua.redis.set(f"{PREFIX}run:odd", "no hash")
    assert purge(lua, "order", "succeeded", 0) == (1, 0)
    assert lua.status("goes-on") == "pending"
    assert lua.listed("done:order:succeeded") == []
    assert lua.listed("broken") == ["odd"]
    lua.delete("run:odd", "broken")


def test_only_a_finished_run_is_deleted(lua: Lua) -> None:
    held = lua.take("a")
    assert lua.call("delete_run", run_id="a") == ["unfinished", b"running"]
    lua.finish(held)
    private_keys(lua, "a")
    assert lua.twice("delete_run", run_id="a") == ["gone"]
    assert runs_keys(lua) == []
    assert lua.call("delete_run", run_id="never-was") == ["gone"]


def test_policies_are_kept_and_forgotten(lua: Lua) -> None:
    lua.twice("set_retention", ["order", "succeeded=1", "bill", "failed=2"])
    lua.twice("set_retention", ["bill", ""])
    assert lua.redis.hgetall(f"{PREFIX}meta") == {b"keep:order": b"succeeded=1"}


def test_keys_of_any_type_are_dropped_and_counted(lua: Lua) -> None:
    lua.create("run-1")
    held = lua.claim_only()
    lua.finish(held)
    names = [key.decode().removeprefix(PREFIX) for key in lua.redis.keys(f"{PREFIX}*")]
    assert {lua.redis.type(PREFIX + name) for name in names} >= {b"hash", b"zset", b"stream", b"string"}
    assert lua.call("drop_keys", names[:2]) == ["ok", 2]
    assert lua.call("drop_keys", [*names, "nothing"]) == ["ok", len(names) - 2]
    assert lua.redis.keys(f"{PREFIX}*") == []
    lua.at(lua.now)
