"""commit_run: the record grows by its holder alone, once."""

from __future__ import annotations

import pytest

from tests.lua.harness import PREFIX, T0, Held, Lua

NOTHING = {"renew": "", "forget": "", "seen": ""}


def test_a_commit_appends_records_under_the_numbers_that_follow(lua: Lua) -> None:
    held = lua.take()
    assert lua.commit(held, b"one") == "ok"
    assert lua.commit(held, b"two", b"three") == "ok"
    assert lua.records() == [b"one", b"two", b"three"]
    assert lua.fields()["h"] == b"3:13"


@pytest.mark.parametrize("records", [(), (b"one",), (b"one", b"", b"two")])
def test_a_commit_that_is_sent_again_is_applied_once(lua: Lua, records: tuple[bytes, ...]) -> None:
    held = lua.take()
    assert lua.twice("commit_run", records, **held.shown(*records), **NOTHING) == ["ok"]
    assert lua.records() == list(records)


def test_a_commit_that_is_sent_again_after_the_next_one_is_behind(lua: Lua) -> None:
    held = lua.take()
    first = held.shown(b"one")
    lua.commit(held, b"one")
    lua.commit(held, b"two")
    assert lua.call("commit_run", [b"one"], **first, **NOTHING) == ["behind"]
    assert lua.records() == [b"one", b"two"]


@pytest.mark.parametrize(
    ("ending", "word"),
    [
        ("park", "ok"),
        ("park more", "behind"),
        ("finish", "ok"),
        ("finish more", "behind"),
        ("cancel", "ended"),
        ("release", "fenced"),
        ("shelve", "fenced"),
        ("release and claim", "fenced"),
        ("reclaim", "fenced"),
        ("reclaim and claim", "fenced"),
    ],
)
def test_a_commit_that_arrives_again_late_changes_nothing(lua: Lua, ending: str, word: str) -> None:
    held = lua.take()
    first = held.shown(b"one")
    lua.commit(held, b"one")
    more = (b"more",) if "more" in ending else ()
    what = ending.split(maxsplit=1)[0]
    if what == "park":
        lua.park(held, *more, due=T0 + 1)
    elif what == "finish":
        lua.finish(held, *more)
    elif what == "cancel":
        lua.cancel()
    elif what == "reclaim":
        lua.expire(held)
        lua.reclaim()
    else:
        getattr(lua, what)(held)
    if "claim" in ending.split()[1:]:
        lua.claim_only("w2")
    assert lua.twice("commit_run", [b"one"], **first, **NOTHING) == [word]
    assert lua.records() == [b"one", *more]


def test_a_holder_that_lost_count_is_told_so_and_can_hand_the_run_back(lua: Lua) -> None:
    held = lua.take()
    lua.commit(held, b"one")
    held.mark = "0:2"
    before = lua.dump()
    assert lua.commit(held, b"other") == "behind"
    assert lua.park(held, b"other", due=T0 + 1) == "behind"
    assert lua.finish(held, b"other") == "behind"
    assert lua.dump() == before
    assert lua.release(held) == "ok"


def test_the_same_count_with_another_nonce_is_refused_everywhere(lua: Lua) -> None:
    held = lua.take()
    lua.note(held)
    stranger = Held(**{**held.__dict__, "fence": held.fence.split(":")[0] + ":stranger", "worker": "w2"})
    before = lua.dump_without_leases()
    answers = lua.holder_calls(stranger)
    assert set(answers.values()) == {"fenced"}, answers
    lua.redis.zrem(f"{PREFIX}workers", "w2")  # its heartbeat told that it lives; that is all
    assert lua.dump_without_leases() == before
    pending = lua.pending(held)
    assert pending is not None
    assert pending["consumer"] == b"w1"


@pytest.mark.parametrize("wrong", ["entry", "fence"])
def test_a_holder_that_shows_only_half_of_its_claim_is_refused(lua: Lua, wrong: str) -> None:
    held = lua.take()
    half = Held(**{**held.__dict__, wrong: "0:0-1"})
    before = lua.dump()
    for word in (lua.commit(half, b"x"), lua.park(half, b"x", due=T0), lua.finish(half, b"x")):
        assert word == ("behind" if wrong == "entry" else "fenced")
    assert (lua.release(half), lua.shelve(half)) == ("fenced", "fenced")
    assert lua.dump() == before


def test_a_run_that_is_not_stored_is_missing(lua: Lua) -> None:
    held = Held("nobody", "default", "1:op", "0:1-1", "0:0", "w1", {})
    answers = lua.holder_calls(held)
    assert {answers.pop("note"), answers.pop("renew")} == {"fenced"}
    assert set(answers.values()) == {"missing"}
    assert lua.cancel("nobody") == ["missing"]
    assert lua.fields("nobody") == {}


def test_a_commit_forgets_crashes_where_the_record_moved_on(lua: Lua) -> None:
    held = lua.take()
    lua.expire(held)
    lua.reclaim()
    held = lua.claim_only()
    assert held.fields["x"] == b"1"
    lua.commit(held, b"one")
    assert lua.fields()["x"] == b"1"
    lua.commit(held, b"two", forget="crashes")
    assert "x" not in lua.fields()


def test_a_commit_renews_the_lease_where_it_is_stale(lua: Lua) -> None:
    held = lua.take()
    lua.expire(held)
    lua.commit(held, b"one", renew="w1")
    pending = lua.pending(held)
    assert pending is not None
    assert pending["time_since_delivered"] < 10_000
    assert (pending["consumer"], pending["times_delivered"]) == (b"w1", 1)


def test_a_lost_group_does_not_fail_a_commit(lua: Lua) -> None:
    held = lua.take()
    lua.redis.xgroup_destroy(held.stream, "workers")
    assert lua.commit(held, b"one", renew="w1") == "ok"
    assert lua.finish(held) == "ok"


@pytest.mark.parametrize("ending", ["commit", "park", "finish"])
def test_thousands_of_records_fit_one_call(lua: Lua, ending: str) -> None:
    held = lua.take()
    records = [b"%d" % number for number in range(9_000)]
    if ending == "commit":
        assert lua.commit(held, *records) == "ok"
    elif ending == "park":
        assert lua.park(held, *records, due=T0 + 1) == "ok"
    else:
        assert lua.finish(held, *records) == "ok"
    assert lua.records() == records


def test_a_long_record_is_read_in_pieces(lua: Lua) -> None:
    held = lua.take()
    records = [b"%04d" % number for number in range(2_500)]
    lua.commit(held, *records)
    read: list[bytes] = []
    while len(read) < len(records):
        piece = {"run_id": "run-1", "first": len(read), "last": len(records) - 1}
        reply = lua.twice("read_records", **piece, bytes=1_000_000)
        assert 1 < len(reply) <= 1_001
        read += reply[1:]
    assert read == records


def test_a_piece_keeps_its_budget_but_holds_one_record_at_least(lua: Lua) -> None:
    held = lua.take()
    lua.commit(held, b"a" * 50, b"b" * 50, b"c" * 50)
    piece = {"run_id": "run-1", "first": 0, "last": 2}
    assert lua.call("read_records", **piece, bytes=1) == ["ok", b"a" * 50]
    assert lua.call("read_records", **piece, bytes=100) == ["ok", b"a" * 50, b"b" * 50]
    assert lua.call("read_records", **{**piece, "last": 3}, bytes=1_000) == ["missing"]
    assert lua.call("read_records", **{**piece, "run_id": "nobody"}, bytes=1_000) == ["missing"]


def test_progress_is_shown_by_the_holder_alone_and_goes_with_it(lua: Lua) -> None:
    held = lua.take()
    shown = {"run_id": held.run_id, "fence": held.fence, "progress": b"\x00half"}
    assert lua.twice("note_progress", **shown) == ["ok"]
    assert lua.fields()["p"] == b"\x00half"
    lua.release(held)
    assert "p" not in lua.fields()
    assert lua.call("note_progress", **shown) == ["fenced"]
