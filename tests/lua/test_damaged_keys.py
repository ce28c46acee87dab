"""A key is of another type for a while: the call is refused, and whoever holds the run next still finds all it needs.

Redis does not roll back, so what a script takes away goes last. The holder whose call was refused lets its run go; here
another one takes it up when the key is sound again.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import redis

from tests.lua.harness import PREFIX, Held, Lua
from tests.lua.test_broadcasts import carry, waiting
from tests.lua.test_children import CHILD, PARENT, claimed_child, item, kids, mail, ordered, park

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def damaged(lua: Lua, name: str) -> Iterator[None]:
    """Meanwhile this key is of another type; then it is what it was."""
    key = PREFIX + name
    kept = lua.redis.dump(key)
    lua.redis.delete(key)
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
