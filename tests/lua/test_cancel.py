"""cancel_run: one atomic verdict, whatever the run is doing."""

from __future__ import annotations

import pytest

from tests.lua.harness import T0, Lua


def reach(lua: Lua, status: str) -> None:
    """Bring run-1 to a status."""
    lua.create("run-1", deadline="+9000", available="+5" if status == "waiting:start" else "")
    if status in ("pending", "waiting:start"):
        return
    held = lua.claim_only()
    if status == "waiting:retry":
        lua.park(held, due=T0 + 5, reason="retry")
    elif status.startswith("waiting:s"):
        lua.shelve(held, status.partition(":")[2], problem=b"why")


STATUSES = ["pending", "running", "waiting:start", "waiting:retry", "waiting:stranded", "waiting:suspended"]


@pytest.mark.parametrize("status", STATUSES)
def test_a_run_of_any_status_can_be_canceled_and_canceled_again(lua: Lua, status: str) -> None:
    reach(lua, status)
    assert lua.status() == status
    assert lua.twice("cancel_run", run_id="run-1") == ["canceled"]
    fields = lua.fields()
    assert (fields["s"], fields["ca"], fields["t"]) == (b"canceled", b"canceled", b"%d" % T0)
    assert not fields.keys() & {"e", "d", "p", "er"}
    assert lua.listed("done:order:canceled") == ["run-1"]


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_canceling_a_run_that_has_ended_says_how(lua: Lua, status: str) -> None:
    lua.finish(lua.take(), status=status)
    before = lua.dump()
    assert lua.cancel() == ["already", status]
    assert lua.dump() == before


def test_the_holder_of_a_canceled_run_is_shut_out_and_told(lua: Lua) -> None:
    held = lua.take(worker="w7")
    with lua.redis.pubsub() as listener:
        listener.ssubscribe("rf:{shop:0}:worker:w7")
        assert listener.get_sharded_message(timeout=5)["type"] == "ssubscribe"
        lua.cancel()
        message = listener.get_sharded_message(timeout=5)
    assert message["data"] == b"run-1"
    before = lua.dump()
    assert lua.commit(held, b"late") == "ended"
    assert lua.park(held, b"late", due=T0 + 1) == "ended"
    assert lua.finish(held, b"late") == "ended"
    assert (lua.release(held), lua.shelve(held)) == ("ended", "ended")
    assert lua.note(held) == "fenced"
    assert lua.dump() == before


def test_a_canceled_run_is_never_woken_or_claimed(lua: Lua) -> None:
    lua.create("run-1")
    lua.create("run-2", available="+5")
    lua.cancel("run-1")
    lua.cancel("run-2")
    lua.later(10)
    assert lua.claim() == []


def test_a_run_whose_group_was_lost_can_be_canceled(lua: Lua) -> None:
    held = lua.take()
    lua.redis.delete(held.stream)
    assert lua.cancel() == ["canceled"]
