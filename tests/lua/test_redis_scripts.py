"""Scripts of `step.redis`: each runs once, with the record that it was asked for, and its reply becomes mail."""

from __future__ import annotations

from typing import Any

import pytest

from redisflow import codec
from tests.lua.harness import PREFIX, Held, Lua

INCREMENT = "return redis.call('INCRBY', KEYS[1], ARGV[1])"


def effect(script: str, *args: Any, keys: tuple[str, ...] = (), once: str = "step") -> list[Any]:
    return ["redis", once, script, len(keys), *keys, len(args), *args]


def mail(lua: Lua) -> list[bytes]:
    return [item for _, item in sorted((int(n), item) for n, item in lua.redis.hgetall(f"{PREFIX}mail:run-1").items())]


def reply_to(lua: Lua, held: Held, script: str, *args: Any, keys: tuple[str, ...] = ("count",)) -> tuple[str, Any]:
    """How a script ended, and with what."""
    number = len(mail(lua))
    asked = effect(script, *args, keys=keys, once=f"s{number}")
    assert lua.commit(held, b"asked", effects=asked, seen=number) == "mail"
    kind, once, status, payload = mail(lua)[-1].split(b"\n", 3)
    assert (kind, once) == (b"r", b"s%d" % number)
    return status.decode(), codec.decode(payload) if status == b"succeeded" else payload.decode()


def count(lua: Lua) -> bytes | None:
    found: bytes | None = lua.redis.get(f"{PREFIX}u:count")
    return found


def test_a_script_runs_in_the_step_that_records_it_and_its_reply_is_mail(lua: Lua) -> None:
    held = lua.take()
    shown = {**held.shown(b"asked"), "renew": "", "forget": "", "seen": 0}
    assert lua.twice("commit_run", [b"asked"], effect(INCREMENT, 5, keys=("count",)), **shown) == ["mail"]
    assert (lua.records(), count(lua)) == ([b"asked"], b"5")
    assert mail(lua) == [b"r\nstep\nsucceeded\n\x05"]


def test_a_run_that_was_to_be_parked_is_kept_by_its_holder_who_has_not_seen_the_reply(lua: Lua) -> None:
    held = lua.take()
    shown = {**held.shown(b"asked"), "reason": "signal", "due": "", "seen": 0, "wants": "\nr:step\n"}
    assert lua.twice("park_run", [b"asked"], effect(INCREMENT, 1, keys=("count",)), **shown) == ["mail"]
    assert (lua.status(), count(lua)) == ("running", b"1")


def test_a_script_that_is_asked_for_with_the_end_of_its_run_runs_too(lua: Lua) -> None:
    held = lua.take()
    shown = {**held.shown(b"asked"), "status": "succeeded", "payload": b"out"}
    assert lua.twice("finish_run", [b"asked"], effect(INCREMENT, 1, keys=("count",)), **shown) == ["ok"]
    assert (lua.status(), count(lua)) == ("succeeded", b"1")


def test_nothing_runs_for_a_holder_that_is_refused(lua: Lua) -> None:
    held = lua.take()
    given = effect(INCREMENT, 1, keys=("count",))
    before, held.mark = held.mark, "7:70"
    assert lua.commit(held, b"asked", effects=given) == "behind"
    held.mark, fence, held.fence = before, held.fence, "9:other"
    assert lua.commit(held, b"asked", effects=given) == "fenced"
    held.fence = fence
    lua.cancel()
    assert lua.finish(held, b"asked", effects=given) == "ended"
    assert (count(lua), mail(lua)) == (None, [])


def test_a_script_runs_once_even_where_what_came_after_it_failed_and_all_is_brought_again(lua: Lua) -> None:
    held = lua.take()
    given = effect(INCREMENT, 1, keys=("count",))
    assert lua.commit(held, b"asked", effects=[*given, "conjure", 1], seen=0) == "broken"
    assert (lua.records(), count(lua)) == ([], b"1")
    assert lua.commit(held, b"asked", effects=[*given, "take", 9], seen=0) == "mail"
    assert (lua.records(), count(lua), len(mail(lua))) == ([b"asked"], b"1", 1)


def test_several_scripts_run_in_their_order_and_other_effects_beside_them(lua: Lua) -> None:
    held = lua.take()
    first = effect("return redis.call('RPUSH', KEYS[1], ARGV[1], ARGV[2])", "a", b"\xff", keys=("l",), once="one")
    second = effect("return redis.call('LRANGE', KEYS[1], 0, -1)", keys=("l",), once="two")
    assert lua.commit(held, b"1", b"2", effects=[*first, "kid", "k", "leave", *second], seen=0) == "mail"
    replies = {once: codec.decode(payload) for _, once, _, payload in (item.split(b"\n", 3) for item in mail(lua))}
    assert replies == {b"one": 2, b"two": [b"a", b"\xff"]}
    assert lua.redis.hgetall(f"{PREFIX}kids:run-1") == {b"k": b"leave"}


@pytest.mark.parametrize(
    ("script", "reply"),
    [
        ("return nil", None),
        ("return", None),
        ("return false", None),
        ("return true", 1),
        ("return redis.call('GET', KEYS[1])", None),
        ("return redis.call('SET', KEYS[1], 'x')", b"OK"),
        ("return redis.status_reply('FINE')", b"FINE"),
        ("return 127", 127),
        ("return 128", 128),
        ("return -1", -1),
        ("return 3.99", 3),
        ("return -3.99", -3),
        ("return 9007199254740991", 2**53 - 1),
        ("return -9007199254740991", 1 - 2**53),
        ("return ''", b""),
        ("return string.rep('x', 300)", b"x" * 300),
        ("return ARGV[1]", b"\x00\r\n\xff"),
        ("return {1, {'two', {}}, false, 4}", [1, [b"two", []], None, 4]),
        ("return {1, nil, 3}", [1]),
        ("return {KEYS[1], #KEYS, #ARGV}", [f"{PREFIX}u:count".encode(), 1, 1]),
        ("redis.setresp(3) return redis.call('GET', KEYS[1])", None),
        ("-- a comment at the end\nreturn 1 -- here", 1),
    ],
)
def test_a_reply_becomes_a_plain_value(lua: Lua, script: str, reply: Any) -> None:
    held = lua.take()
    assert reply_to(lua, held, script, b"\x00\r\n\xff") == ("succeeded", reply)
    assert lua.commit(held, b"next") == "ok"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("return foo(", "script:1: unexpected symbol"),
        ("\nerror('sold out')", "script:2: sold out"),
        ("error({})", "table"),
        ("return redis.call('LPUSH', KEYS[1])", "rong number of args"),
        ("redis.call('SET', KEYS[1], 'x') return redis.call('LPUSH', KEYS[1], 1)", "WRONGTYPE"),
        ("return redis.error_reply('SOLD out')", "SOLD out"),
        ("return {1, {err = 'SOLD out'}}", "SOLD out"),
        ("stray = 1", "Attempt to"),
        ("string.rep = nil", "Attempt to"),
        ("return 2^53", "not exact"),
        ("return 0/0", "not exact"),
        ("return string.rep('x', 65536)", "more than 65,536 bytes"),
        ("local t = {} for _ = 1, 9 do t = {t} end return t", "nested too deep"),
        ("local t = {} t[1] = t return t", "nested too deep"),
        ("return tostring", "holds a"),
        ("local function f() return 1 + f() end return f()", "stack overflow"),
        ("\27Lua", "script:1"),
    ],
)
def test_a_script_that_fails_is_told_and_the_rest_of_the_step_is_done(lua: Lua, script: str, why: str) -> None:
    held = lua.take()
    status, told = reply_to(lua, held, script)
    assert status == "failed"
    assert why in told
    assert lua.records() == [b"asked"]
    assert lua.commit(held, b"next") == "ok"


def test_a_run_that_is_continued_as_new_keeps_no_receipts(lua: Lua) -> None:
    held = lua.take()
    assert reply_to(lua, held, INCREMENT, 1) == ("succeeded", 1)
    shown = {name: held.shown()[name] for name in ("run_id", "fence", "entry", "before")}
    given = ["take", 1, *effect(INCREMENT, 1, keys=("count",), once="last")]
    assert lua.twice("continue_run", given, input=b"more", **shown) == ["ok"]
    assert (lua.redis.exists(f"{PREFIX}fx:run-1"), count(lua)) == (0, b"2")


def test_receipts_and_replies_go_with_the_run_and_the_users_keys_stay(lua: Lua) -> None:
    held = lua.take()
    reply_to(lua, held, INCREMENT, 1)
    lua.finish(held)
    lua.later(5 * 60_000)  # until then it is known that it was started
    lua.call("delete_run", run_id="run-1")
    assert [key for key in lua.redis.keys("*") if b"run-1" in key] == []
    assert count(lua) == b"1"
