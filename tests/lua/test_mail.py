"""Mailboxes: what is sent is there once, wakes who waits for it, and is taken in the step that records it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lua.harness import PREFIX, T0, Lua


def signal(lua: Lua, name: str = "go", run_id: str = "run-1", **changes: Any) -> str:
    wanted = {"item": b"s\n" + name.encode() + b"\n\x01", "once": f"{run_id}-{name}-{lua.operations}", "ms": 60_000}
    lua.operations += 1
    arguments = {"run_id": run_id, "name": f"s:{name}", "most": 1_000, **wanted, **changes}
    word: str = lua.twice("signal_run", **arguments)[0]
    return word


def mail(lua: Lua, run_id: str = "run-1", after: int = 0, size: int = 1_000_000) -> list[Any]:
    return lua.call("read_mail", run_id=run_id, after=after, bytes=size)[1:]


def test_mail_is_numbered_in_the_order_in_which_it_comes_and_read_from_where_one_was(lua: Lua) -> None:
    lua.create()
    for name in ("a", "b", "c"):
        assert signal(lua, name) == "ok"
    assert mail(lua) == [3, 0, 1, b"s\na\n\x01", 2, b"s\nb\n\x01", 3, b"s\nc\n\x01"]
    assert mail(lua, after=2) == [3, 0, 3, b"s\nc\n\x01"]
    assert mail(lua, size=3)[:3] == [1, 1, 1]
    assert mail(lua, run_id="nobody") == [0, 0]


def buffered(lua: Lua, *run_ids: str, most: int = 20, size: int = 1_000_000) -> list[Any]:
    return lua.call("list_buffered", list(run_ids), most=most, bytes=size)[1:]


def test_the_names_of_signals_are_listed_without_their_data(lua: Lua) -> None:
    lua.create()
    lua.create("run-2")
    for name in ("b", "a", "b"):
        assert signal(lua, name) == "ok"
    lua.redis.hset(f"{PREFIX}mail:run-1", "4", b"c\nchild\nsucceeded\n\n\x01")
    assert buffered(lua, "run-1", "run-2", "nobody") == [[b"run-1", 0, b"b", 2, b"a", 1]]
    assert buffered(lua, "run-1", most=2) == [[b"run-1", 2, b"b", 1, b"a", 1]]
    lua.redis.hdel(f"{PREFIX}mail:run-1", "4")


def test_mail_that_is_too_large_to_look_at_is_counted(lua: Lua) -> None:
    lua.create()
    assert signal(lua, "small") == "ok"
    assert signal(lua, "large", item=b"s\nlarge\n" + b"x" * 1_000) == "ok"
    assert buffered(lua, "run-1", size=500) == [[b"run-1", 1, b"small", 1]]
    assert buffered(lua, "run-1", size=5) == [[b"run-1", 2]]


def test_no_more_than_a_thousand_items_are_put_in_order_for_all_runs_together(lua: Lua) -> None:
    sizes = {"large": 1_001, "one": 600, "two": 401, "three": 400}
    for run_id, size in sizes.items():
        lua.redis.hset(f"{PREFIX}mail:{run_id}", mapping={str(number): "s\ngo\n" for number in range(1, size + 1)})
    assert buffered(lua, *sizes, most=1) == [
        [b"large", 1_001],
        [b"one", 599, b"go", 1],
        [b"two", 401],
        [b"three", 399, b"go", 1],
    ]
    lua.redis.flushall()


def test_a_mailbox_that_is_none_hides_no_other(lua: Lua) -> None:
    lua.create()
    assert signal(lua, "go") == "ok"
    lua.redis.set(f"{PREFIX}mail:damaged", "no hash")
    lua.redis.hset(f"{PREFIX}mail:odd", mapping={"x": "no item", "2": "s\nno end"})
    assert buffered(lua, "damaged", "odd", "run-1") == [[b"odd", 0], [b"run-1", 0, b"go", 1]]
    lua.redis.flushall()


def test_a_parked_run_is_woken_by_what_it_waits_for_and_by_nothing_else(lua: Lua) -> None:
    held = lua.take()
    assert lua.park(held, reason="signal", seen=0, wants="\ns:go\ns:stop\n") == "ok"
    assert (lua.status(), lua.due()) == ("waiting:signal", None)
    assert signal(lua, "o") == "ok"
    assert lua.status() == "waiting:signal"
    assert signal(lua, "stop") == "ok"
    assert (lua.status(), lua.entries("w")) == ("pending", ["run-1"])
    assert signal(lua, "go") == "ok"
    assert lua.entries("w") == ["run-1"]
    assert lua.claim_only().fields["m"] == b"3"


def test_a_run_that_waits_for_code_finds_its_mail_later(lua: Lua) -> None:
    held = lua.take()
    assert lua.park(held, reason="signal", seen=0, wants="\ns:go\n", due=T0 + 5) == "ok"
    lua.later(5)
    lua.wake()
    lua.shelve(lua.claim_only(), "suspended")
    assert signal(lua) == "ok"
    assert lua.status() == "waiting:suspended"


def test_a_parking_run_whose_holder_has_not_seen_all_mail_stays_with_it(lua: Lua) -> None:
    held = lua.take()
    assert signal(lua) == "ok"
    arguments = {**held.shown(b"one"), "reason": "signal", "due": "", "wants": "\ns:go\n"}
    assert lua.twice("park_run", [b"one"], **arguments, seen=0) == ["mail"]
    assert (lua.status(), lua.records()) == ("running", [b"one"])
    held.mark = arguments["after"]
    assert lua.park(held, b"two", effects=["take", 1], reason="signal", wants="\ns:go\n", seen=1) == "ok"
    assert (lua.status(), lua.redis.exists(f"{PREFIX}mail:run-1")) == ("waiting:signal", 0)


def test_a_commit_says_that_there_is_mail_only_to_a_holder_that_waits_for_some(lua: Lua) -> None:
    held = lua.take()
    signal(lua)
    assert lua.commit(held, b"one") == "ok"
    assert lua.twice("commit_run", [b"two"], **held.shown(b"two"), renew="", forget="", seen=0) == ["mail"]
    held.mark = held.shown(b"two")["after"]
    assert lua.commit(held, b"three", seen=1) == "ok"


def test_mail_is_taken_by_the_step_that_records_it_and_by_no_call_that_is_refused(lua: Lua) -> None:
    held = lua.take()
    signal(lua, "a")
    signal(lua, "b")
    before, held.mark = held.mark, "7:70"
    assert lua.commit(held, b"wrong", effects=["take", 1]) == "behind"
    held.mark = before
    taking = {**held.shown(b"one"), "renew": "", "forget": "", "seen": 2}
    assert lua.twice("commit_run", [b"one"], ["take", 1], **taking) == ["ok"]
    assert mail(lua) == [2, 0, 2, b"s\nb\n\x01"]


def test_an_effect_that_nobody_knows_is_refused_and_nothing_is_recorded(lua: Lua) -> None:
    held = lua.take()
    assert lua.commit(held, b"one", effects=["conjure", 1]) == "broken"
    assert lua.records() == []
    assert lua.commit(held, b"one") == "ok"


def test_a_full_mailbox_refuses_and_a_run_that_has_ended_or_is_not_there_gets_nothing(lua: Lua) -> None:
    held = lua.take()
    for _ in range(3):
        assert signal(lua, most=3) == "ok"
    assert signal(lua, most=3) == "full"
    assert mail(lua)[0] == 3
    lua.finish(held)
    assert signal(lua) == "ended"
    assert signal(lua, run_id="nobody") == "missing"
    assert lua.redis.exists(f"{PREFIX}mail:nobody") == 0


def test_a_heartbeat_tells_how_much_mail_there_is(lua: Lua) -> None:
    held = lua.take()
    assert lua.renew(held) == []
    signal(lua)
    assert lua.renew(held) == ["run-1 1"]


@pytest.mark.parametrize("name", ["a", "go", "s:go"])
def test_names_match_whole(lua: Lua, name: str) -> None:
    lua.park(lua.take(), reason="signal", seen=0, wants="\ns:a go\ns:got\n")
    signal(lua, name)
    assert lua.status() == "waiting:signal"
