"""reconcile_runs: the hash is the truth, and no lost hint strands a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ResponseError

from tests.lua.harness import PREFIX, T0, Lua, audit

if TYPE_CHECKING:
    from collections.abc import Callable


def fleet(lua: Lua) -> None:
    """One run of each status, each with a deadline far away."""
    for name in ("running", "timer", "stranded", "suspended", "succeeded", "canceled"):
        lua.create(name, deadline="+900000")
    held = {claim.run_id: claim for claim in lua.claim()}
    lua.park(held["timer"], b"asked", due=T0 + 5_000)
    lua.shelve(held["stranded"], "stranded")
    lua.shelve(held["suspended"], "suspended", problem=b"why")
    lua.finish(held["succeeded"])
    lua.cancel("canceled")
    lua.create("start", available="+5000", deadline="+900000")
    lua.create("pending", deadline="+900000")


LOSSES: dict[str, Callable[[Lua], object]] = {
    "the new stream": lambda lua: lua.delete("q:default:0"),
    "the group": lambda lua: lua.redis.xgroup_destroy(f"{PREFIX}q:default:0", "workers"),
    "the entries": lambda lua: [
        lua.redis.xdel(f"{PREFIX}q:default:0", entry) for entry, _ in lua.redis.xrange(f"{PREFIX}q:default:0")
    ],
    "the consumer": lambda lua: lua.redis.xgroup_delconsumer(f"{PREFIX}q:default:0", "workers", "w1"),
    "all timers": lambda lua: lua.delete("delayed"),
    "the place among the stuck": lambda lua: lua.delete("stuck:order"),
    "timers and entries at once": lambda lua: lua.delete("delayed", "q:default:0", "q:default:w", "stuck:order"),
    "bells and alarm": lambda lua: lua.delete("alarm", "bell:default"),
    "the workers": lambda lua: lua.delete("workers", "worker:w1", "upkeep"),
}


def test_where_nothing_is_lost_nothing_is_done(lua: Lua) -> None:
    fleet(lua)
    before = lua.dump()
    assert lua.reconcile() == (6, 0)
    assert lua.dump() == before


@pytest.mark.parametrize("loss", LOSSES)
def test_every_run_ends_after_a_loss(lua: Lua, loss: str) -> None:
    fleet(lua)
    LOSSES[loss](lua)
    lua.reconcile()
    audit(lua)
    assert lua.reconcile() == (6, 0)
    # Whoever held a run is gone; everything else is left to upkeep and one other worker.
    lua.expire_all("0")
    lua.reclaim("0")
    lua.later(10_000)
    lua.wake()
    lua.wake_stuck()
    for held in lua.claim("w2"):
        lua.finish(held)
    names = ("running", "timer", "stranded", "suspended", "start", "pending")
    assert {name: lua.status(name) for name in names} == dict.fromkeys(names, "succeeded")


@pytest.mark.parametrize("wrong", [-1_000, 1_000])
def test_a_timer_set_to_another_time_is_set_right(lua: Lua, wrong: int) -> None:
    lua.park(lua.take(), due=T0 + 5_000)
    lua.redis.zadd(f"{PREFIX}delayed", {"run-1": T0 + 5_000 + wrong})
    assert lua.reconcile() == (1, 1)
    assert lua.due() == T0 + 5_000


def test_a_timer_that_is_set_again_is_told_to_the_watcher(lua: Lua) -> None:
    lua.park(lua.take(), due=T0 + 5_000)
    lua.delete("delayed", "alarm")
    lua.reconcile()
    assert lua.length("alarm") == 1


def test_an_entry_whose_id_was_given_to_another_run_is_left_to_that_run(lua: Lua) -> None:
    lua.create("run-1")
    lua.create("run-2")
    entry = lua.fields("run-2")["e"].decode()
    lua.delete("q:default:0")
    lua.redis.xadd(f"{PREFIX}q:default:0", {"r": "run-1"}, id=entry[2:])
    lua.redis.hset(f"{PREFIX}run:run-1", "e", entry)
    assert lua.reconcile() == (2, 1)
    assert sorted(held.run_id for held in lua.claim()) == ["run-1", "run-2"]


def test_the_holder_of_a_run_that_was_given_back_is_shut_out(lua: Lua) -> None:
    held = lua.take()
    lua.note(held)
    lua.delete("q:default:0")
    assert lua.reconcile() == (1, 1)
    other = lua.claim_only("w2")
    assert lua.finish(held) == "fenced"
    assert (other.fence.split(":")[0], "x" in other.fields, "p" in other.fields) == ("2", False, False)


def test_a_holder_whose_hints_are_lost_can_go_on_until_then(lua: Lua) -> None:
    held = lua.take()
    lua.delete("q:default:0", "runs:order")
    assert lua.commit(held, b"one", renew="w1") == "ok"
    assert lua.renew(held) == []
    assert lua.finish(held) == "ok"


def test_a_terminal_run_is_moved_to_its_listing(lua: Lua) -> None:
    lua.finish(lua.take(), status="failed")
    lua.delete("done:order:failed")
    lua.redis.zadd(f"{PREFIX}runs:order", {"run-1": T0})
    assert lua.reconcile() == (1, 1)
    assert lua.listed("done:order:failed") == ["run-1"]


def test_a_listed_id_without_a_run_is_dropped(lua: Lua) -> None:
    lua.redis.zadd(f"{PREFIX}runs:order", {"nobody": T0})
    assert lua.reconcile() == (1, 1)
    assert lua.listed("runs:order") == []


def test_a_broken_run_keeps_no_other_from_being_repaired(lua: Lua) -> None:
    for number in range(3):
        lua.create(f"run-{number}")
    key = f"{PREFIX}run:run-1"
    kept = lua.redis.dump(key)
    lua.redis.set(key, "not a hash")
    lua.delete("q:default:0")
    assert lua.reconcile() == (3, 2)
    lua.redis.restore(key, 0, kept, replace=True)
    assert lua.reconcile() == (3, 1)


def test_it_goes_through_the_listing_in_steps(lua: Lua) -> None:
    for number in range(5):
        lua.create(f"run-{number}")
    lua.delete("q:default:0")
    assert [lua.reconcile(before=before, step=2) for before in (-1, 3, 1, 0)] == [(2, 2), (2, 2), (1, 1), (0, 0)]
    assert len(lua.claim()) == 5


def test_no_run_is_passed_over_where_others_end_between_its_steps(lua: Lua) -> None:
    for number in range(6):
        lua.create(f"run-{number}")
    lua.delete("q:default:0")
    assert lua.reconcile(before=-1, step=2) == (2, 2)
    for held in lua.claim():
        assert lua.finish(held) == "ok"
    assert lua.reconcile(before=4, step=2) == (2, 2)
    for held in lua.claim():
        assert lua.finish(held) == "ok"
    assert lua.reconcile(before=2, step=2) == (2, 2)
    assert len(lua.claim()) == 2


CALLS = ("claim", "commit", "park", "finish", "release", "shelve", "cancel", "reclaim", "wake")
HINTS = ("delayed", "q:default:0", "q:default:w", "bell:default", "alarm", "runs:order", "stuck:order")
LISTINGS = ("done:order:succeeded", "done:order:canceled", "done:order:failed", "workers", "worker:w1", "upkeep")


@pytest.mark.parametrize("key", [*HINTS, *LISTINGS])
@pytest.mark.parametrize("call", CALLS)
def test_a_key_of_the_wrong_type_tears_no_run(lua: Lua, call: str, key: str) -> None:
    """Whatever fails half-way: once the key is right again and upkeep has passed, runs and hints agree."""
    lua.create("held", deadline="+900000")
    held = lua.claim_only()
    if call == "claim":
        lua.create("new")
    if call == "wake":
        lua.create("early", available="+5")
        lua.later(5)
    if call == "reclaim":
        lua.expire(held)
    calls: dict[str, Callable[[], object]] = {
        "claim": lua.claim,
        "commit": lambda: lua.commit(held, b"one", renew="w1", forget="crashes"),
        "park": lambda: lua.park(held, b"one", due=T0 + 100),
        "finish": lambda: lua.finish(held, b"one"),
        "release": lambda: lua.release(held),
        "shelve": lambda: lua.shelve(held),
        "cancel": lambda: lua.cancel("held"),
        "reclaim": lua.reclaim,
        "wake": lua.wake,
    }
    kept = lua.redis.dump(PREFIX + key)
    lua.redis.set(PREFIX + key, "not what it should be")
    try:
        calls[call]()
    except ResponseError as error:
        assert "WRONGTYPE" in str(error)  # noqa: PT017  # it may fail so, and only so
    lua.delete(key)
    if kept is not None:
        lua.redis.restore(PREFIX + key, 0, kept)

    # Upkeep: the timer watcher, a claim that drops stale entries, expired leases, the listing; then all of it again.
    for _ in range(2):
        lua.later(60_000)
        lua.wake()
        lua.claim("w9", limit=100)
        for lane in ("0", "w"):
            lua.expire_all(lane)
            lua.reclaim(lane, crash_limit=100)
        lua.wake_stuck()
        lua.reconcile()
    audit(lua)
    for held_now in lua.claim("w9", limit=100):
        lua.finish(held_now)
