"""A verdict from outside on a run that has compensations: it is fixed at once, and carried out once they have ended."""

from __future__ import annotations

import pytest

from tests.lua.harness import T0, Held, Lua, audit, new_run

RECORD = b"compensation"


def take(lua: Lua, **changes: str) -> Held:
    """A run that is held, with something to undo."""
    held = lua.take(**changes)
    assert lua.commit(held, RECORD, effects=["compensable"]) == "ok"
    return held


@pytest.mark.parametrize("status", ["pending", "running", "waiting:retry", "waiting:stranded", "waiting:suspended"])
def test_a_canceled_run_goes_back_to_its_stream_whatever_it_is_doing(lua: Lua, status: str) -> None:
    held = take(lua, deadline="+9000")
    if status == "pending":
        lua.release(held)
    elif status == "waiting:retry":
        lua.park(held, due=T0 + 5, reason="retry")
    elif status.startswith("waiting"):
        lua.shelve(held, status.partition(":")[2], problem=b"why" if status.endswith("suspended") else b"")
    assert lua.status() == status
    assert lua.twice("cancel_run", run_id="run-1") == ["canceling"]
    audit(lua)
    assert (lua.status(), lua.fields()["vd"]) == ("pending", b"canceled canceled %d" % (T0 + 9000))
    assert not lua.fields().keys() & {"ca", "er", "dl", "d"}
    assert lua.claim_only("w2").fields["vd"] == lua.fields()["vd"]
    audit(lua)


def test_its_holder_is_shut_out_and_told(lua: Lua) -> None:
    held = take(lua)
    with lua.redis.pubsub() as listener:
        listener.ssubscribe("rf:{shop:0}:worker:w1")
        assert listener.get_sharded_message(timeout=5)["type"] == "ssubscribe"
        lua.cancel()
        message = listener.get_sharded_message(timeout=5)
    assert message["data"] == b"run-1"
    before = lua.dump_without_leases()
    assert set(lua.holder_calls(held).values()) == {"fenced"}
    after = lua.dump_without_leases()
    assert {key for key in after if after[key] != before.get(key)} <= {b"rf:{shop:0}:workers", b"rf:{shop:0}:worker:w1"}


@pytest.mark.parametrize("by", ["wake", "commit", "park", "finish", "claim"])
def test_a_deadline_is_the_verdict_once_and_then_counts_no_more(lua: Lua, by: str) -> None:
    held = take(lua, deadline="+10")
    if by == "claim":
        lua.release(held)
    lua.later(10)
    if by == "wake":
        lua.wake()
    elif by != "claim":
        assert {"commit": lua.commit, "park": lua.park, "finish": lua.finish}[by](held, b"late") == "fenced"
    audit(lua)
    later = lua.claim_only("w2")
    assert later.fields["vd"] == b"failed deadline %d" % (T0 + 10)
    assert lua.records() == [RECORD]
    lua.later(1_000_000)
    assert lua.wake() == (0, -1)
    assert lua.cancel() == ["already", "failed"]
    assert lua.commit(later, b"undone") == "ok"
    audit(lua)


@pytest.mark.parametrize(("status", "cause"), [("canceled", "canceled"), ("failed", "deadline")])
def test_the_end_carries_the_verdict_out(lua: Lua, status: str, cause: str) -> None:
    held = take(lua, deadline="+10")
    if status == "failed":
        lua.later(10)
        lua.wake()
    else:
        lua.cancel()
    held = lua.claim_only("w2")
    lua.call("await_run", run_id="run-1")
    shown = {**held.shown(b"undone"), "status": status, "payload": b""}
    with lua.redis.pubsub() as listener:
        listener.ssubscribe("rf:{shop:0}:done:run-1")
        assert listener.get_sharded_message(timeout=5)["type"] == "ssubscribe"
        assert lua.twice("finish_run", [b"undone"], ["verdict", cause], **shown) == ["ok"]
        # The status alone: whoever waits looks for the cause.
        assert listener.get_sharded_message(timeout=5)["data"] == status.encode()
    audit(lua)
    assert lua.call("await_run", run_id="run-1") == ["ended", b"order", status.encode(), None, b"", cause.encode()]
    assert lua.listed(f"done:order:{status}") == ["run-1"]


def test_a_parent_is_told_the_cause(lua: Lua) -> None:
    lua.create("parent-0000")
    parent = lua.claim_only()
    lua.commit(parent, b"asked", effects=["kid", "child-0000", "cancel"])
    lua.call("create_run", ["pa", "parent-0000"], **new_run("child-0000"))
    held = lua.claim_only()
    lua.commit(held, RECORD, effects=["compensable"])
    lua.cancel("child-0000")
    held = lua.claim_only("w2")
    lua.finish(held, status="canceled", payload=b"", effects=["verdict", "canceled", "tell", "parent-0000"])
    assert lua.redis.hvals("rf:{shop:0}:mail:parent-0000") == [b"c\nchild-0000\ncanceled\ncanceled\n"]


def test_a_run_that_kills_its_workers_is_poisoned_all_the_same(lua: Lua) -> None:
    take(lua)
    lua.cancel()
    lua.expire(lua.claim_only("w2"))
    lua.later(1)
    assert lua.reclaim("w", crash_limit=1) == ["end", 0, 1, 0]
    assert (lua.status(), lua.fields()["ca"]) == ("failed", b"poisoned")
    audit(lua)


def test_a_run_that_is_replaced_leaves_its_key_and_is_undone(lua: Lua) -> None:
    rule = ("unique", "k", "cancel_older")
    lua.start("run-1", rule)
    lua.commit(lua.claim_only(), RECORD, effects=["compensable"])
    assert lua.start("run-2", rule) == ["created", "run-2", ""]
    audit(lua)
    assert lua.fields("run-1")["vd"] == b"canceled replaced "
    assert lua.reconcile() == (2, 0)
    older = next(held for held in lua.claim("w2") if held.run_id == "run-1")
    lua.finish(older, status="canceled", payload=b"", effects=["verdict", "replaced"])
    audit(lua)


def test_a_start_of_a_key_whose_run_is_being_undone_meets_that_run(lua: Lua) -> None:
    lua.start("run-1", ("unique", "k", "reject"))
    lua.commit(lua.claim_only(), RECORD, effects=["compensable"])
    lua.cancel()
    assert lua.start("run-2", ("unique", "k", "reject")) == ["active", "run-1"]
