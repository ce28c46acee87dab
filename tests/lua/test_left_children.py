"""Children and their parents, where other transitions meet them: each end is told once, and nobody is left behind."""

from __future__ import annotations

import pytest

from tests.lua.harness import PREFIX, Held, Lua


def outbox(lua: Lua) -> list[tuple[str, str]]:
    """What is to be done, and of which run."""
    return [(entry[b"do"].decode(), entry[b"run"].decode()) for _, entry in lua.redis.xrange(f"{PREFIX}outbox")]


def parent_with_child(lua: Lua) -> Held:
    held = lua.take("parent")
    assert lua.commit(held, b"asked", effects=["kid", "child", "cancel"]) == "ok"
    return held


@pytest.mark.parametrize("how", ["delete", "purge"])
def test_children_of_a_run_that_is_deleted_at_once_are_still_looked_after(lua: Lua, how: str) -> None:
    parent_with_child(lua)
    lua.cancel("parent")
    assert outbox(lua) == [("end_kids", "parent")]
    if how == "delete":
        assert lua.call("delete_run", run_id="parent") == ["gone"]
    else:
        lua.call("purge_runs", ["order", "canceled", 0, 0], limit=10, all_bytes=1000, tell="")
    assert not lua.redis.exists(f"{PREFIX}run:parent")
    assert lua.redis.hgetall(f"{PREFIX}kids:parent") == {b"child": b"cancel"}
    assert ("end_kids", "parent") in outbox(lua)


def test_where_the_outbox_was_lost_deleting_a_run_posts_its_children_again(lua: Lua) -> None:
    parent_with_child(lua)
    lua.cancel("parent")
    lua.delete("outbox")
    assert lua.call("delete_run", run_id="parent") == ["gone"]
    assert outbox(lua) == [("end_kids", "parent")]
