"""A key is of another type for a while: the call is refused, and whoever holds the run next still finds all it needs.

Redis does not roll back, so what a script takes away goes last. The holder whose call was refused lets its run go; here
another one takes it up when the key is sound again.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis

from tests.lua.harness import PREFIX, Held, Lua
from tests.lua.test_broadcasts import GO, carry, send, waiting
from tests.lua.test_children import CHILD, PARENT, claimed_child, item, kids, mail, ordered, park
from tests.lua.test_continue import continued
from tests.lua.test_events import output, read
from tests.lua.test_redis_scripts import INCREMENT, count, effect
from tests.lua.test_schedules import fire_several, queued, schedule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SAID = output("1:1", b"news")
"""An effect that needs the key of the run's events."""


@contextmanager
def damaged(lua: Lua, name: str) -> Iterator[None]:
    """Meanwhile this key is of another type; then it is what it was."""
    key = PREFIX + name
    kept = lua.redis.dump(key)
    lua.redis.delete(key)
    if name.startswith("unique:"):  # a string
        lua.redis.rpush(key, "of another type")
    else:
        lua.redis.set(key, "of another type")
    yield
    lua.redis.delete(key)
    if kept is not None:
        lua.redis.restore(key, 0, kept)


def next_holder(lua: Lua, held: Held) -> Held:
    """Its lease ends, and another worker takes the run up."""
    lua.expire(held)
    lua.reclaim(held.entry[0])
    again = lua.claim_only("w2")
    assert again.run_id == held.run_id
    return again


def send_to(lua: Lua, run_id: str = "run-1", once: str = "a") -> None:
    wanted = {"name": "s:go", "item": b"s\ngo\nx", "once": once, "ms": 60_000, "most": 10}
    assert lua.call("signal_run", run_id=run_id, **wanted) == ["ok"]


# -- what a commit takes away -----------------------------------------------------------------------------------------


def apply(lua: Lua, held: Held, call: str, effects: Sequence[Any]) -> str:
    """A call of a holder, with one record."""
    if call == "continue":
        try:
            word: str = lua.call("continue_run", effects, **continued(held))[0]
        except redis.ResponseError:
            return "broken"
        return word
    given: dict[str, Any] = {"due": lua.now + 5} if call == "park" else {}
    return {"commit": lua.commit, "park": lua.park, "finish": lua.finish}[call](held, b"got", effects=effects, **given)


@pytest.mark.parametrize("call", ["commit", "park", "finish", "continue"])
@pytest.mark.parametrize("is_last", [True, False], ids=["before", "after"])
def test_a_signal_is_still_there_for_the_next_holder(lua: Lua, call: str, is_last: bool) -> None:
    held = lua.take()
    send_to(lua)
    effects = ["take", 1, *SAID] if is_last else [*SAID, "take", 1]
    with damaged(lua, "events:run-1"):
        assert apply(lua, held, call, effects) == "broken"
    assert mail(lua, "run-1") == [b"s\ngo\nx"]
    again = next_holder(lua, held)
    assert (again.mark, mail(lua, "run-1")) == ("0:2", [b"s\ngo\nx"])
    assert apply(lua, again, call, effects) == "ok"
    assert (mail(lua, "run-1"), len(read(lua)[1])) == ([], 1)


def test_mail_that_cannot_be_read_is_not_recorded_as_taken(lua: Lua) -> None:
    held = lua.take()
    send_to(lua)
    with damaged(lua, "mail:run-1"):
        assert lua.commit(held, b"got", effects=["take", 1]) == "broken"
    again = next_holder(lua, held)
    assert (lua.records(), mail(lua, "run-1")) == ([], [b"s\ngo\nx"])
    assert lua.commit(again, b"got", effects=["take", 1]) == "ok"
    assert mail(lua, "run-1") == []


@pytest.mark.parametrize("name", ["outbox", "events:parent-0000"])
def test_a_child_that_is_given_up_is_canceled_by_the_next_holder(lua: Lua, name: str) -> None:
    held = ordered(lua, CHILD)
    effects = ["drop", CHILD, *SAID]
    with damaged(lua, name):
        assert lua.commit(held, b"gave up", effects=effects) == "broken"
    assert kids(lua) == {CHILD: "cancel"}, "whoever waits for it still is told of its end"
    assert lua.commit(next_holder(lua, held), b"gave up", effects=effects) == "ok"
    assert (kids(lua), {"do": b"cancel", "run": CHILD.encode()} in lua.posted()) == ({}, True)


def test_a_run_that_could_not_begin_anew_has_lost_nothing(lua: Lua) -> None:
    held = ordered(lua, CHILD)
    send_to(lua, PARENT)
    with damaged(lua, "q:default:w"):
        assert apply(lua, held, "continue", ["drop", CHILD, "take", 1]) == "broken"
    assert (kids(lua), mail(lua)) == ({CHILD: "cancel"}, [b"s\ngo\nx"])
    again = next_holder(lua, held)
    assert lua.records(PARENT) == [b"asked"]
    assert apply(lua, again, "continue", ["drop", CHILD, "take", 1]) == "ok"
    assert (kids(lua), mail(lua)) == ({}, [])


@pytest.mark.parametrize("name", ["mail:run-1", "fx:run-1"])
def test_a_script_whose_reply_has_no_place_has_not_run(lua: Lua, name: str) -> None:
    held = lua.take()
    asked = effect(INCREMENT, 1, keys=("count",))
    with damaged(lua, name):
        assert lua.commit(held, b"asked", effects=asked) == "broken"
        assert count(lua) is None
    again = next_holder(lua, held)
    assert lua.commit(again, b"asked", effects=asked, seen=0) == "mail"
    assert (count(lua), mail(lua, "run-1")) == (b"1", [b"r\nstep\nsucceeded\n\x01"])


def test_what_was_kept_of_a_signal_comes_with_the_next_holder(lua: Lua) -> None:
    assert send(lua, retain=60_000)[0] == ""
    held = lua.take()
    with damaged(lua, "mail:run-1"):
        assert lua.commit(held, b"asked", effects=["wait", GO]) == "broken"
    again = next_holder(lua, held)
    assert lua.commit(again, b"asked", effects=["wait", GO], seen=0) == "mail"
    assert len(mail(lua, "run-1")) == 1


def test_a_run_stays_registered_for_a_signal_until_it_is_off_the_list(lua: Lua) -> None:
    held = lua.take()
    assert lua.commit(held, b"asked", effects=["wait", GO]) == "ok"
    with damaged(lua, f"signal:{GO}"):
        assert lua.commit(held, b"got", effects=["unwait", GO]) == "broken"
    assert lua.fields()["sg"] == GO.encode()
    assert lua.commit(next_holder(lua, held), b"got", effects=["unwait", GO]) == "ok"
    assert ("sg" in lua.fields(), lua.listed(f"signal:{GO}")) == (False, [])


def test_what_is_said_is_not_there_twice_where_the_state_could_not_be_set(lua: Lua) -> None:
    held = lua.take()
    said = output("1:1", b"news", answer=b"yes")
    with damaged(lua, "state:run-1"):
        assert lua.commit(held, b"one", effects=said) == "broken"
    assert lua.commit(next_holder(lua, held), b"one", effects=said) == "ok"
    assert (len(read(lua)[1]), lua.redis.hgetall(f"{PREFIX}state:run-1")) == (1, {b"answer": b"yes"})


# -- what an end takes away -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["outbox", "events:run-1"])
def test_a_canceled_run_does_not_go_on_where_its_end_was_refused(lua: Lua, name: str) -> None:
    held = lua.take()
    lua.commit(held, b"asked", effects=["compensable", "kid", "kid-0001", "cancel"])
    lua.cancel()
    held = lua.claim_only()
    wanted: dict[str, Any] = {"status": "canceled", "payload": b"", "effects": ["verdict", "canceled", "orphan", *SAID]}
    with damaged(lua, name):
        assert lua.finish(held, **wanted) == "broken"
    again = next_holder(lua, held)
    assert (again.fields["vd"], "ca" in again.fields) == (b"canceled canceled ", False)
    assert lua.finish(again, **wanted) == "ok"
    assert (lua.status(), lua.fields()["ca"], "vd" in lua.fields()) == ("canceled", b"canceled", False)


def test_a_verdict_that_could_not_be_fixed_can_be_asked_for_again(lua: Lua) -> None:
    held = lua.take()
    lua.commit(held, b"asked", effects=["compensable"])
    with damaged(lua, "q:default:w"), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        lua.cancel()
    assert ("vd" in lua.fields(), lua.commit(held, b"one")) == (False, "ok")
    assert lua.cancel() == ["canceling"]
    assert (lua.commit(held, b"two"), lua.claim_only("w2").fields["vd"]) == ("fenced", b"canceled canceled ")


def test_a_run_keeps_its_unique_key_while_it_has_not_ended(lua: Lua) -> None:
    rule = ("unique", "k", "join")
    assert lua.start("run-1", rule)[0] == "created"
    held = lua.claim_only()
    with damaged(lua, "events:run-1"):
        assert lua.finish(held, effects=["release", "k", *SAID]) == "broken"
    assert lua.redis.get(f"{PREFIX}unique:k") == b"run-1", "another run would begin beside it"
    with damaged(lua, "unique:k"):
        assert lua.finish(held, effects=["release", "k"]) == "broken"
    assert lua.finish(next_holder(lua, held), effects=["release", "k"]) == "ok"
    assert lua.redis.exists(f"{PREFIX}unique:k") == 0


def test_the_next_run_of_a_schedule_waits_until_the_one_before_has_ended(lua: Lua) -> None:
    fire_several(lua, "queue", 2)
    held = lua.claim_only()
    with damaged(lua, "events:run-1"):
        assert lua.finish(held, effects=["leave", "nightly", *SAID]) == "broken"
    lua.wake()
    assert (schedule(lua)["on"], lua.status("run-2")) == (b"run-1", "waiting:overlap")
    assert lua.finish(next_holder(lua, held), effects=["leave", "nightly", *SAID]) == "ok"
    lua.wake()
    assert (schedule(lua)["on"], lua.claim_only().run_id) == (b"run-2", "run-2")


@pytest.mark.parametrize("name", ["delayed", "queued:nightly", "schedule:nightly"])
def test_a_run_of_a_schedule_ends_whatever_became_of_its_keys_and_the_next_has_its_turn_later(
    lua: Lua, name: str
) -> None:
    fire_several(lua, "queue", 3)
    held = lua.claim_only()
    with damaged(lua, name):
        assert lua.finish(held, effects=["leave", "nightly"]) == "ok"
    assert lua.status("run-2") == "waiting:overlap"
    lua.call("due_schedules", limit=10, bytes=1000)
    lua.wake()
    assert (schedule(lua)["on"], lua.claim_only().run_id, queued(lua)) == (b"run-2", "run-2", [b"run-3"])


# -- what arrives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mail:parent-0000", "q:default:w"])
def test_the_end_of_a_child_reaches_its_parent_once(lua: Lua, name: str) -> None:
    park(lua, ordered(lua, CHILD))
    given = {"run_id": PARENT, "child": CHILD, "item": item(CHILD, "succeeded", payload=b"out")}
    with damaged(lua, name), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        lua.call("give_end", **given)
    assert (mail(lua), kids(lua)) == ([], {CHILD: "cancel"})
    assert lua.call("give_end", **given) == ["ok"]
    assert (lua.claim_only().run_id, mail(lua), kids(lua)) == (PARENT, [given["item"]], {})


@pytest.mark.parametrize("by", ["finish", "cancel"])
def test_a_child_that_cannot_tell_its_end_has_not_ended(lua: Lua, by: str) -> None:
    park(lua, ordered(lua, CHILD))
    child = claimed_child(lua)
    with damaged(lua, f"mail:{PARENT}"):
        if by == "finish":
            assert lua.finish(child, effects=["tell", PARENT]) == "broken"
        else:
            with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
                lua.cancel(CHILD)
    assert (lua.status(CHILD), kids(lua)) == ("running", {CHILD: "cancel"})
    if by == "finish":
        lua.claim_only()  # the parent, woken too early
        assert lua.finish(next_holder(lua, child), effects=["tell", PARENT]) == "ok"
        assert mail(lua) == [item(CHILD, "succeeded", payload=b"out")]
    else:
        assert lua.cancel(CHILD) == ["canceled"]
        assert mail(lua) == [item(CHILD, "canceled", "canceled")]
    assert kids(lua) == {}


@pytest.mark.parametrize("name", ["mail:run-1", "q:default:w", "delayed"])
def test_a_signal_that_was_refused_and_is_sent_again_wakes_its_run_and_is_there_once(lua: Lua, name: str) -> None:
    held = lua.take()
    assert lua.park(held, due=lua.now + 60_000, reason="signal", seen=0, wants="\ns:go\n") == "ok"
    with damaged(lua, name), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        send_to(lua)
    send_to(lua)
    assert (lua.claim_only("w2").run_id, mail(lua, "run-1")) == ("run-1", [b"s\ngo\nx"])
    lua.later(60_000)
    lua.wake()  # a timer that stayed is dropped by whoever meets it


def test_a_broadcast_that_was_refused_and_is_carried_again_is_there_once(lua: Lua) -> None:
    waiting(lua, "run-1")
    with damaged(lua, "q:default:w"), pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        carry(lua)
    assert carry(lua) == (b"", ["run-1"])
    assert len(mail(lua, "run-1")) == 1
