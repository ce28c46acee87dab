"""Many runs in one call of create_run, commit_run or finish_run: each is judged by itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lua.harness import PREFIX, T0, Held, Lua, new_run

Row = tuple[dict[str, Any], tuple[bytes, ...]]


def send(lua: Lua, script: str, *rows: Row) -> list[Any]:
    """One call with these rows; their replies, words as text."""
    text = getattr(lua.scripts, script)
    commands = [text.call(PREFIX, records, **arguments) for arguments, records in rows]
    flat = [part for command in commands for part in command[4:]]
    replies = lua.redis.execute_command(*commands[0][:4], *flat)
    return [reply.decode() if isinstance(reply, bytes) else [part.decode() for part in reply] for reply in replies]


def twice(lua: Lua, script: str, *rows: Row) -> list[Any]:
    """The same call again must answer the same and change nothing."""
    first = send(lua, script, *rows)
    before = lua.dump()
    assert send(lua, script, *rows) == first
    assert lua.dump() == before
    return first


def new(run_id: str, **changes: Any) -> Row:
    return new_run(run_id, **changes), ()


def committing(held: Held, *records: bytes) -> Row:
    return held.shown(*records), records


END = b"succeeded\norder\nout"
"""What whoever awaits a run of `finishing` is told."""


def finishing(held: Held, *records: bytes, status: str = "succeeded") -> Row:
    return {**held.shown(*records), "status": status, "payload": b"out"}, records


def claimed(lua: Lua, *names: str, **changes: Any) -> list[Held]:
    for name in names:
        lua.create(name, **changes)
    return lua.claim()


def test_runs_of_several_queues_and_workflows_are_created_in_one_call(lua: Lua) -> None:
    rows = [
        new("run-1", queue="mail"),
        new("run-2", workflow="other", available="+5"),
        new("run-3", deadline="+9", input=b""),
        new("run-4", version="v2", idem="k", idem_ms=60_000, fingerprint="print"),
    ]
    assert twice(lua, "create_run", *rows) == [["created"]] * 4
    assert [lua.status(f"run-{number}") for number in (1, 2, 3, 4)] == ["pending", "waiting:start", *["pending"] * 2]
    assert (lua.entries(queue="mail"), lua.entries()) == (["run-1"], ["run-3", "run-4"])
    assert (lua.listed("runs:order"), lua.listed("runs:other")) == (["run-1", "run-3", "run-4"], ["run-2"])


def test_a_key_that_comes_twice_in_one_call_names_one_run(lua: Lua) -> None:
    key = {"idem": "k", "idem_ms": 60_000, "fingerprint": "print"}
    rows = [new("run-1", **key), new("run-2", **key), new("run-3", **{**key, "fingerprint": "other"}), new("run-4")]
    assert twice(lua, "create_run", *rows) == [["created"], ["existing", "run-1"], ["conflict", "run-1"], ["created"]]
    assert [bool(lua.fields(f"run-{number}")) for number in (1, 2, 3, 4)] == [True, False, False, True]


def test_a_run_that_comes_twice_in_one_call_is_created_once(lua: Lua) -> None:
    assert send(lua, "create_run", new("run-1"), new("run-1"), new("run-2")) == [["created"]] * 3
    assert lua.entries() == ["run-1", "run-2"]


@pytest.mark.parametrize("key", ["runs:bad", "q:bad:0", "idem:bad"])
def test_a_run_that_cannot_be_created_keeps_no_other_from_being_created(lua: Lua, key: str) -> None:
    if key == "idem:bad":
        lua.redis.lpush(PREFIX + key, "not a string")
    else:
        lua.redis.set(PREFIX + key, "not what it should be")
    bad = {"workflow": "bad", "queue": "bad", "idem": "bad", "idem_ms": 60_000, "fingerprint": "print"}
    replies = send(lua, "create_run", new("run-1"), new("bad-1", **bad), new("bad-2", **bad), new("run-2"))
    assert replies == [["created"], ["broken"], ["broken"], ["created"]]
    assert (lua.fields("bad-1"), lua.fields("bad-2")) == ({}, {})
    lua.delete(key)
    assert (lua.listed("runs:bad"), lua.claim(queues=["bad"])) == ([], [])
    assert send(lua, "create_run", new("bad-2", **bad)) == [["created"]]


def test_each_holder_in_a_call_gets_the_verdict_of_its_own_run(lua: Lua) -> None:
    names = ("fine", "again", "behind", "fenced", "canceled", "late", "more")
    held = {claim.run_id: claim for claim in claimed(lua, *names)}
    lua.create("deadline", deadline="+5")
    held["late"] = lua.claim_only()
    lua.cancel("canceled")
    lua.expire(held["fenced"])
    lua.reclaim()
    lua.later(5)
    again = committing(held["again"], b"one")
    send(lua, "commit_run", again)
    held["behind"].mark = "7:70"
    nobody = Held(**{**held["fine"].__dict__, "run_id": "nobody"})
    rows = [
        committing(held["fine"], b"a", b"b"),
        again,
        committing(held["behind"], b"c"),
        committing(held["fenced"], b"d"),
        committing(held["canceled"], b"e"),
        committing(held["late"], b"f"),
        committing(nobody, b"g"),
        committing(held["more"]),
    ]
    words = ["ok", "ok", "behind", "fenced", "ended", "ended", "missing", "ok"]
    assert twice(lua, "commit_run", *rows) == words
    assert (lua.records("fine"), lua.records("again"), lua.records("more")) == ([b"a", b"b"], [b"one"], [])
    assert [lua.records(name) for name in ("behind", "fenced", "canceled", "deadline")] == [[]] * 4


@pytest.mark.parametrize("script", ["commit_run", "finish_run"])
def test_a_broken_run_keeps_no_other_from_being_written(lua: Lua, script: str) -> None:
    held = claimed(lua, "run-1", "run-2", "run-3")
    key = f"{PREFIX}run:run-2"
    kept = lua.redis.dump(key)
    lua.redis.set(key, "not a hash")
    row = committing if script == "commit_run" else finishing
    assert send(lua, script, *(row(claim, b"one") for claim in held)) == ["ok", "broken", "ok"]
    lua.redis.restore(key, 0, kept, replace=True)
    assert (lua.records("run-1"), lua.records("run-2"), lua.records("run-3")) == ([b"one"], [], [b"one"])
    assert send(lua, script, row(held[1], b"one")) == ["ok"]


def test_runs_of_several_queues_lanes_and_workflows_end_in_one_call(lua: Lua) -> None:
    lua.create("woken", available="+5")
    lua.create("mail", queue="mail", deadline="+9000")
    lua.create("other", workflow="other")
    lua.release(lua.claim_only(queues=["default"]))
    lua.later(5)
    held = lua.claim(queues=["default", "mail"])
    assert sorted(claim.run_id for claim in held) == ["mail", "other", "woken"]
    rows = [finishing(claim, b"one", status="failed" if claim.run_id == "mail" else "succeeded") for claim in held]
    assert twice(lua, "finish_run", *rows) == ["ok"] * 3
    assert (lua.listed("done:order:failed"), lua.listed("done:order:succeeded")) == (["mail"], ["woken"])
    assert (lua.listed("done:other:succeeded"), lua.listed("runs:order"), lua.due("mail")) == (["other"], [], None)


def test_a_run_that_is_finished_twice_in_one_call_is_finished_once(lua: Lua) -> None:
    (held,) = claimed(lua, "run-1")
    row = finishing(held, b"one")
    assert send(lua, "finish_run", row, row) == ["ok", "ok"]
    assert lua.records() == [b"one"]


def test_a_full_call_of_a_hundred_runs_is_applied_whole(lua: Lua) -> None:
    names = [f"run-{number}" for number in range(100)]
    assert send(lua, "create_run", *(new(name) for name in names)) == [["created"]] * 100
    held = lua.claim(limit=100)
    assert send(lua, "commit_run", *(committing(claim, b"one") for claim in held)) == ["ok"] * 100
    for claim in held:
        claim.mark = "1:5"
    assert send(lua, "finish_run", *(finishing(claim, b"two") for claim in held)) == ["ok"] * 100
    assert sorted(lua.listed("done:order:succeeded")) == sorted(names)
    assert lua.entries() == []


def test_only_what_somebody_awaits_is_published(lua: Lua) -> None:
    held = claimed(lua, "run-1", "run-2", "run-3")
    channels = [f"{PREFIX}done:{claim.run_id}" for claim in held]
    with lua.redis.pubsub() as listener:
        for channel in channels:
            listener.ssubscribe(channel)
            assert listener.get_sharded_message(timeout=5)["type"] == "ssubscribe"
        for run_id in ("run-1", "run-3"):
            assert lua.twice("await_run", run_id=run_id) == ["not yet", b"order", b"running"]
        send(lua, "finish_run", *(finishing(claim) for claim in held))
        lua.redis.spublish(channels[1], "last")
        heard = [listener.get_sharded_message(timeout=5) for _ in range(3)]
    told = sorted((message["channel"].decode(), message["data"]) for message in heard)
    assert told == [(channels[0], END), (channels[1], b"last"), (channels[2], END)]


@pytest.mark.parametrize("ending", ["succeeded", "failed", "canceled", "deadline"])
def test_whoever_asks_how_a_run_ended_is_told(lua: Lua, ending: str) -> None:
    held = lua.take("run-1", deadline="+5")
    if ending in ("succeeded", "failed"):
        lua.finish(held, status=ending, payload=b"\x00payload")
    elif ending == "canceled":
        lua.cancel()
    else:
        lua.later(5)
        lua.wake()
    payload = {"succeeded": [b"\x00payload", None, None], "failed": [None, b"\x00payload", None]}
    expected = payload.get(ending, [None, None, ending.encode()])
    status = b"failed" if ending == "deadline" else ending.encode()
    assert lua.twice("await_run", run_id="run-1") == ["ended", b"order", status, *expected]
    assert lua.twice("await_run", run_id="nobody") == ["missing"]
    assert lua.now >= T0
