"""confirm_run and note_loss: what is asked, and kept, about writes that may be lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lua.harness import PREFIX, T0

if TYPE_CHECKING:
    from tests.lua.harness import Lua


def note(lua: Lua, batches: int, *, after_ms: int = 5_000, most: int = 100) -> None:
    reply = lua.call("note_loss", seen_by="host-7", batches=batches, after_ms=after_ms, until_ms=200, most=most)
    assert reply == ["ok"]


def test_a_run_is_stored_or_it_is_not(lua: Lua) -> None:
    lua.create("there")
    assert lua.twice("confirm_run", run_id="there") == ["ok"]
    assert lua.twice("confirm_run", run_id="gone") == ["missing"]


def test_a_loss_is_kept_by_the_clock_of_the_server(lua: Lua) -> None:
    note(lua, 3)
    lua.later(1_000)
    note(lua, 7, after_ms=-1)
    first, second = f"{T0} {T0 - 5_000} {T0 - 200} 3 host-7", f"{T0 + 1_000} -1 {T0 + 800} 7 host-7"
    assert lua.redis.lrange(f"{PREFIX}losses", 0, -1) == [second.encode(), first.encode()]


def test_only_the_latest_losses_are_kept(lua: Lua) -> None:
    for batches in range(1, 6):
        note(lua, batches, most=3)
    kept = lua.redis.lrange(f"{PREFIX}losses", 0, -1)
    assert [line.split()[3] for line in kept] == [b"5", b"4", b"3"]


def test_a_full_server_keeps_what_was_lost(lua: Lua) -> None:
    lua.redis.config_set("maxmemory", "1")
    try:
        note(lua, 1)
    finally:
        lua.redis.config_set("maxmemory", "0")
    assert lua.redis.llen(f"{PREFIX}losses") == 1
