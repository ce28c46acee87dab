"""Broadcasts: whoever is registered for the name is reached once, and late comers as long as it is kept."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lua.harness import PREFIX, Held, Lua

GO = "hash-of-go"
ITEM = b"s\ngo\n\x01"
WEEK_MS = 604_800_000


def waiting(lua: Lua, run_id: str, *, name: str = GO) -> Held:
    """A run that parks for a signal, and is registered for it in the same step."""
    held = lua.take(run_id)
    assert lua.park(held, b"asked", effects=["wait", name], reason="signal", seen=0, wants="\ns:go\n") == "ok"
    return held


def send(lua: Lua, once: str = "once", **changes: Any) -> tuple[str, bytes, list[str]]:
    """Its entry in the outbox, after whom to go on, and the runs that were reached."""
    wanted = {"item": ITEM, "ms": 60_000, "retain": "", "elsewhere": "no", "most": 1_000}
    reply = lua.twice("send_signal", **{"name": "s:go", "hash": GO, "once": once, **wanted, **changes})
    if reply[0] == "full":
        return "full", b"", []
    after, *runs = reply[3].split(b" ")
    return reply[1].decode(), after, [run.decode() for run in runs]


def carry(lua: Lua, once: str = "once", after: Any = 0, **changes: Any) -> tuple[bytes, list[str]]:
    wanted = {"item": ITEM, "ms": 60_000, "until_ms": "", "most": 1_000}
    reply = lua.twice("carry_signal", **{"name": "s:go", "hash": GO, "once": once, "after": after, **wanted, **changes})
    following, *runs = reply[1].split(b" ")
    return following, [run.decode() for run in runs]


def mail(lua: Lua, run_id: str) -> int:
    return int(lua.redis.hlen(f"{PREFIX}mail:{run_id}"))


def test_a_broadcast_wakes_all_who_wait_for_its_name_and_nobody_else(lua: Lua) -> None:
    waiting(lua, "run-1")
    waiting(lua, "run-2")
    waiting(lua, "other", name="hash-of-stop")
    lua.create("deaf")
    assert send(lua) == ("", b"", ["run-1", "run-2"])
    assert [lua.status(run) for run in ("run-1", "run-2", "other")] == ["pending", "pending", "waiting:signal"]
    assert [mail(lua, run) for run in ("run-1", "run-2", "other", "deaf")] == [1, 1, 0, 0]
    assert lua.redis.ttl(f"{PREFIX}cast:once") > 0


def test_a_run_that_takes_a_broadcast_and_waits_again_gets_the_next_one_only(lua: Lua) -> None:
    waiting(lua, "run-1")
    assert send(lua)[2] == ["run-1"]
    held = lua.claim_only()
    assert lua.commit(held, b"got", effects=["take", 1, "unwait", GO], seen=1) == "ok"
    assert "sg" not in lua.fields()
    assert lua.park(held, b"asked", effects=["wait", GO], reason="signal", seen=1, wants="\ns:go\n") == "ok"
    assert send(lua)[2] == ["run-1"]
    assert mail(lua, "run-1") == 0
    assert send(lua, "another")[2] == ["run-1"]
    assert mail(lua, "run-1") == 1


def test_registering_twice_and_leaving_twice_change_nothing(lua: Lua) -> None:
    held = lua.take()
    assert lua.commit(held, b"one", effects=["wait", GO, "wait", "second", "wait", GO]) == "ok"
    assert lua.fields()["sg"] == b"hash-of-go second"
    assert lua.commit(held, b"two", effects=["unwait", GO, "unwait", GO]) == "ok"
    assert lua.fields()["sg"] == b"second"
    assert lua.redis.exists(f"{PREFIX}signal:{GO}") == 0


@pytest.mark.parametrize("end", ["cancel", "finish"])
def test_who_has_ended_is_not_reached_and_taken_off_the_list(lua: Lua, end: str) -> None:
    waiting(lua, "run-1")
    if end == "cancel":
        lua.cancel("run-1")
    else:
        lua.call("signal_run", run_id="run-1", name="s:go", item=ITEM, once="x", ms=60_000, most=9)
        lua.finish(lua.claim_only())
    waiting(lua, "run-2")
    assert lua.listed(f"signal:{GO}") == ["run-1", "run-2"]
    assert send(lua)[2] == ["run-2"]
    assert lua.listed(f"signal:{GO}") == ["run-2"]


def test_who_no_longer_says_that_it_waits_is_taken_off_the_list_too(lua: Lua) -> None:
    waiting(lua, "run-1")
    lua.redis.zadd(f"{PREFIX}signal:{GO}", {"nobody": 1, "run-1": 2})
    waiting(lua, "run-2", name="second")
    lua.redis.zadd(f"{PREFIX}signal:{GO}", {"run-2": 3})
    lua.redis.hset(f"{PREFIX}meta", "signals", 9)
    assert send(lua)[2] == ["run-1"]
    assert lua.listed(f"signal:{GO}") == ["run-1"]


def test_a_full_mailbox_is_not_reached(lua: Lua) -> None:
    waiting(lua, "run-1")
    for number in range(2):
        lua.call("signal_run", run_id="run-1", name="s:other", item=ITEM, once=f"{number}", ms=60_000, most=9)
    assert send(lua, most=2)[2] == []
    assert lua.listed(f"signal:{GO}") == ["run-1"]


def test_many_are_reached_piece_by_piece_each_once_and_none_who_came_later(lua: Lua) -> None:
    for number in range(150):
        lua.create(f"run-{number:03}")
    for held in lua.claim(limit=200):
        lua.park(held, b"asked", effects=["wait", GO], reason="signal", seen=0, wants="\ns:go\n")
    entry, after, first = send(lua)
    assert (len(first), [post["do"] for post in lua.posted()]) == (100, [b"broadcast"])
    # One that was reached takes it and waits again, and another one starts to wait, before the rest is carried out.
    held = next(held for held in lua.claim(limit=200) if held.run_id == first[0])
    waiting(lua, "late")
    assert lua.commit(held, b"got", effects=["take", 1, "unwait", GO], seen=1) == "ok"
    assert lua.park(held, b"asked", effects=["wait", GO], reason="signal", seen=1, wants="\ns:go\n") == "ok"
    end, rest = carry(lua, after=after)
    assert (end, len({*first, *rest}), len(rest)) == (b"", 150, 50)
    assert (mail(lua, "late"), "late" in rest) == (0, False)
    assert mail(lua, first[0]) == 0
    assert send(lua)[0] == entry
    assert carry(lua, after=after) == (end, rest)
    assert lua.twice("clear_outbox", [entry]) == ["ok"]


def test_with_other_partitions_it_is_in_the_outbox_until_it_was_carried_there(lua: Lua) -> None:
    entry, after, reached = send(lua, elsewhere="yes", retain=500_000)
    assert (after, reached) == (b"", [])
    (post,) = lua.posted()
    assert (post["do"], post["name"], post["hash"], post["once"]) == (b"broadcast", b"s:go", GO.encode(), b"once")
    assert int(post["until"]) == lua.now + 500_000
    assert lua.redis.ttl(f"{PREFIX}cast:once") > 86_400
    lua.call("clear_outbox", [entry])


@pytest.mark.parametrize(("ms", "known_ms"), [(60_000, WEEK_MS), (2 * WEEK_MS, 2 * WEEK_MS)])
def test_another_partition_knows_it_for_as_long_as_it_may_be_in_the_outbox(lua: Lua, ms: int, known_ms: int) -> None:
    waiting(lua, "run-1")
    assert carry(lua, ms=ms) == (b"", ["run-1"])
    assert known_ms - 60_000 < lua.redis.pttl(f"{PREFIX}cast:once") <= known_ms


def test_what_is_kept_is_given_to_each_who_starts_to_wait_once(lua: Lua) -> None:
    waiting(lua, "here")
    assert send(lua, retain=500_000)[2] == ["here"]
    send(lua, "second", retain=100_000, item=b"s\ngo\n\x02")
    here = lua.claim_only()
    held = lua.take("late")
    asked = {**held.shown(b"asked"), "renew": "", "forget": "", "seen": 0}
    assert lua.twice("commit_run", [b"asked"], ["wait", GO], **asked) == ["mail"]
    assert lua.call("read_mail", run_id="late", after=0, bytes=99)[3:] == [1, ITEM, 2, b"s\ngo\n\x02"]
    held.mark = asked["after"]
    # It waits again, and so does the one that was reached by both: neither is given them a second time.
    for each in (held, here):
        taken = ["take", 1, "take", 2, "unwait", GO]
        assert lua.commit(each, b"got", effects=taken, seen=2) == "ok"
        assert lua.commit(each, b"asked", effects=["wait", GO], seen=2) == "ok"
        assert mail(lua, each.run_id) == 0
    lua.later(100_000)
    assert lua.commit(lua.take("later"), b"asked", effects=["wait", GO], seen=0) == "mail"
    assert mail(lua, "later") == 1
    lua.later(400_000)
    assert lua.commit(lua.take("too-late"), b"asked", effects=["wait", GO], seen=0) == "ok"
    assert mail(lua, "too-late") == 0
    assert lua.redis.exists(f"{PREFIX}kept:{GO}") == 0


def test_a_run_that_was_to_be_parked_stays_with_its_holder_when_something_is_kept_for_it(lua: Lua) -> None:
    send(lua, retain=500_000)
    held = lua.take()
    parking = {**held.shown(b"asked"), "reason": "signal", "due": "", "seen": 0, "wants": "\ns:go\n"}
    assert lua.twice("park_run", [b"asked"], ["wait", GO], **parking) == ["mail"]
    assert (lua.status(), mail(lua, "run-1")) == ("running", 1)


def test_a_refused_commit_registers_nobody(lua: Lua) -> None:
    held = lua.take()
    held.mark = "7:70"
    assert lua.commit(held, b"asked", effects=["wait", GO]) == "behind"
    assert lua.redis.exists(f"{PREFIX}signal:{GO}") == 0


def test_more_than_can_be_kept_is_refused_and_reaches_nobody(lua: Lua) -> None:
    for number in range(100):
        send(lua, f"{number}", retain=500_000)
    assert lua.commit(lua.take(), b"asked", effects=["wait", GO], seen=0) == "mail"
    assert send(lua, "one too many", retain=500_000)[0] == "full"
    assert mail(lua, "run-1") == 100
    assert send(lua, "not kept")[2] == ["run-1"]
    lua.later(500_000)
    assert send(lua, "later", retain=500_000)[0] == ""
    large = b"s\ngo\n" + 1_500_000 * b"x"
    assert send(lua, "large", retain=500_000, item=large)[0] == ""
    assert send(lua, "too large", retain=500_000, item=large)[0] == "full"


def test_another_partition_keeps_it_until_the_same_instant_and_not_once_that_has_passed(lua: Lua) -> None:
    waiting(lua, "run-1")
    assert carry(lua, until_ms=lua.now + 100_000) == (b"", ["run-1"])
    assert carry(lua, "late", until_ms=lua.now) == (b"", ["run-1"])
    assert lua.redis.hlen(f"{PREFIX}kept:{GO}") == 1
    assert lua.redis.pttl(f"{PREFIX}kept:{GO}") <= 100_000


def test_a_run_that_was_taken_off_the_list_and_is_retried_in_place_can_register_anew(lua: Lua) -> None:
    held = lua.take()
    assert lua.commit(held, b"asked", effects=["wait", GO, "wait", "other"], seen=0) == "ok"
    lua.finish(held, status="failed")
    assert send(lua)[2] == []
    assert lua.fields()["sg"] == b"other"


def test_a_large_run_says_for_what_it_is_registered_when_it_is_claimed(lua: Lua) -> None:
    held = lua.take(input=20_000 * b"x")
    assert lua.commit(held, b"asked", effects=["wait", GO], seen=0) == "ok"
    lua.release(held)
    assert lua.claim_only(run_bytes=100).fields["sg"] == GO.encode()
