"""pause_run and resume_run: whatever a run is doing, and whatever comes between the two."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tests.lua.harness import PREFIX, T0, TERMINAL, Held, Lua, audit
from tests.lua.test_cancel import STATUSES, reach


@pytest.mark.parametrize("status", STATUSES)
def test_a_run_of_any_status_can_be_paused_and_resumed(lua: Lua, status: str) -> None:
    reach(lua, status)
    assert lua.twice("pause_run", run_id="run-1") == ["paused"]
    fields = lua.fields()
    assert fields["s"] == b"waiting:paused"
    assert not fields.keys() & {"e", "p"}
    assert lua.due() == T0 + 9000  # the deadline alone
    audit(lua)
    word, now = lua.twice("resume_run", run_id="run-1")
    waits_on = status in ("waiting:start", "waiting:retry")
    assert (word, now.decode()) == ("resumed", status if waits_on else "pending")
    assert lua.due() == (T0 + 5 if waits_on else T0 + 9000)


@pytest.mark.parametrize("reason", ["start", "timer", "retry"])
def test_a_timer_that_fell_due_waits_for_the_resume_and_then_fires_at_once(lua: Lua, reason: str) -> None:
    if reason == "start":
        lua.create(available="+5")
    else:
        lua.park(lua.take(), due=T0 + 5, reason=reason)
    lua.pause()
    assert lua.due() is None
    lua.later(10)
    assert lua.wake()[0] == 0
    assert lua.claim() == []
    assert lua.resume() == ["resumed", "pending"]
    assert lua.claim_only().run_id == "run-1"


def test_a_run_that_may_have_mail_is_looked_at_when_it_is_resumed(lua: Lua) -> None:
    lua.park(lua.take(), due=T0 + 5000, reason="signal", seen="0", wants="\nname\n")
    lua.pause()
    assert lua.resume() == ["resumed", "pending"]


def test_the_holder_of_a_paused_run_is_shut_out_and_told(lua: Lua) -> None:
    held = lua.take(worker="w7")
    with lua.redis.pubsub() as listener:
        listener.ssubscribe(f"{PREFIX}worker:w7")
        assert listener.get_sharded_message(timeout=5)["type"] == "ssubscribe"
        lua.pause()
        assert listener.get_sharded_message(timeout=5)["data"] == b"run-1"
    assert set(lua.holder_calls(held).values()) == {"fenced"}
    assert lua.resume() == ["resumed", "pending"]
    assert set(lua.holder_calls(held).values()) == {"fenced"}
    assert lua.claim_only().fence.startswith("2:")


def test_pausing_or_resuming_what_has_ended_or_is_not_there_changes_nothing(lua: Lua) -> None:
    lua.finish(lua.take())
    before = lua.dump()
    assert (lua.pause(), lua.resume()) == (["already", "succeeded"], ["already", "succeeded"])
    assert (lua.pause("run-2"), lua.resume("run-2")) == (["missing"], ["missing"])
    assert lua.dump() == before


def test_what_nobody_has_claimed_takes_its_place_among_new_runs_again(lua: Lua) -> None:
    for number in range(4):
        lua.create(f"fair-{number}", {"fp": "ff", "pr": "3"})
    lua.later(1)
    lua.create("behind", {"fp": "ff", "pr": "3"})
    assert lua.status("behind") == "waiting:limited"
    assert lua.pause("fair-0") == ["paused"]
    audit(lua)
    assert lua.status("behind") == "pending", "it has made room"
    assert lua.twice("resume_run", run_id="fair-0") == ["resumed", b"waiting:limited"]
    audit(lua)
    assert [held.run_id for held in lua.claim(limit=4)] == ["fair-1", "fair-2", "fair-3", "behind"]
    assert lua.status("fair-0") == "pending"
    audit(lua)


@pytest.mark.parametrize("limit", ["aa:1:0", "bb:1:60000"], ids=["concurrency", "rate"])
def test_a_paused_run_gives_its_slots_and_places_to_others(lua: Lua, limit: str) -> None:
    names = [f"r{number}" for number in range(4)]
    for name in names:
        lua.later(1)
        lua.create(name, {"lk": limit})
    running = lua.claim_only()
    assert lua.pause("r1") == ["paused"], "from the line"
    audit(lua)
    if limit == "aa:1:0":
        assert lua.pause("r0") == ["paused"], "while it runs"
    else:
        lua.later(60_000)
        lua.wake()
    audit(lua)
    assert lua.status("r2") == "pending", "a slot was given to it"
    assert lua.pause("r2") == ["paused"], "before it was claimed"
    audit(lua)
    assert [held.run_id for held in lua.claim()] == ["r3"]
    for name in names[int(limit != "aa:1:0") : 3]:
        assert lua.resume(name) == ["resumed", "pending"]
    assert lua.claim() == []
    audit(lua)
    assert lua.listed(f"blocked:{limit[:2]}") == (["r0"] if limit == "aa:1:0" else []) + ["r1", "r2"]
    assert running.run_id == "r0"


# -- every order of what can happen to a run that is running -----------------------------------------------

EVENTS = ("pause", "cancel", "finish", "deadline", "reclaim", "resume")


def _expected(order: tuple[str, ...]) -> str:
    """What the promises say, event by event: the status at the end."""
    status, is_held = "running", True
    for event in order:
        if status in ("canceled", "succeeded", "failed"):
            break
        if event == "pause":
            status, is_held = "waiting:paused", False
        elif event == "cancel":
            status = "canceled"
        elif event == "finish" and is_held:
            status = "succeeded"
        elif event == "deadline":
            status = "failed"
        elif event == "reclaim" and is_held:
            status, is_held = "pending", False
        elif event == "resume" and status == "waiting:paused":
            status = "pending"
    return status


def _orders() -> list[tuple[str, ...]]:
    """All of them; of those that differ only after the end of the run, one."""
    found: dict[tuple[str, ...], tuple[str, ...]] = {}
    for order in itertools.permutations(EVENTS):
        ends = (count for count in range(1, len(order)) if _expected(order[:count]) in TERMINAL)
        found.setdefault(order[: next(ends, len(order))], order)
    return list(found.values())


@pytest.mark.parametrize("end", ["succeeded", "failed"])
@pytest.mark.parametrize("order", _orders(), ids="-".join)
def test_in_every_order_the_run_reaches_one_end_and_keeps_its_structure(
    lua: Lua, order: tuple[str, ...], end: str
) -> None:
    lua.create(deadline="+1000")
    held = lua.claim_only()

    def pass_deadline(_: Held) -> None:
        lua.later(2000)
        lua.wake()

    def reclaim(held: Held) -> None:
        if lua.pending(held):
            lua.expire(held)
        lua.reclaim()

    acts: dict[str, Callable[[Held], object]] = {
        "pause": lambda _: lua.twice("pause_run", run_id="run-1"),
        "cancel": lambda _: lua.twice("cancel_run", run_id="run-1"),
        "finish": lambda held: lua.finish(held, b"done", status=end),
        "deadline": pass_deadline,
        "reclaim": reclaim,
        "resume": lambda _: lua.twice("resume_run", run_id="run-1"),
    }
    for count, event in enumerate(order, 1):
        acts[event](held)
        audit(lua)
        expected = _expected(order[:count])
        # Which of its two ends the holder brings changes nothing for all others.
        is_finished = expected == "succeeded" or (expected == "failed" and lua.fields().get("ca") is None)
        assert lua.status() == (end if is_finished else expected), order[:count]
