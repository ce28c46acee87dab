"""retry_run: a failed run goes on in place, once for each time that it is asked."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lua.harness import PREFIX, T0, Lua


def failed(lua: Lua, *records: bytes) -> dict[str, Any]:
    """A failed run, and the arguments with which it is retried; one record is appended."""
    held = lua.take()
    lua.finish(held, *records, status="failed", payload=b"why")
    before = lua.fields()["h"].decode()
    count, size = map(int, before.split(":"))
    return {"run_id": "run-1", "retry": 1, "before": before, "after": f"{count + 1}:{size + 4}", "deadline": ""}


def test_a_retried_run_is_claimed_with_its_record_and_ends_again(lua: Lua) -> None:
    arguments = failed(lua, b"one", b"two")
    assert lua.twice("retry_run", [b"moot"], **arguments) == ["retried"]
    assert lua.records() == [b"one", b"two", b"moot"]
    assert not lua.fields().keys() & {"er", "o", "t", "ca", "x"}
    assert (lua.listed("runs:order"), lua.listed("done:order:failed")) == (["run-1"], [])
    held = lua.claim_only()
    assert held.fence.startswith("2:")
    assert lua.finish(held, b"three") == "ok"
    assert (lua.listed("done:order:succeeded"), lua.fields()["rt"]) == (["run-1"], b"1")


def test_a_retry_that_is_asked_again_after_the_run_has_ended_anew_changes_nothing(lua: Lua) -> None:
    arguments = failed(lua)
    lua.call("retry_run", [b"moot"], **arguments)
    lua.finish(lua.claim_only(), status="failed", payload=b"again")
    before = lua.dump()
    assert lua.call("retry_run", [b"moot"], **arguments) == ["retried"]
    assert lua.dump() == before


def test_the_holder_that_failed_the_run_is_shut_out(lua: Lua) -> None:
    held = lua.take()
    lua.finish(held, status="failed", payload=b"why")
    mark = lua.fields()["h"].decode()
    lua.call("retry_run", [], run_id="run-1", retry=1, before=mark, after=mark, deadline="")
    assert set(lua.holder_calls(held).values()) == {"fenced"}


@pytest.mark.parametrize("status", ["pending", "running", "succeeded", "canceled"])
def test_only_a_failed_run_is_retried(lua: Lua, status: str) -> None:
    lua.create()
    if status == "canceled":
        lua.cancel()
    elif status != "pending":
        held = lua.claim_only()
        if status == "succeeded":
            lua.finish(held)
    mark = lua.fields()["h"].decode()
    before = lua.dump()
    reply = lua.call("retry_run", [], run_id="run-1", retry=1, before=mark, after=mark, deadline="")
    assert reply == ["already", status.encode()]
    assert lua.dump() == before


def test_a_record_that_is_not_the_one_that_was_read_is_refused(lua: Lua) -> None:
    arguments = failed(lua, b"one")
    before = lua.dump()
    assert lua.call("retry_run", [b"moot"], **{**arguments, "before": "0:2"}) == ["changed"]
    assert lua.call("retry_run", [b"moot"], **{**arguments, "run_id": "run-2"}) == ["missing"]
    assert lua.dump() == before


def test_a_run_that_ended_at_its_deadline_needs_a_new_one(lua: Lua) -> None:
    lua.create(deadline="+10")
    lua.later(20)
    lua.wake()
    arguments = {"run_id": "run-1", "retry": 1, "before": "0:2", "after": "0:2"}
    assert lua.call("retry_run", [], **arguments, deadline="") == ["late"]
    assert lua.twice("retry_run", [], **arguments, deadline="+50") == ["retried"]
    assert (lua.due(), lua.fields()["dl"]) == (T0 + 70, b"%d" % (T0 + 70))
    assert lua.claim_only().run_id == "run-1"


def test_a_retried_run_has_its_unique_key_again_unless_another_has_it_now(lua: Lua) -> None:
    only_one = ("unique", "k", "existing")
    lua.start("run-1", only_one)
    lua.finish(lua.claim_only(), status="failed", payload=b"why", effects=["release", "k"])
    lua.start("run-2", only_one)
    arguments = {"run_id": "run-1", "retry": 1, "before": "0:2", "after": "0:2", "deadline": ""}
    assert lua.call("retry_run", [], **arguments) == ["taken", b"run-2"]
    lua.cancel("run-2")
    assert lua.twice("retry_run", [], **arguments) == ["retried"]
    assert lua.redis.get(f"{PREFIX}unique:k") == b"run-1"


def test_a_poisoned_run_goes_on_with_its_crashes_forgotten(lua: Lua) -> None:
    lua.expire(lua.take())
    lua.reclaim(crash_limit=1)
    assert lua.fields()["ca"] == b"poisoned"
    assert lua.call("retry_run", [], run_id="run-1", retry=1, before="0:2", after="0:2", deadline="") == ["retried"]
    assert "x" not in lua.claim_only().fields
