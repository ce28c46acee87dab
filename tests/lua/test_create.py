"""create_run: a run exists from here on, once."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ResponseError

from tests.lua.harness import PREFIX, T0, Lua, audit, new_run

if TYPE_CHECKING:
    from collections.abc import Callable

HINTS: dict[str, Callable[[Lua], object]] = {
    "runs:order": lambda lua: lua.create(),
    "workflows": lambda lua: lua.create(),
    "delayed": lambda lua: lua.create(deadline="+1000"),
    "q:default:0": lambda lua: lua.create(),
}


def test_a_new_run_is_pending_with_one_entry_and_is_listed(lua: Lua) -> None:
    assert lua.create("run-1", version="v2", queue="mail", input=b"\x00in") == ["created"]
    entry = lua.fields()["e"]
    assert lua.fields() == {
        "w": b"order",
        "v": b"v2",
        "q": b"mail",
        "i": b"\x00in",
        "c": b"%d" % T0,
        "h": b"0:3",
        "s": b"pending",
        "e": entry,
    }
    assert lua.entries(queue="mail") == ["run-1"]
    assert lua.listed("runs:order") == ["run-1"]
    assert lua.redis.smembers(f"{PREFIX}workflows") == {b"order"}


def test_a_run_without_a_queue_goes_to_the_default_queue(lua: Lua) -> None:
    lua.create()
    assert lua.entries(queue="default") == ["run-1"]
    assert "q" not in lua.fields()


def test_a_run_that_is_available_later_waits_for_its_start_without_an_entry(lua: Lua) -> None:
    lua.create(available=str(T0 + 5_000))
    assert lua.status() == "waiting:start"
    assert lua.due() == T0 + 5_000
    assert lua.entries() == []


def test_a_delay_counts_from_the_clock_of_the_server(lua: Lua) -> None:
    lua.create(available="+5000", deadline="+100000000")
    fields = lua.fields()
    assert (fields["av"], fields["d"]) == (b"%d" % (T0 + 5_000),) * 2
    assert fields["dl"] == b"1700100000000"


@pytest.mark.parametrize("available", ["+0", str(T0), str(T0 - 1), "1"])
def test_a_run_that_is_available_already_is_pending(lua: Lua, available: str) -> None:
    lua.create(available=available)
    assert lua.status() == "pending"
    assert lua.due() is None


@pytest.mark.parametrize(("available", "deadline"), [("+2000", "+5000"), ("+5000", "+2000"), ("", "+2000")])
def test_a_run_is_looked_at_next_at_the_earlier_of_its_start_and_its_deadline(
    lua: Lua, available: str, deadline: str
) -> None:
    lua.create(available=available, deadline=deadline)
    assert lua.due() == T0 + 2_000


@pytest.mark.parametrize("changes", [{}, {"available": "+1"}, {"deadline": "+1"}, {"idem": "k", "idem_ms": 1000}])
def test_creating_a_run_twice_creates_it_once(lua: Lua, changes: dict[str, Any]) -> None:
    assert lua.twice("create_run", **new_run(**changes)) == ["created"]


def test_creating_a_run_again_leaves_it_alone_whatever_it_does_by_now(lua: Lua) -> None:
    held = lua.take()
    for step in (lambda: lua.commit(held, b"one"), lambda: lua.finish(held)):
        step()
        before = lua.dump()
        assert lua.create()[0] == "created"
        assert lua.dump() == before


DELETIONS: dict[str, Callable[[Lua], object]] = {
    "by hand": lambda lua: lua.call("delete_run", run_id="run-1"),
    "by retention": lambda lua: lua.call(
        "purge_runs", ["order", "succeeded", 0, 0], limit=9, all_bytes=1 << 20, tell=""
    ),
}


@pytest.mark.parametrize("delete", DELETIONS.values(), ids=DELETIONS)
@pytest.mark.parametrize("started", ["created", "started", "fields"])
def test_a_start_that_comes_again_late_starts_nothing_though_its_run_was_deleted(
    lua: Lua, delete: Callable[[Lua], object], started: str
) -> None:
    ways: dict[str, Callable[[], list[Any]]] = {
        "created": lua.create,
        "started": lambda: lua.start("run-1", ["unique", "u", "existing"]),
        "fields": lambda: lua.create(fields={"xp": "+90000"}, deadline="+100000"),
    }
    first = ways[started]()
    lua.later(1_000)
    lua.finish(lua.claim_only(), effects=["release", "u"])
    delete(lua)
    assert ways[started]() == first
    assert lua.redis.exists(f"{PREFIX}run:run-1", f"{PREFIX}runs:order", f"{PREFIX}delayed") == 0
    assert lua.entries() == []
    assert 240_000 < lua.redis.pttl(f"{PREFIX}idem:run-1") <= 299_000


def test_a_run_that_is_deleted_later_leaves_no_word_of_its_start(lua: Lua) -> None:
    lua.finish(lua.take())
    lua.later(5 * 60_000)
    lua.call("delete_run", run_id="run-1")
    assert lua.redis.keys(f"{PREFIX}*run-1*") == []


def test_where_the_clock_went_back_the_start_is_known_for_no_longer(lua: Lua) -> None:
    lua.finish(lua.take())
    lua.later(-3_600_000)
    lua.call("delete_run", run_id="run-1")
    assert 0 < lua.redis.pttl(f"{PREFIX}idem:run-1") <= 300_000


def test_an_idempotency_key_names_one_run_while_it_is_kept(lua: Lua) -> None:
    key = {"idem": "k" * 64, "idem_ms": 60_000, "fingerprint": "print"}
    assert lua.create("run-1", **key)[0] == "created"
    assert lua.twice("create_run", **new_run("run-2", **key)) == ["existing", b"run-1"]
    assert lua.twice("create_run", **new_run("run-3", **{**key, "fingerprint": "other"})) == ["conflict", b"run-1"]
    assert 0 < lua.redis.pttl(f"{PREFIX}idem:{'k' * 64}") <= 60_000
    lua.delete(f"idem:{'k' * 64}")  # its time is over
    assert lua.create("run-2", **key)[0] == "created"


def test_a_fingerprint_may_hold_any_text(lua: Lua) -> None:
    key = {"idem": "k", "idem_ms": 60_000, "fingerprint": "a b  {}\n%d"}
    lua.create("run-1", **key)
    assert lua.create("run-2", **key) == ["existing", b"run-1"]


def test_new_runs_leave_one_token_for_idle_workers_of_their_queue(lua: Lua) -> None:
    for number in range(3):
        lua.create(f"run-{number}", queue="mail")
    assert (lua.length("bell:mail"), lua.length("bell:default")) == (1, 0)


def test_the_watcher_is_told_only_when_the_first_due_time_comes_earlier(lua: Lua) -> None:
    lua.create("run-1", available="+5000")
    assert lua.length("alarm") == 1
    lua.delete("alarm")
    lua.create("run-2", available="+6000")
    assert lua.length("alarm") == 0
    lua.create("run-3", available="+4000")
    assert lua.length("alarm") == 1


def test_names_that_look_like_parts_of_keys_stay_apart(lua: Lua) -> None:
    lua.create("run-1", queue="a", workflow="x")
    lua.create("run-2", queue="a:0", workflow="x:failed")
    lua.create("run-3", queue="a:w", workflow="x:failed:failed")
    for queue, run_id in (("a", "run-1"), ("a:0", "run-2"), ("a:w", "run-3")):
        held = lua.claim_only(queues=[queue])
        assert held.run_id == run_id
        assert lua.finish(held, status="failed") == "ok"
    assert lua.listed("done:x:failed") == ["run-1"]


@pytest.mark.parametrize("hint", HINTS)
def test_a_key_of_the_wrong_type_leaves_no_run(lua: Lua, hint: str) -> None:
    lua.redis.set(PREFIX + hint, "not what it should be")
    with contextlib.suppress(ResponseError):
        assert HINTS[hint](lua) == ["broken"]
    assert lua.fields() == {}

    lua.delete(hint)
    lua.at(T0 + 10_000)
    lua.wake()
    lua.claim()
    lua.reconcile()
    audit(lua)
    HINTS[hint](lua)
    assert lua.status() == "pending"
