"""stage_import and import_run: a run that ended elsewhere is stored whole, once, and only while it is put aside."""

from __future__ import annotations

from typing import Any

import pytest

from redisflow.tags import encode_tags
from tests.lua.harness import PREFIX, T0, Lua, audit

TAGS = encode_tags({"customer": "c1"})
RECORDS = [b"one", b"two"]


def stage(lua: Lua, what: str, *parts: Any, operation: str = "op") -> None:
    assert lua.twice("stage_import", parts, operation=operation, what=what, keep_ms=60_000) == ["ok"]


def put_aside(lua: Lua, operation: str = "op") -> None:
    stage(lua, "run", "i", b"in", "o", b"out", "0", RECORDS[0], "1", RECORDS[1], operation=operation)
    stage(lua, "state", "phase", b"done", operation=operation)
    stage(lua, "events", "5-0", "data", b"x", "", "", "6-1", "log", b"y", "pay", 2, operation=operation)


def arguments(run_id: str = "run-1", **changes: Any) -> dict[str, Any]:
    defaults = {
        "run_id": run_id,
        "operation": "op",
        "workflow": "order",
        "status": "succeeded",
        "created": T0 - 2000,
        "ended": T0 - 1000,
        "queue": "",
        "tags": TAGS,
        "parent": "",
        "payloads": 4,
        "state": 1,
        "events": 2,
    }
    return {**defaults, **changes}


def bring(lua: Lua, run_id: str = "run-1", **changes: Any) -> list[Any]:
    return lua.call("import_run", ["h", "2:8", "a", T0 - 1900, "f", "3:-"], **arguments(run_id, **changes))


def staged(lua: Lua) -> list[bytes]:
    return list(lua.redis.keys(f"{PREFIX}import:*"))


def test_a_run_is_stored_with_its_record_and_all_that_names_it(lua: Lua) -> None:
    put_aside(lua)
    tail = ["h", "2:8", "a", T0 - 1900, "f", "3:-"]
    assert lua.twice("import_run", tail, **arguments(queue="slow")) == ["imported"]
    fields = lua.fields()
    assert fields.pop("im") == b"%d op" % T0
    assert fields == {
        "w": b"order",
        "s": b"succeeded",
        "c": b"%d" % (T0 - 2000),
        "a": b"%d" % (T0 - 1900),
        "t": b"%d" % (T0 - 1000),
        "q": b"slow",
        "tg": TAGS.encode(),
        "h": b"2:8",
        "f": b"3:-",
        "i": b"in",
        "o": b"out",
        "0": b"one",
        "1": b"two",
    }
    assert lua.listed("done:order:succeeded") == ["run-1"]
    assert lua.listed(f"tag:{TAGS.split()[0]}") == ["run-1"]
    assert lua.redis.xrange(f"{PREFIX}events:run-1") == [
        (b"5-0", {b"k": b"data", b"d": b"x"}),
        (b"6-1", {b"k": b"log", b"d": b"y", b"s": b"pay", b"a": b"2"}),
    ]
    assert lua.redis.hgetall(f"{PREFIX}state:run-1") == {b"phase": b"done"}
    assert {lua.redis.ttl(f"{PREFIX}{key}:run-1") for key in ("run", "events", "state")} == {-1}
    assert staged(lua) == []
    audit(lua)


def test_what_is_put_aside_goes_by_itself_and_names_no_run(lua: Lua) -> None:
    put_aside(lua)
    assert lua.redis.keys(f"{PREFIX}*:run-1") == []
    assert len(staged(lua)) == 3
    assert all(0 < lua.redis.pttl(key) <= 60_000 for key in staged(lua))
    audit(lua)


@pytest.mark.parametrize("lost", ["run", "state", "events"])
def test_a_run_of_which_something_was_lost_is_not_stored(lua: Lua, lost: str) -> None:
    put_aside(lua)
    lua.delete(f"import:op:{lost}")
    before = lua.dump()
    assert bring(lua) == ["unstaged"]
    assert lua.dump() == before


def test_a_run_that_is_there_is_left_alone(lua: Lua) -> None:
    lua.create()
    put_aside(lua)
    before = lua.dump()
    assert bring(lua) == ["existing"]
    assert lua.dump() == before
    lua.finish(lua.claim_only())
    assert bring(lua) == ["existing"]
    audit(lua)


def test_another_import_of_a_run_that_is_there_changes_nothing(lua: Lua) -> None:
    put_aside(lua)
    assert bring(lua) == ["imported"]
    put_aside(lua, "op2")
    before = lua.dump()
    assert bring(lua, operation="op2") == ["existing"]
    assert lua.dump() == before


def test_a_copy_that_comes_when_the_run_was_deleted_makes_no_run(lua: Lua) -> None:
    put_aside(lua)
    assert bring(lua) == ["imported"]
    assert lua.call("delete_run", run_id="run-1") == ["gone"]
    assert bring(lua) == ["unstaged"]
    assert not lua.redis.exists(*(f"{PREFIX}{kind}:run-1" for kind in ("run", "events", "state")))
    audit(lua)


def test_a_run_whose_end_is_still_to_come_is_refused(lua: Lua) -> None:
    put_aside(lua)
    assert bring(lua, ended=T0 + 1) == ["ahead", T0]
    assert bring(lua, created=T0 + 1) == ["ahead", T0]
    assert bring(lua, ended=T0) == ["imported"]
    audit(lua)


def test_a_parent_that_waits_for_it_hears_of_its_end(lua: Lua) -> None:
    held = lua.take("parent")
    lua.park(held, reason="child", effects=["kid", "run-1", "cancel"], wants="\nrun-1\n")
    put_aside(lua)
    assert bring(lua, parent="parent") == ["imported"]
    assert lua.posted() == [{"do": b"look_kids", "run": b"parent"}]
    audit(lua)


def test_it_is_retried_in_place_and_then_ends_as_any_run(lua: Lua) -> None:
    stage(lua, "run", "i", b"in", "er", b"no", "0", b"one")
    assert bring(lua, status="failed", payloads=3, state=0, events=0, queue="slow") == ["imported"]
    lua.redis.hset(f"{PREFIX}run:run-1", "h", "1:5")
    retried = lua.call("retry_run", [b"moot"], run_id="run-1", retry=1, before="1:5", after="2:9", deadline="")
    assert retried == ["retried"]
    audit(lua)
    held = lua.claim_only(queues=["slow"])
    assert held.fields["h"] == b"2:9"
    lua.later(5000)
    held.mark = "2:9"
    assert lua.finish(held) == "ok"
    assert "im" not in lua.fields()
    audit(lua)


# -- how long it is kept ----------------------------------------------------------------------------------------------


def purge(lua: Lua, keep_ms: int, staying: int = 0, limit: int = 100) -> list[Any]:
    listing = ["order", "succeeded", keep_ms, staying]
    return lua.call("purge_runs", listing, limit=limit, all_bytes=1 << 20, tell="ids")


def test_it_is_kept_from_its_import_on_and_stops_no_other(lua: Lua) -> None:
    for number in range(5):
        stage(lua, "run", "i", b"in", "o", b"out", operation=f"op{number}")
        bring(lua, f"old-{number}", operation=f"op{number}", ended=T0 - 90_000, payloads=2, state=0, events=0)
    lua.create("own")
    lua.finish(lua.claim_only())
    lua.later(10_000)
    # Its own run has been here for 10 s, as the others have, whose end is long ago.
    assert purge(lua, 20_000) == ["ok", 0, 0, [1, 5]]
    lua.create("later")
    lua.finish(lua.claim_only())
    assert purge(lua, 10_000, limit=3) == ["ok", 3, 1, [], b"old-0", b"old-1", b"old-2"]
    assert purge(lua, 10_000) == ["ok", 3, 0, [], b"old-3", b"old-4", b"own"]
    assert lua.listed("done:order:succeeded") == ["later"]
    audit(lua)


def test_a_purge_goes_on_behind_those_that_stay(lua: Lua) -> None:
    lua.create("own")
    lua.finish(lua.claim_only())
    lua.later(100_000)
    for number in range(5):
        stage(lua, "run", "i", b"in", "o", b"out", operation=f"op{number}")
        bring(lua, f"old-{number}", operation=f"op{number}", ended=T0 - 90_000, payloads=2, state=0, events=0)
    assert purge(lua, 50_000, limit=3) == ["ok", 0, 1, [1, 3]]
    assert purge(lua, 50_000, staying=3, limit=3) == ["ok", 1, 1, [1, 2], b"own"]
    assert purge(lua, 50_000, staying=5, limit=3) == ["ok", 0, 0, []]
    lua.later(50_000)
    assert purge(lua, 50_000) == ["ok", 5, 0, [], *(b"old-%d" % number for number in range(5))]
    audit(lua)
