"""Deadlines: checked by the server's clock wherever a run moves, and at their time where it does not."""

from __future__ import annotations

from itertools import permutations

import pytest

from tests.lua.harness import T0, Lua

LATE = T0 + 1_000


def failed_by_deadline(lua: Lua) -> bool:
    fields = lua.fields()
    return (fields["s"], fields.get("ca"), fields["t"]) == (b"failed", b"deadline", b"%d" % lua.now)


@pytest.mark.parametrize("status", ["pending", "running", "waiting:start", "timer", "stranded", "suspended"])
def test_a_run_of_any_status_fails_at_its_deadline(lua: Lua, status: str) -> None:
    lua.create("run-1", deadline="+1000", available="+5000" if status == "waiting:start" else "")
    if status not in ("pending", "waiting:start"):
        held = lua.claim_only()
        if status == "timer":
            lua.park(held, due=T0 + 5_000)
        elif status != "running":
            lua.shelve(held, status, first_ms=5_000)
    assert lua.due() == LATE
    lua.later(999)
    assert lua.wake() == (0, 1)
    assert lua.status() != "failed"
    lua.later(1)
    assert lua.wake() == (1, -1)
    assert failed_by_deadline(lua)
    assert lua.twice("wake_runs", limit=100) == ["ok", 0, -1]


@pytest.mark.parametrize("call", ["commit", "park", "finish"])
def test_what_a_holder_brings_after_the_deadline_is_not_recorded(lua: Lua, call: str) -> None:
    held = lua.take("run-1", deadline="+1000")
    lua.later(1_000)
    more: dict[str, dict[str, object]] = {
        "commit": {"renew": "", "forget": "", "seen": ""},
        "park": {"reason": "timer", "due": LATE + 1, "seen": "", "wants": ""},
    }
    more["finish"] = {"status": "succeeded", "payload": b"out"}
    assert lua.twice(f"{call}_run", [b"late"], **held.shown(b"late"), **more[call]) == ["ended"]
    assert failed_by_deadline(lua)
    assert (lua.records(), "o" in lua.fields()) == ([], False)


def test_what_a_holder_brings_just_before_the_deadline_counts(lua: Lua) -> None:
    held = lua.take("run-1", deadline="+1000")
    lua.later(999)
    assert lua.finish(held) == "ok"


def test_the_deadline_of_a_parked_run_stays_when_it_is_woken(lua: Lua) -> None:
    lua.park(lua.take("run-1", deadline="+1000"), due=T0 + 500)
    assert lua.due() == T0 + 500
    lua.later(500)
    lua.wake()
    assert (lua.status(), lua.due()) == ("pending", LATE)
    lua.claim_only()
    assert lua.due() == LATE


def test_a_deadline_in_the_past_fails_the_run_before_anybody_gets_it(lua: Lua) -> None:
    lua.create("run-1", deadline=str(T0 - 1))
    assert lua.claim() == []
    assert failed_by_deadline(lua)


EVENTS = ("cancel", "finish", "deadline", "reclaim", "park")


@pytest.mark.parametrize("order", list(permutations(EVENTS)), ids="-".join)
def test_whatever_comes_first_decides_and_nothing_after_it_changes_that(lua: Lua, order: tuple[str, ...]) -> None:
    held = lua.take("run-1", deadline="+1000")
    ended: dict[str, bytes] | None = None
    reached = ""
    for event in order:
        if event == "deadline":
            lua.later(1_000)
            lua.wake()
        elif event == "reclaim":
            lua.expire(held) if lua.pending(held) else None
            lua.reclaim()
        elif event == "cancel":
            lua.cancel()
        elif event == "finish":
            lua.finish(held, b"last")
        else:
            lua.park(held, b"asked", due=T0 + 500)
        if ended is not None:
            assert lua.fields() == ended, f"{event} changed a run that had ended by {reached}"
        elif lua.status() in ("succeeded", "failed", "canceled"):
            ended, reached = lua.fields(), event
    # What took the run from its holder first shuts out its finish, and the first verdict stands.
    first = next(event for event in order if event in ("cancel", "finish", "deadline"))
    taken = {"reclaim", "park"} & set(order[: order.index("finish")])
    if first == "finish" and taken:
        first = next(event for event in order if event in ("cancel", "deadline"))
    assert reached == first
