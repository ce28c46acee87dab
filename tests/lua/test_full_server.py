"""What a server refuses: memory that it has not, and keys of another slot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.exceptions import OutOfMemoryError

from redisflow.tags import encode_tags, tag_listing
from tests.lua.harness import PREFIX, T0, Held, Lua, audit, new_run

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def full(lua: Lua) -> Iterator[Lua]:
    """A server with a run in each place, and then no memory left."""
    for name in ("commit", "park", "finish", "release", "shelve", "cancel", "crash", "deadline", "stuck"):
        lua.create(name, deadline="+1000" if name == "deadline" else "")
    lua.create("timer", available="+1000")
    yield lua
    lua.redis.config_set("maxmemory", 0)


def emit(lua: Lua, held: Held, data: bytes) -> str:
    about = {"run_id": held.run_id, "fence": held.fence, "number": 1, "keep": 10, "most": 10, "count": 4}
    word: str = lua.call("emit_events", ["token", data, "step", 1, "key", data], **about)[0]
    return word


def fill(lua: Lua) -> None:
    lua.redis.config_set("maxmemory", 1)


def test_new_work_is_refused_whole(full: Lua) -> None:
    full.later(1_000)
    before = full.dump()
    fill(full)
    with pytest.raises(OutOfMemoryError):
        full.create("another")
    with pytest.raises(OutOfMemoryError):
        full.start("another", ("unique", "k", "cancel_older"))
    with pytest.raises(OutOfMemoryError):
        full.claim()
    assert full.dump() == before


def test_what_a_run_says_is_refused_where_it_does_not_belong_to_its_record(full: Lua) -> None:
    held = {claim.run_id: claim for claim in full.claim(limit=20)}["commit"]
    fill(full)
    with pytest.raises(OutOfMemoryError):
        emit(full, held, b"a")
    assert full.commit(held, b"one", effects=["output", "-1:1", 10, 4, "data", b"b", "", "", 0]) == "ok"
    assert full.redis.xlen(f"{PREFIX}events:commit") == 1


def test_running_work_goes_on_to_its_end(full: Lua) -> None:
    held: dict[str, Held] = {claim.run_id: claim for claim in full.claim(limit=20)}
    full.commit(held["finish"], b"one")
    full.shelve(held["stuck"], "suspended", first_ms=5_000)
    full.expire(held["crash"])
    fill(full)
    assert full.commit(held["commit"], b"one", renew="w1") == "ok"
    assert full.park(held["park"], b"one", due=T0 + 2_000) == "ok"
    assert full.finish(held["finish"], b"two") == "ok"
    assert full.release(held["release"]) == "ok"
    assert full.shelve(held["shelve"]) == "ok"
    assert full.note(held["commit"]) == "ok"
    assert full.renew(held["commit"], about=b"host") == []
    assert full.cancel("cancel") == ["canceled"]
    assert full.reclaim() == ["end", 1, 0, 0]
    full.redis.config_set("maxmemory", 0)
    full.later(1_000)
    fill(full)
    assert full.wake()[0] == 3
    assert full.wake_stuck()[0] == 1
    assert full.reconcile()[1] == 0
    assert full.call("read_records", run_id="commit", first=0, last=0, bytes=9) == ["ok", b"one"]
    assert full.call("take_turn", chore="timers", worker="w1", ms=1_000) == ["yes"]
    assert full.call("sweep_workers", queue="default", lane="0")[0] == "ok"
    assert full.call("leave_worker", ["default"], worker="w1") == ["ok"]
    assert full.call("open_namespace", partitions=1, layout=1)[0] == "ok"
    assert full.call("count_runs")[0] == "ok"
    assert full.call("delete_run", run_id="cancel") == ["gone"]
    assert full.call("purge_runs", ["order", "succeeded", 0, 0], limit=100, all_bytes=100, tell="") == ["ok", 1, 0, []]
    assert full.call("set_retention", ["order", "failed=1"]) == ["ok"]


def test_no_script_reaches_for_a_key_of_another_slot(cluster_lua: Lua) -> None:
    lua = cluster_lua
    slot = lua.redis.cluster("KEYSLOT", PREFIX)
    lua.call("open_namespace", partitions=1, layout=1)
    held: dict[str, Held] = {}
    for name in ("commit", "finish", "release", "shelve", "cancel", "crash"):
        lua.create(name, deadline="+90000", idem=name, idem_ms=60_000)
    held = {claim.run_id: claim for claim in lua.claim("w1", limit=20)}
    assert lua.commit(held["commit"], b"one", renew="w1") == "ok"
    assert emit(lua, held["commit"], b"a") == "ok"
    told = ["output", "0:1", 10, 4, "data", b"b", "", "", 2, "key", b"b"]
    assert lua.park(held["commit"], b"two", effects=told, due=T0 + 1) == "ok"
    assert len(lua.call("read_events", run_id="commit", after="", limit=9, bytes=9)) == 6
    assert lua.finish(held["finish"], b"one") == "ok"
    assert lua.release(held["release"]) == "ok"
    assert lua.shelve(held["shelve"], "suspended") == "ok"
    assert lua.cancel("cancel") == ["canceled"]
    assert lua.note(held["crash"]) == "ok"
    assert lua.renew(held["crash"]) == []
    lua.expire(held["crash"])
    assert lua.reclaim() == ["end", 1, 0, 0]
    lua.later(1)
    assert lua.wake()[0] == 1
    assert lua.wake_stuck()[0] == 1
    lua.delete("delayed", "q:default:w")
    assert lua.reconcile()[1] == 4
    assert lua.call("read_records", run_id="commit", first=0, last=1, bytes=99) == ["ok", b"one", b"two"]
    assert lua.call("take_turn", chore="timers", worker="w1", ms=1_000) == ["yes"]
    lua.call("sweep_workers", queue="default", lane="0")
    lua.call("leave_worker", ["default"], worker="w1")
    for rule in (("unique", "k", "cancel_older"), ("debounce", "k", 1_000, ""), ("throttle", "k", 1, 1_000, "delay")):
        for name in ("one", "two"):
            lua.start(f"{rule[0]}-{name}", rule)
    lua.call("create_run", ["tg", encode_tags({"a": "b", "c": "d"})], **new_run("tagged", queue="other"))
    lua.cancel("tagged")
    names = ["runs:order", "done:order:canceled", tag_listing("a", "b")]
    place = {"order": "oldest", "at_ms": 0, "at_id": "", "until_ms": T0 * 2}
    assert lua.call("list_runs", names, limit=9, **place)[0] == "ok"
    assert lua.call("count_runs")[0] == "ok"
    assert lua.call("count_statuses", workflow="order", at_ms=0, at_id="", limit=9)[0] == "ok"
    assert lua.call("delete_run", run_id="tagged") == ["gone"]
    assert lua.call("purge_runs", ["order", "succeeded", 0, 0], limit=9, all_bytes=9, tell="") == ["ok", 1, 0, []]
    assert lua.call("set_retention", ["order", "failed=1"]) == ["ok"]
    audit(lua)
    assert {lua.redis.cluster("KEYSLOT", key) for key in lua.redis.keys("*")} == {slot}
