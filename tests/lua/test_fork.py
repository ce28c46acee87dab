"""stage_fork, and create_run with the record that was put aside."""

from __future__ import annotations

from typing import Any

from tests.lua.harness import PREFIX, Lua, audit, new_run, started

RECORDS = [b"record-%d" % number for number in range(4)]
BYTES = sum(map(len, RECORDS))


def stage(lua: Lua, first: int, records: list[bytes]) -> None:
    tail = [part for number, record in enumerate(records, first) for part in (number, record)]
    assert lua.call("stage_fork", tail, run_id="run-1", keep_ms=60_000) == ["ok"]


def create(lua: Lua, mark: str = f"4:{BYTES}") -> list[Any]:
    fields = ["a", 5, "f", "0:-", "h", mark, "ff", "run-0"]
    return lua.twice("create_run", fields, **new_run("run-1"))


def test_a_run_begins_with_the_records_that_were_put_aside_in_pieces(lua: Lua) -> None:
    stage(lua, 0, RECORDS[:3])
    stage(lua, 3, RECORDS[3:])
    stage(lua, 3, RECORDS[3:])
    assert create(lua) == ["created"]
    assert lua.records() == RECORDS
    assert lua.redis.ttl(f"{PREFIX}run:run-1") == -1
    assert not lua.redis.exists(f"{PREFIX}fork:run-1")
    held = lua.claim_only()
    assert (held.fence.partition(":")[0], held.mark, held.fields["a"]) == ("1", f"4:{BYTES + 2}", b"5")
    assert lua.finish(held, b"more") == "ok"


def test_what_is_not_all_there_makes_no_run_and_goes_by_itself(lua: Lua) -> None:
    stage(lua, 0, RECORDS[:3])
    assert create(lua) == ["unstaged"]
    rule = started(["unique", "aa", "reject"], fields=["a", 5, "f", "0:-", "h", f"4:{BYTES}"])
    assert lua.twice("start_runs", *rule, **new_run("run-1")) == ["unstaged"]
    assert not lua.redis.exists(f"{PREFIX}run:run-1")
    assert lua.listed("runs:order") == []
    assert 0 < lua.redis.pttl(f"{PREFIX}fork:run-1") <= 60_000
    stage(lua, 3, RECORDS[3:])
    assert create(lua) == ["created"]


def test_a_run_with_a_long_record_is_not_read_whole_before_its_size_is_known(lua: Lua) -> None:
    records = [b"x" * 6_000] * 4
    stage(lua, 0, records)
    assert create(lua, "4:24000") == ["created"]
    held = lua.claim_only(run_bytes=10_000)
    assert "0" not in held.fields
    assert held.mark == "4:24002"


def test_a_run_with_a_record_has_the_limits_of_the_other_and_no_place_among_new_ones_of_its_fair_key(lua: Lua) -> None:
    for number in range(4):
        lua.create(f"new-{number}", {"fp": "ff"})
    stage(lua, 0, RECORDS)
    fields = ["a", 5, "f", "0:-", "h", f"4:{BYTES}", "lk", "aa:1:0", "pr", "5", "fp", "ff"]
    assert lua.twice("create_run", fields, **new_run("run-1", available="+5")) == ["created"]
    lua.later(5)
    lua.wake()
    assert lua.entries(lane="5") == ["run-1"]
    assert lua.twice("pause_run", run_id="run-1") == ["paused"]
    assert lua.resume() == ["resumed", "pending"]
    audit(lua)
    assert [held.run_id for held in lua.claim(limit=1)] == ["run-1"]
    assert (lua.listed("limit:aa"), len(lua.listed("fair:ff"))) == (["run-1"], 4)
    audit(lua)
