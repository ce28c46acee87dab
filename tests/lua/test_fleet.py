"""What is told of workers and of runs that nobody serves: list_workers, survey_queue, who holds what, list_stuck,
count_versions."""

from __future__ import annotations

from typing import Any

from tests.lua.harness import PREFIX, T0, Lua


def test_workers_are_listed_from_the_one_that_lives_longest(lua: Lua) -> None:
    for number in range(5):
        lua.renew(worker=f"w{number}", presence_ms=1_000 * (number + 1), about=b"about %d" % number)
    lua.renew(worker="silent", presence_ms=10)
    assert lua.call("list_workers", first=0, limit=2) == [
        "ok",
        T0,
        [b"w4", b"%d" % (T0 + 5_000), b"about 4", b""],
        [b"w3", b"%d" % (T0 + 4_000), b"about 3", b""],
    ]
    assert [row[0] for row in lua.call("list_workers", first=2, limit=9)[2:]] == [b"w2", b"w1", b"w0", b"silent"]
    assert lua.call("list_workers", first=6, limit=9) == ["ok", T0]


def test_a_queue_is_surveyed_with_those_who_hold_its_runs(lua: Lua) -> None:
    assert lua.call("survey_queue", queue="default") == ["ok", 0, b""]
    for name in ("a", "b", "c"):
        lua.create(name, queue="slow")
    lua.create("urgent", {"pr": 3}, queue="slow")
    lua.claim("w1", limit=1, queues=["slow"])
    lua.release(lua.claim("w2", limit=1, queues=["slow"])[0])  # among the woken ones, read first
    lua.claim("w2", limit=2, queues=["slow"])
    word, runs, oldest, *held = lua.call("survey_queue", queue="slow")
    streams = [lua.redis.xrange(f"{PREFIX}q:slow:{lane}", count=1) for lane in "w03"]
    first = min(int(entries[0][0].partition(b"-")[0]) for entries in streams if entries)
    assert (word, runs, int(oldest)) == ("ok", 4, first)
    assert dict(zip(held[::2], held[1::2], strict=True)) == {b"w1": 1, b"w2": 2}


def test_who_holds_a_run_is_found_with_the_time_since_its_lease_was_renewed(lua: Lua) -> None:
    assert lua.call("find_holder", run_id="run-1") == ["none"]
    lua.create(queue="slow")
    assert lua.call("find_holder", run_id="run-1") == ["none"]
    held = lua.claim_only("w1", queues=["slow"])
    lua.renew(held, worker="w1")
    word, worker, idle_ms = lua.call("find_holder", run_id="run-1")
    assert (word, worker) == ("ok", b"w1")
    assert 0 <= idle_ms < 60_000
    lua.release(held)
    assert lua.call("find_holder", run_id="run-1") == ["none"]
    held = lua.claim_only("w2", queues=["slow"])  # from the woken ones
    assert lua.call("find_holder", run_id="run-1")[1] == b"w2"
    lua.finish(held)
    assert lua.call("find_holder", run_id="run-1") == ["none"]


def test_nobody_holds_what_is_in_no_group(lua: Lua) -> None:
    lua.take()
    lua.redis.delete(f"{PREFIX}q:default:0")
    assert lua.call("find_holder", run_id="run-1") == ["none"]
    assert lua.call("list_held", queue="default", most=5) == ["ok"]
    lua.redis.set(f"{PREFIX}q:default:0", "no stream")
    assert lua.call("find_holder", run_id="run-1") == ["none"]
    assert lua.call("list_held", queue="default", most=5) == ["ok"]
    lua.redis.flushall()


def test_runs_are_listed_with_those_who_hold_them(lua: Lua) -> None:
    assert lua.call("list_held", queue="slow", most=5) == ["ok"]
    for number in range(6):
        lua.create(f"run-{number}", {"pr": 3} if number == 5 else None, queue="slow")
    lua.claim("w1", limit=4, queues=["slow"])  # the urgent one, and three
    released = lua.claim("w2", limit=1, queues=["slow"])[0]
    lua.release(released)
    lua.claim("w2", limit=1, queues=["slow"])
    word, *rows = lua.call("list_held", queue="slow", most=9)
    assert word == "ok"
    assert sorted((row[0], row[1]) for row in rows) == [
        *((b"w1", name) for name in (b"run-0", b"run-1", b"run-2", b"run-5")),
        (b"w2", released.run_id.encode()),
    ]
    assert all(0 <= row[2] < 60_000 for row in rows)
    assert len(lua.call("list_held", queue="slow", most=2)[1:]) == 3


def test_what_is_pending_and_no_longer_held_is_not_listed(lua: Lua) -> None:
    for number in range(3):
        lua.create(f"run-{number}")
    lua.claim("w1")
    lua.redis.hset(f"{PREFIX}run:run-0", "e", "0:1-1")  # the hash is believed
    lua.redis.set(f"{PREFIX}run:run-1", "no hash")
    assert [row[1] for row in lua.call("list_held", queue="default", most=9)[1:]] == [b"run-2"]
    lua.redis.flushall()


def test_runs_that_wait_for_code_are_read_in_pieces(lua: Lua) -> None:
    for number in range(5):
        lua.create(f"run-{number}", version="v2" if number % 2 else "", queue="" if number < 4 else "slow")
    for held in lua.claim(queues=["default", "slow"]):
        lua.later(1)
        lua.shelve(held, "suspended" if held.run_id == "run-1" else "stranded", first_ms=5_000)
    seen: list[Any] = []
    place: dict[str, Any] = {"at_ms": 0, "at_id": ""}
    while True:
        _, at_id, at_ms, *rows = lua.call("list_stuck", workflow="order", limit=2, **place)
        if at_ms == b"":
            break
        place = {"at_ms": at_ms, "at_id": at_id}
        seen += rows
    assert seen == [
        [b"run-0", b"%d" % (T0 + 1), b"waiting:stranded", b"", b"", b"%d" % (T0 + 5_001)],
        [b"run-1", b"%d" % (T0 + 2), b"waiting:suspended", b"", b"v2", b"%d" % (T0 + 5_002)],
        [b"run-2", b"%d" % (T0 + 3), b"waiting:stranded", b"", b"", b"%d" % (T0 + 5_003)],
        [b"run-3", b"%d" % (T0 + 4), b"waiting:stranded", b"", b"v2", b"%d" % (T0 + 5_004)],
        [b"run-4", b"%d" % (T0 + 5), b"waiting:stranded", b"slow", b"", b"%d" % (T0 + 5_005)],
    ]
    lua.redis.set(f"{PREFIX}run:run-0", "no hash")  # it keeps no other from being listed
    rows = lua.call("list_stuck", workflow="order", at_ms=0, at_id="", limit=9)[3:]
    assert [row[0] for row in rows] == [b"run-1", b"run-2", b"run-3", b"run-4"]
    lua.delete("run:run-0")
    lua.redis.zrem(f"{PREFIX}stuck:order", "run-0")
    lua.redis.zrem(f"{PREFIX}runs:order", "run-0")
    lua.redis.zrem(f"{PREFIX}delayed", "run-0")


def test_unfinished_runs_are_counted_by_version(lua: Lua) -> None:
    for number in range(6):
        lua.create(f"run-{number}", version=("", "v1", "v2")[number % 3])
    lua.finish(lua.claim(limit=1)[0])
    word, at_id, _, *flat = lua.call("count_versions", workflow="order", at_ms=0, at_id="", limit=9)
    assert (word, at_id) == ("ok", b"run-5")
    assert dict(zip(flat[::2], flat[1::2], strict=True)) == {b"": 1, b"v1": 2, b"v2": 2}
