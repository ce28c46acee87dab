"""An idempotency key whose run lives in another partition."""

from __future__ import annotations

from tests.lua.harness import Lua, new_run

KEY = {"idem": "k", "idem_ms": 60_000, "fingerprint": "one"}


def test_the_first_run_has_the_key_until_it_is_made_and_after(lua: Lua) -> None:
    assert lua.twice("reserve_key", run_id="a", made="", **KEY) == ["reserved", b"a"]
    # Its client has died: the next one makes the same run.
    assert lua.twice("reserve_key", run_id="b", made="", **KEY) == ["reserved", b"a"]
    assert lua.twice("reserve_key", run_id="a", made="made", **KEY) == ["existing", b"a"]
    assert lua.twice("reserve_key", run_id="c", made="", **KEY) == ["existing", b"a"]


def test_another_input_is_a_conflict_before_and_after_the_run_is_made(lua: Lua) -> None:
    lua.call("reserve_key", run_id="a", made="", **KEY)
    other = {**KEY, "fingerprint": "two"}
    assert lua.twice("reserve_key", run_id="b", made="", **other) == ["conflict", b"a"]
    lua.call("reserve_key", run_id="a", made="made", **KEY)
    assert lua.twice("reserve_key", run_id="b", made="", **other) == ["conflict", b"a"]


def test_a_run_that_was_made_here_with_the_key_is_found(lua: Lua) -> None:
    lua.create("old", **KEY)
    assert lua.twice("reserve_key", run_id="b", made="", **KEY) == ["existing", b"old"]
    lua.call("reserve_key", run_id="x", made="", idem="other", idem_ms=60_000, fingerprint="one")
    lua.call("reserve_key", run_id="x", made="made", idem="other", idem_ms=60_000, fingerprint="one")
    reply = lua.call("create_run", **new_run("y", idem="other", idem_ms=60_000, fingerprint="one"))
    assert reply == ["existing", b"x"]
