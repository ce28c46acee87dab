"""What scripts refuse because there is too much of it: runs that wait, bytes of an input, bytes of a record."""

from __future__ import annotations

import pytest

from tests.lua.harness import PREFIX, Lua, new_run

OVERSIZED = 64 << 20
FULL = 128 << 20


def test_as_many_runs_wait_to_be_claimed_as_their_client_allows(lua: Lua) -> None:
    capped = {"mp": 3}
    assert [lua.create(f"run-{number}", capped)[0] for number in range(4)] == ["created"] * 3 + ["full"]
    assert lua.create("uncapped")[0] == "created"
    assert not lua.redis.exists(f"{PREFIX}run:run-3")
    assert "mp" not in lua.fields("run-0")
    # What exists is answered, and what is held does not wait.
    assert lua.create("run-0", capped)[0] == "created"
    held = lua.claim(limit=2)
    assert lua.create("run-3", capped)[0] == "created"
    assert lua.create("run-4", capped)[0] == "full"
    # What comes back counts again, and other queues and priorities do.
    lua.release(held[0])
    lua.finish(held[1])
    assert lua.create("run-4", {"mp": 4}, queue="slow")[0] == "full"
    assert lua.create("run-4", {"mp": 5, "pr": 7}, queue="slow")[0] == "created"
    assert lua.create("run-5", {"mp": 5})[0] == "full"
    # One that begins later does not wait to be claimed, but its time will come: it is counted by who comes after.
    assert lua.create("later", {"mp": 5}, available="+1000")[0] == "full"
    assert lua.create("later", {"mp": 6}, available="+1000")[0] == "created"
    assert lua.create("run-6", {"mp": 6})[0] == "created"


def test_a_key_is_answered_though_the_queue_is_full(lua: Lua) -> None:
    keyed = {"idem": "key", "idem_ms": 60_000, "fingerprint": "a"}
    lua.create("run-1", {"mp": 1}, **keyed)
    assert lua.create("run-2", {"mp": 1}, **keyed) == ["existing", b"run-1"]
    assert lua.create("run-2", {"mp": 1}, **{**keyed, "fingerprint": "b"}) == ["conflict", b"run-1"]
    assert lua.create("run-2", {"mp": 1}) == ["full"]


def test_a_batch_takes_as_many_as_there_is_room_for(lua: Lua) -> None:
    rows = [[*new_run(f"run-{number}").values(), 2, "mp", 3] for number in range(5)]
    script = lua.scripts.create_run
    command = script.head(*new_run().keys())
    reply = lua.redis.execute_command(*command, PREFIX, *(part for row in rows for part in row))
    assert [part[0] for part in reply] == [b"created"] * 3 + [b"full"] * 2
    assert lua.entries("0") == ["run-0", "run-1", "run-2"]


def test_starts_under_rules_are_refused_too_after_their_rules(lua: Lua) -> None:
    def start(run_id: str, *rule: object) -> list[str]:
        fields = ["mp", 1, *(["uq", rule[1]] if rule[0] == "unique" else [])]
        row = [*new_run(run_id).values(), len(fields), *fields, len(rule), *rule]
        (reply,) = lua.redis.execute_command(*lua.scripts.start_runs.head(*new_run().keys()), PREFIX, *row)
        return [part.decode() for part in reply]

    assert start("run-1", "unique", "k", "existing")[0] == "created"
    assert start("run-2", "unique", "k", "existing") == ["existing", "run-1"]
    before = lua.dump()
    assert start("run-2", "unique", "other", "existing") == ["full"]
    assert start("run-2", "unique", "k", "cancel_older") == ["full"]  # the older one is left as it was
    assert start("run-2", "throttle", "t", 5, 1_000, "delay") == ["full"]
    assert start("run-2", "debounce", "d", 1_000, "") == ["full"]
    assert lua.dump() == before


@pytest.mark.parametrize(("size", "word"), [(OVERSIZED, "created"), (OVERSIZED + 1, "oversized")])
def test_an_input_that_no_client_of_ours_would_store_is_refused(lua: Lua, size: int, word: str) -> None:
    assert lua.create(input=bytes(size))[0] == word
    assert lua.redis.exists(f"{PREFIX}run:run-1") == (word == "created")
    lua.redis.flushall()


@pytest.mark.parametrize("what", ["available", "deadline"])
def test_a_run_begins_and_ends_within_ten_years(lua: Lua, what: str) -> None:
    last = lua.now + 3_653 * 86_400_000
    for number, instant in enumerate((f"+{last - lua.now}", str(last))):
        assert lua.create(f"run-{number}", **{what: instant})[0] == "created"
    before = lua.dump()
    for instant in (f"+{last - lua.now + 1}", str(last + 1)):
        assert lua.create("late", **{what: instant})[0] == "beyond"
        assert lua.start("late", ("throttle", "k", 1, 1_000, "delay"), **{what: instant})[0] == "beyond"
    assert lua.dump() == before


@pytest.mark.parametrize("how", ["commit", "park", "finish"])
@pytest.mark.parametrize(("size", "is_refused"), [(FULL, False), (FULL + 1, True)])
def test_a_record_that_the_engine_would_not_let_grow_so_far_is_refused(
    lua: Lua, how: str, size: int, *, is_refused: bool
) -> None:
    held = lua.take()
    before = lua.dump()
    changes = {"park": {"due": lua.now + 1}}.get(how, {})
    # The mark is what its holder says: nothing of this size need be sent.
    word = getattr(lua, how)(held, b"x", after=f"1:{size}", **changes)
    assert (word == "oversized") == is_refused
    assert (lua.dump() == before) == is_refused
    lua.redis.flushall()


def test_who_has_a_longer_record_already_goes_on_to_its_end(lua: Lua) -> None:
    held = lua.take()
    lua.redis.hset(f"{PREFIX}run:run-1", "h", f"0:{FULL + 1}")
    held.mark = f"0:{FULL + 1}"
    before = lua.dump()
    assert lua.commit(held, b"x", after=f"1:{FULL + 1 + (4 << 20) + 1}") == "oversized"
    assert lua.dump() == before
    assert lua.commit(held, b"x") == "ok"
    assert lua.finish(held, b"y") == "ok"
    lua.redis.flushall()
