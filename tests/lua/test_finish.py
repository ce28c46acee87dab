"""finish_run: one terminal status, for ever."""

from __future__ import annotations

import pytest

from tests.lua.harness import PREFIX, T0, Lua


@pytest.mark.parametrize(("status", "field"), [("succeeded", "o"), ("failed", "er")])
def test_a_finished_run_keeps_its_outcome_and_leaves_every_place_but_one(lua: Lua, status: str, field: str) -> None:
    held = lua.take("run-1", deadline="+5000")
    lua.note(held)
    lua.later(7)
    assert lua.finish(held, b"last", status=status, payload=b"\x00outcome") == "ok"
    fields = lua.fields()
    assert (fields["s"].decode(), fields[field], fields["t"]) == (status, b"\x00outcome", b"%d" % (T0 + 7))
    assert lua.records() == [b"last"]
    assert not fields.keys() & {"d", "p", "x", "z"}
    assert (lua.entries(), lua.due(), lua.listed("runs:order")) == ([], None, [])
    assert lua.listed(f"done:order:{status}") == ["run-1"]


@pytest.mark.parametrize("records", [(), (b"last",)])
def test_finishing_twice_finishes_once(lua: Lua, records: tuple[bytes, ...]) -> None:
    held = lua.take()
    shown = {**held.shown(*records), "status": "failed", "payload": b"error"}
    assert lua.twice("finish_run", records, **shown) == ["ok"]


def test_a_terminal_status_is_final(lua: Lua) -> None:
    held = lua.take()
    lua.finish(held)
    before = lua.dump()
    answers = lua.holder_calls(held)
    lua.redis.zrem(f"{PREFIX}workers", "w1")
    assert answers == {
        "commit": "behind",
        "commit nothing": "ok",  # nothing was asked for that is not so
        "park": "behind",
        "finish": "behind",
        "release": "fenced",
        "shelve": "fenced",
        "note": "fenced",
        "renew": "fenced",
    }
    assert lua.cancel() == ["already", "succeeded"]
    assert lua.wake() == (0, -1)
    assert lua.reclaim() == ["end", 0, 0, 0]
    assert lua.dump() == {key: before.get(key) for key in lua.dump()}


@pytest.mark.parametrize("payload", [b"", b"\x00\n\n\xff", b"x" * 16_384, b"x" * 16_385], ids=len)
def test_whoever_awaits_the_result_is_told(lua: Lua, payload: bytes) -> None:
    held = lua.take()
    with lua.redis.pubsub() as listener:
        listener.ssubscribe(f"{PREFIX}done:run-1")
        assert listener.get_sharded_message(timeout=5)["type"] == "ssubscribe"
        assert lua.call("await_run", run_id="run-1") == ["not yet", b"order", b"running"]
        lua.finish(held, status="failed", payload=payload)
        message = listener.get_sharded_message(timeout=5)
    told = b"failed\norder\n" + payload if len(payload) <= 16_384 else b"failed"
    assert (message["type"], message["data"]) == ("smessage", told)


def test_a_run_that_was_parked_is_not_taken_for_finished(lua: Lua) -> None:
    held = lua.take()
    lua.park(held, due=T0 + 1)  # appends nothing, so the mark before and after is the same
    before = lua.dump()
    assert lua.finish(held) == "behind"
    assert lua.dump() == before


def test_work_streams_are_empty_when_all_runs_have_ended(lua: Lua) -> None:
    for number in range(20):
        lua.create(f"run-{number}")
    for held in lua.claim(limit=20):
        lua.finish(held)
    assert lua.redis.xlen(f"{PREFIX}q:default:0") == 0
    assert lua.redis.xpending(f"{PREFIX}q:default:0", "workers")["pending"] == 0
