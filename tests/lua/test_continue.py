"""continue_run: the same run with an empty record, in one step."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lua.harness import T0, Held, Lua, audit, new_run


def continued(held: Held, data: bytes = b"more") -> dict[str, Any]:
    shown = held.shown()
    return {"input": data, **{name: shown[name] for name in ("run_id", "fence", "entry", "before")}}


def test_the_run_goes_back_to_its_stream_with_the_new_input_and_nothing_of_its_record(lua: Lua) -> None:
    held = lua.take(deadline="+9000")
    lua.commit(held, b"one", b"two", effects=["compensable"])
    lua.later(7)
    assert lua.twice("continue_run", [], **continued(held)) == ["ok"]
    audit(lua)
    fields = lua.fields()
    assert (fields["s"], fields["i"], fields["h"], fields["ct"]) == (b"pending", b"more", b"0:4", b"1")
    assert (fields["dl"], fields["c"]) == (b"%d" % (T0 + 9000), b"%d" % T0)
    assert not fields.keys() & {"a", "cp", "0", "1"}
    later = lua.claim_only("w2")
    assert (later.fence.split(":")[0], later.mark, later.fields["a"]) == ("2", "0:4", b"%d" % (T0 + 7))
    assert lua.commit(later, b"new") == "ok"
    audit(lua)


def test_a_history_of_any_length_goes(lua: Lua) -> None:
    held = lua.take()
    for _ in range(6):
        assert lua.commit(held, *[b"r"] * 400) == "ok"
    assert lua.call("continue_run", [], **continued(held)) == ["ok"]
    audit(lua)
    assert lua.records() == []


def test_mail_that_was_not_taken_stays_and_effects_are_done(lua: Lua) -> None:
    lua.create("run-0000")
    held = lua.claim_only()
    lua.commit(held, b"asked", effects=["kid", "child-0000", "leave"])
    for number, once in enumerate(("a", "b")):
        lua.call("signal_run", run_id="run-0000", name="s:go", item=b"%d" % number, once=once, ms=1000, most=10)
    assert lua.twice("continue_run", ["drop", "child-0000", "take", 1], **continued(held)) == ["ok"]
    assert lua.redis.hgetall("rf:{shop:0}:mail:run-0000") == {b"2": b"1"}
    assert not lua.redis.exists("rf:{shop:0}:kids:run-0000")
    assert lua.fields("run-0000")["m"] == b"2"


def test_who_does_not_hold_the_run_changes_nothing(lua: Lua) -> None:
    held = lua.take()
    assert lua.commit(held, b"one") == "ok"
    behind = Held(**{**held.__dict__, "mark": "0:2"})
    before = lua.dump()
    assert lua.call("continue_run", [], **continued(behind)) == ["behind"]
    forged = Held(**{**held.__dict__, "fence": "1:forged"})
    assert lua.call("continue_run", [], **continued(forged)) == ["fenced"]
    assert lua.call("continue_run", [], **{**continued(held), "run_id": "run-9"}) == ["missing"]
    assert lua.dump() == before
    lua.cancel()
    before = lua.dump()
    assert lua.call("continue_run", [], **continued(held)) == ["ended"]
    assert lua.dump() == before


@pytest.mark.parametrize("is_compensable", [False, True])
def test_a_deadline_that_has_passed_is_the_verdict(lua: Lua, is_compensable: bool) -> None:
    held = lua.take(deadline="+10")
    assert lua.commit(held, b"one", effects=["compensable"] if is_compensable else []) == "ok"
    lua.later(10)
    word = "fenced" if is_compensable else "ended"
    assert lua.twice("continue_run", [], **continued(held)) == [word]
    assert lua.records() == [b"one"]
    assert lua.status() == ("pending" if is_compensable else "failed")
    audit(lua)


def test_other_runs_are_left_alone(lua: Lua) -> None:
    held = lua.take()
    lua.call("create_run", [], **new_run("run-2"))
    other = lua.fields("run-2")
    lua.call("continue_run", [], **continued(held))
    assert lua.fields("run-2") == other
