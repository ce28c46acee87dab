"""reclaim_runs: a run whose worker is gone goes on elsewhere, and whoever comes back too late changes nothing."""

from __future__ import annotations

import pytest

from tests.lua.harness import LEASE_MS, PREFIX, T0, Held, Lua


def crash(lua: Lua, held: Held) -> list[object]:
    """Let a worker be gone with a run, and upkeep find it."""
    lua.expire(held)
    return lua.reclaim(held.entry[0])


def test_a_run_whose_lease_is_over_goes_to_the_next_worker(lua: Lua) -> None:
    held = lua.take()
    lua.commit(held, b"one")
    lua.note(held)
    lua.delete("bell:default")
    assert crash(lua, held) == ["end", 1, 0, 0]
    assert (lua.status(), lua.entries("0"), lua.entries("w")) == ("pending", [], ["run-1"])
    assert lua.length("bell:default") == 1
    other = lua.claim_only("w2")
    assert (other.fence.split(":")[0], other.mark, other.fields["x"]) == ("2", "1:5", b"1")
    assert "p" not in other.fields


def test_a_live_run_is_left_alone_however_long_it_runs(lua: Lua) -> None:
    lua.take()
    lua.later(100 * LEASE_MS)  # the lease is the entry's idle time, not the run's age
    before = lua.dump()
    assert lua.reclaim() == ["end", 0, 0, 0]
    assert lua.dump() == before


def test_upkeep_that_is_sent_again_finds_nothing_more_to_do(lua: Lua) -> None:
    lua.expire(lua.take())
    assert lua.reclaim() == ["end", 1, 0, 0]
    before = lua.dump()
    assert lua.reclaim() == ["end", 0, 0, 0]
    assert lua.dump() == before


@pytest.mark.parametrize("then", ["still pending", "claimed by another", "finished by another", "claimed again"])
def test_a_zombie_is_refused_by_every_call_and_changes_nothing(lua: Lua, then: str) -> None:
    zombie = lua.take(worker="w1")
    lua.commit(zombie, b"one")
    crash(lua, zombie)
    if then != "still pending":
        other = lua.claim_only("w1" if then == "claimed again" else "w2")
        if then == "finished by another":
            lua.finish(other)
    lua.renew(worker="w1")
    before = lua.dump_without_leases()
    answers = lua.holder_calls(zombie)
    ended = then == "finished by another"
    refusals = {"fenced", "ended"} if ended else {"fenced"}
    assert set(answers.values()) == refusals, answers
    assert lua.dump_without_leases() == before


def test_a_zombie_cannot_renew_the_lease_of_the_new_holder_away(lua: Lua) -> None:
    zombie = lua.take(worker="w1")
    crash(lua, zombie)
    held = lua.claim_only("w2")
    for _ in range(3):
        assert lua.renew(zombie, worker="w1") == ["run-1"]
    pending = lua.pending(held)
    assert pending is not None
    assert pending["consumer"] == b"w2"
    # And were the new holder to die now, the run would still go on.
    assert crash(lua, held) == ["end", 1, 0, 0]


def test_the_worker_that_lost_a_run_is_told(lua: Lua) -> None:
    held = lua.take(worker="w7")
    with lua.redis.pubsub() as listener:
        listener.ssubscribe(f"{PREFIX}worker:w7")
        assert listener.get_sharded_message(timeout=5)["type"] == "ssubscribe"
        crash(lua, held)
        message = listener.get_sharded_message(timeout=5)
    assert message["data"] == b"run-1"


def test_a_lease_lost_by_a_worker_that_is_alive_is_no_crash(lua: Lua) -> None:
    held = lua.take()
    lua.renew(held, presence_ms=1_000)
    lua.later(999)
    crash(lua, held)
    held = lua.claim_only()
    assert "x" not in held.fields
    lua.later(1)  # from here on its presence is over
    crash(lua, held)
    assert lua.fields()["x"] == b"1"


def test_a_worker_that_died_right_after_a_heartbeat_without_the_run_has_crashed(lua: Lua) -> None:
    held = lua.take()
    lua.later(20)
    lua.renew(worker="w1", presence_ms=LEASE_MS)  # it was on its way while the claim's reply was
    lua.later(LEASE_MS - 20)
    lua.expire(held, idle_ms=LEASE_MS)
    assert lua.reclaim() == ["end", 0, 0, 0], "nobody can tell yet"
    assert lua.status() == "running"
    lua.later(20)
    lua.expire(held, idle_ms=LEASE_MS)
    assert lua.reclaim() == ["end", 1, 0, 0]
    assert lua.fields()["x"] == b"1"


def test_three_crashes_in_a_row_fail_the_run_as_poisoned(lua: Lua) -> None:
    held = lua.take("run-1", deadline="+90000")
    crash(lua, held)
    crash(lua, lua.claim_only())
    last = lua.claim_only()
    lua.note(last)
    assert crash(lua, last) == ["end", 0, 1, 0]
    fields = lua.fields()
    assert (fields["s"], fields["ca"], fields["x"], fields["t"]) == (b"failed", b"poisoned", b"3", b"%d" % T0)
    assert lua.listed("done:order:failed") == ["run-1"]
    assert lua.finish(last) == "ended"


@pytest.mark.parametrize("progress", ["commit", "park"])
def test_a_record_between_two_crashes_ends_the_row(lua: Lua, progress: str) -> None:
    held = lua.take()
    for number in range(5):
        crash(lua, held)
        held = lua.claim_only()
        if progress == "commit":
            lua.commit(held, b"record", forget="crashes")
        else:
            lua.park(held, b"record", due=lua.now)
            held = lua.claim_only()
        assert int(held.mark.split(":")[0]) == number + 1
    assert lua.status() == "running"


def test_a_release_between_two_crashes_does_not_end_the_row(lua: Lua) -> None:
    crash(lua, lua.take())
    lua.release(lua.claim_only())
    crash(lua, lua.claim_only())
    lua.release(lua.claim_only())
    assert crash(lua, lua.claim_only()) == ["end", 0, 1, 0]


def test_an_expired_run_is_found_behind_thousands_of_live_ones(lua: Lua) -> None:
    count = 2_500
    for number in range(count):
        lua.create(f"run-{number}")
    claims = lua.claim(limit=count)
    lua.expire(claims[-1])
    cursors: list[str] = []
    reclaimed = 0
    while not cursors or cursors[-1] != "end":
        cursor, found, _, _ = lua.reclaim(step=200)
        cursors.append(cursor)
        reclaimed += found
    assert (len(cursors), reclaimed) == (13, 1)
    assert lua.status(claims[-1].run_id) == "pending"
    assert lua.redis.hlen(f"{PREFIX}upkeep") == 0


def test_each_stream_has_a_cursor_of_its_own(lua: Lua) -> None:
    for queue in ("default", "mail"):
        for number in range(3):
            lua.create(f"{queue}-{number}", queue=queue)
    for held in lua.claim(queues=["default", "mail"]):
        lua.expire(held)
    assert lua.reclaim(queue="default", step=2)[1] == 2
    assert lua.reclaim(queue="mail", step=2)[1] == 2
    assert lua.reclaim(queue="default", step=2)[:2] == ["end", 1]
    assert lua.reclaim(queue="mail", step=2)[:2] == ["end", 1]


def test_upkeep_goes_on_behind_entries_that_left_meanwhile(lua: Lua) -> None:
    for number in range(6):
        lua.create(f"run-{number}")
    claims = lua.claim()
    lua.reclaim(step=2)
    for held in claims[:4]:
        lua.finish(held)
    lua.expire(claims[5])
    assert lua.reclaim(step=2)[1] == 1


def test_an_entry_that_was_deleted_from_its_stream_is_counted_and_its_run_rebuilt(lua: Lua) -> None:
    held = lua.take()
    lua.expire(held)
    lua.redis.xdel(held.stream, held.entry_id)
    assert lua.reclaim() == ["end", 0, 0, 1]
    assert lua.reconcile() == (1, 1)
    assert lua.claim_only("w2").fence.startswith("2:")


def test_an_entry_that_was_read_by_somebody_else_comes_back_without_a_crash(lua: Lua) -> None:
    lua.create()
    lua.claim(limit=0)
    lua.redis.xgroup_create(f"{PREFIX}q:default:0", "workers", "0")
    (entry, _), *_ = lua.redis.xreadgroup("workers", "by hand", {f"{PREFIX}q:default:0": ">"})[0][1]
    lua.redis.xclaim(f"{PREFIX}q:default:0", "workers", "by hand", 0, [entry], idle=LEASE_MS, justid=True)
    assert lua.reclaim() == ["end", 1, 0, 0]
    held = lua.claim_only()
    assert (held.fence.split(":")[0], "x" in held.fields) == ("1", False)


def test_a_stray_pending_entry_is_dropped(lua: Lua) -> None:
    held = lua.take()
    stray = lua.redis.xadd(held.stream, {"r": "run-1"})
    lua.redis.xreadgroup("workers", "by hand", {held.stream: ">"})
    lua.redis.xclaim(held.stream, "workers", "by hand", 0, [stray], idle=LEASE_MS, justid=True)
    before = lua.fields()
    assert lua.reclaim() == ["end", 0, 0, 0]
    assert (lua.fields(), lua.entries()) == (before, ["run-1"])


def test_a_broken_run_does_not_keep_upkeep_from_the_others(lua: Lua) -> None:
    for number in range(3):
        lua.create(f"run-{number}")
    for held in lua.claim():
        lua.expire(held)
    key = f"{PREFIX}run:run-0"
    kept = lua.redis.dump(key)
    lua.redis.set(key, "not a hash")
    assert lua.reclaim() == ["end", 2, 0, 1]
    lua.redis.restore(key, 0, kept, replace=True)
    assert lua.reconcile() == (3, 1)


def test_upkeep_of_a_stream_that_does_not_exist_is_done_at_once(lua: Lua) -> None:
    assert lua.reclaim(queue="nowhere") == ["end", 0, 0, 0]
    lua.create()
    assert lua.reclaim() == ["end", 0, 0, 0]  # a stream without a group
