"""Paused queues and workflows, and letting go slowly: pause_control, resume_control, start_release, drive_controls."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lua.harness import PREFIX, T0, Lua, audit

ORDERS, QUEUE = "w:order", "q:default"


def pause(lua: Lua, control: str) -> None:
    assert lua.twice("pause_control", control=control, release="") == ["ok"]


def release(lua: Lua, control: str, rate: int = 20_000, **changes: Any) -> str:
    arguments = {"release": "r1", "rate": rate, "ratio": 500, "least": 4, "phase": 0, **changes}
    word: str = lua.twice("start_release", control=control, **arguments)[0]
    return word


def drive(lua: Lua, limit: int = 100) -> list[Any]:
    _, released, next_in, *failing = lua.call("drive_controls", limit=limit)
    return [released, next_in, [part.decode() for part in failing]]


def state(lua: Lua, control: str) -> str | None:
    found = lua.redis.hget(f"{PREFIX}controls", control)
    return None if found is None else found.decode()


def make(lua: Lua, count: int) -> list[str]:
    names = [f"run-{number}" for number in range(count)]
    for name in names:
        lua.create(name)
    return names


def claimed(lua: Lua, **changes: Any) -> list[str]:
    return [held.run_id for held in lua.claim(**changes)]


def test_the_streams_of_a_paused_queue_are_not_read(lua: Lua) -> None:
    names = make(lua, 2)
    lua.create("other", queue="mail")
    pause(lua, QUEUE)
    assert claimed(lua, queues=["default", "mail"]) == ["other"]
    assert lua.entries() == names
    assert lua.twice("resume_control", control=QUEUE) == ["ok"]
    assert claimed(lua) == names
    assert not lua.redis.exists(f"{PREFIX}controls", f"{PREFIX}control:{QUEUE}")


def test_a_run_of_a_paused_workflow_is_held_when_it_is_claimed(lua: Lua) -> None:
    names = make(lua, 3)
    lua.create("other", workflow="mail")
    pause(lua, ORDERS)
    operation = lua.claim_arguments()
    reply = lua.twice("claim_runs", ["default"], **operation)
    assert [row[0] for row in reply[4:]] == [b"other"]
    assert lua.listed("held:order") == names
    assert lua.status("run-0") == "waiting:held"
    assert lua.twice("resume_control", control=ORDERS) == ["ok"]
    assert drive(lua, limit=2) == [2, 0, []]
    audit(lua)
    assert drive(lua)[0] == 1
    assert state(lua, ORDERS) is None
    assert claimed(lua) == names


def test_what_runs_already_goes_on_and_is_held_when_it_comes_back(lua: Lua) -> None:
    held = lua.take()
    pause(lua, ORDERS)
    assert lua.commit(held, b"one") == "ok"
    lua.park(held, due=T0 + 5)
    lua.later(10)
    assert claimed(lua) == []
    assert lua.status() == "waiting:held"


@pytest.mark.parametrize("verdict", ["cancel", "deadline", "pause"])
def test_a_held_run_can_be_canceled_paused_and_ends_at_its_deadline(lua: Lua, verdict: str) -> None:
    lua.create(deadline="+50")
    pause(lua, ORDERS)
    claimed(lua)
    if verdict == "deadline":
        lua.later(100)
        lua.wake()
    else:
        lua.call(f"{verdict}_run", run_id="run-1")
    assert lua.listed("held:order") == []
    expected = {"cancel": "canceled", "deadline": "failed", "pause": "waiting:paused"}
    assert lua.status() == expected[verdict]
    lua.call("resume_control", control=ORDERS)
    assert drive(lua)[0] == 0


def test_held_runs_that_are_let_go_have_their_priorities_and_take_turns(lua: Lua) -> None:
    pause(lua, ORDERS)
    for number in range(6):
        lua.create(f"many-{number}", {"fp": "aa"})
        lua.later(1)
    lua.create("few", {"fp": "bb"})
    lua.create("urgent", {"fp": "bb", "pr": "9"})
    for _ in range(3):
        assert claimed(lua, limit=100) == []
        audit(lua)
    assert len(lua.listed("held:order")) == 8
    lua.call("resume_control", control=ORDERS)
    assert drive(lua)[0] == 8
    audit(lua)
    lua.at(T0 + 1001)
    order = [name for _ in range(8) for name in claimed(lua, limit=1)]
    assert order == ["urgent", "many-0", "many-1", "many-2", "many-3", "few", "many-4", "many-5"]
    audit(lua)


def test_a_release_lets_so_many_go_in_a_second_and_the_oldest_first(lua: Lua) -> None:
    names = make(lua, 9)
    pause(lua, ORDERS)
    claimed(lua)
    lua.later(60_000)
    assert release(lua, ORDERS) == "releasing"  # 20 runs a second
    assert drive(lua)[0] == 0
    lua.later(100)
    assert drive(lua)[0] == 2
    assert claimed(lua) == names[:2]
    assert drive(lua)[0] == 0
    lua.later(60_000)
    assert drive(lua)[0] == 5  # of what was not used, as much as a quarter of a second gives is kept
    late = make(lua, 10)[-1]  # started meanwhile: it stands behind those that waited
    assert claimed(lua, limit=10) == names[2:7]
    assert lua.listed("held:order") == [*names[7:], late]


def test_a_slow_release_lets_its_first_run_go_in_time(lua: Lua) -> None:
    make(lua, 2)
    pause(lua, ORDERS)
    claimed(lua)
    release(lua, ORDERS, rate=3)  # one in 333.3 s
    lua.later(333_333)
    assert drive(lua)[0] == 0
    lua.later(1)
    assert drive(lua)[0] == 1
    lua.later(3_600_000)
    assert drive(lua)[0] == 1


@pytest.mark.parametrize(("phase", "first_ms"), [(0, 50), (500, 25), (800, 10), (937, 4)])
def test_partitions_take_turns_so_the_first_run_goes_before_a_whole_interval_is_over(
    lua: Lua, phase: int, first_ms: int
) -> None:
    make(lua, 3)
    pause(lua, ORDERS)
    claimed(lua)
    release(lua, ORDERS, phase=phase)  # one in 50 ms
    lua.later(first_ms - 1)
    assert drive(lua)[0] == 0
    lua.later(1)
    assert drive(lua)[0] == 1
    lua.later(49)
    assert drive(lua)[0] == 0
    lua.later(1)
    assert drive(lua)[0] == 1


def test_a_release_ends_and_the_pause_with_it_when_nothing_is_held_for_a_while(lua: Lua) -> None:
    make(lua, 1)
    pause(lua, ORDERS)
    claimed(lua)
    release(lua, ORDERS)
    lua.later(1000)
    assert drive(lua)[0] == 1
    lua.later(2999)
    drive(lua)
    assert state(lua, ORDERS) == "releasing:r1"
    lua.later(1)
    drive(lua)
    assert state(lua, ORDERS) is None
    assert release(lua, ORDERS) == "not paused"


def test_a_release_tells_when_failures_return_and_stops_when_it_is_told_to(lua: Lua) -> None:
    names = make(lua, 10)
    pause(lua, ORDERS)
    claimed(lua)
    release(lua, ORDERS, ratio=500, least=4)
    lua.later(1000)
    drive(lua)
    for number, held in enumerate(lua.claim()):
        lua.finish(held, status="succeeded" if number % 2 else "failed")
    assert drive(lua) == [0, 50, [ORDERS, "r1"]]
    lua.twice("pause_control", control=ORDERS, release="r1")
    assert drive(lua) == [0, -1, []]
    row = lua.call("list_controls")[1]
    assert [part.decode() if isinstance(part, bytes) else part for part in row] == [
        *(ORDERS, "stopped", 5, str(T0), "20000", "5", "2", "3", str(T0 + 1000), "500", "4")
    ]
    lua.later(5000)
    assert drive(lua)[0] == 0
    assert lua.listed("held:order") == names[5:]
    # Whoever looked after it lets it go on: what failed before does not count any more.
    assert release(lua, ORDERS, release="r2") == "releasing"
    lua.later(1000)
    assert drive(lua)[0] == 5


def test_a_stop_from_another_partition_is_of_that_release_alone(lua: Lua) -> None:
    pause(lua, ORDERS)
    release(lua, ORDERS, release="r2")
    lua.twice("pause_control", control=ORDERS, release="r1")
    assert state(lua, ORDERS) == "releasing:r2"
    lua.twice("pause_control", control=ORDERS, release="r2")
    assert state(lua, ORDERS) == "stopped"
    pause(lua, ORDERS)
    assert state(lua, ORDERS) == "paused"


def test_a_queue_is_let_go_slowly_by_its_claims(lua: Lua) -> None:
    names = make(lua, 8)
    pause(lua, QUEUE)
    release(lua, QUEUE)
    assert claimed(lua) == []
    lua.later(100)
    assert claimed(lua) == names[:2]
    assert claimed(lua, worker="w2") == []
    lua.later(1000)
    held = lua.claim()
    assert [one.run_id for one in held] == names[2:7]
    for one in held:
        lua.finish(one, status="failed")
    assert drive(lua)[2] == [QUEUE, "r1"]
    lua.twice("pause_control", control=QUEUE, release="r1")
    lua.later(1000)
    assert claimed(lua) == []


def test_the_release_of_a_queue_ends_when_its_streams_have_been_empty_for_a_while(lua: Lua) -> None:
    names = make(lua, 1)
    pause(lua, QUEUE)
    release(lua, QUEUE)
    lua.later(1000)
    assert claimed(lua) == names
    for _ in range(3):
        drive(lua)
        assert state(lua, QUEUE) == "releasing:r1"
        lua.later(1000)
        claimed(lua)
    drive(lua)
    assert state(lua, QUEUE) is None


def test_a_held_run_whose_place_is_lost_comes_back(lua: Lua) -> None:
    make(lua, 1)
    pause(lua, ORDERS)
    claimed(lua)
    lua.delete("held:order")
    assert lua.reconcile() == (1, 1)
    assert claimed(lua) == []
    assert lua.listed("held:order") == ["run-0"]
    lua.delete("controls", f"control:{ORDERS}", "held:order")
    lua.reconcile()
    assert claimed(lua) == ["run-0"]


def test_a_held_run_whose_pause_was_lost_comes_back(lua: Lua) -> None:
    pause(lua, ORDERS)
    lua.create()
    assert claimed(lua) == []
    lua.delete("controls", f"control:{ORDERS}")
    assert lua.reconcile() == (1, 1)
    assert (lua.status(), lua.listed("held:order")) == ("pending", [])
    assert claimed(lua) == ["run-1"]


def test_a_release_whose_state_was_lost_becomes_a_pause_and_disturbs_nobody(lua: Lua) -> None:
    make(lua, 1)
    for control in (ORDERS, QUEUE):
        pause(lua, control)
        release(lua, control)
        lua.delete(f"control:{control}")
    lua.later(1000)
    assert claimed(lua) == []
    assert drive(lua) == [0, -1, []]
    assert (state(lua, ORDERS), state(lua, QUEUE)) == ("paused", "paused")
    assert lua.redis.zcard(f"{PREFIX}broken") == 0


def test_what_a_step_cannot_read_stops_nothing_else(lua: Lua) -> None:
    names = make(lua, 3)
    pause(lua, ORDERS)
    claimed(lua)
    lua.redis.delete(f"{PREFIX}run:{names[0]}", f"{PREFIX}runs:order")
    lua.redis.zadd(f"{PREFIX}runs:order", dict.fromkeys(names[1:], T0))
    lua.call("resume_control", control=ORDERS)
    drive(lua)
    assert claimed(lua) == names[1:]


def test_what_waits_in_a_paused_queue_is_counted_whatever_its_priority(lua: Lua) -> None:
    pause(lua, QUEUE)
    lua.create("plain")
    lua.create("urgent", {"pr": "9"})
    assert lua.call("list_controls")[1][2] == 2
