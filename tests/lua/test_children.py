"""Children: their end is told in the step that ends them, once, and what nobody waits for any more is looked after."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lua.harness import PREFIX, T0, Held, Lua

# The last four digits of an id are its partition: here two that share one, and one elsewhere.
PARENT, CHILD, SECOND, FAR = "parent-0000", "child-0000", "second-0000", "child-0001"


def kids(lua: Lua, run_id: str = PARENT) -> dict[str, str]:
    return {kid.decode(): policy.decode() for kid, policy in lua.redis.hgetall(f"{PREFIX}kids:{run_id}").items()}


def mail(lua: Lua, run_id: str = PARENT) -> list[bytes]:
    _, _, _, *items = lua.call("read_mail", run_id=run_id, after=0, bytes=1_000_000)
    return items[1::2]


def ordered(lua: Lua, *children: str, policy: str = "cancel") -> Held:
    """A parent that has recorded that it waits for these children."""
    held = lua.take(PARENT)
    effects = [part for child in children for part in ("kid", child, policy)]
    assert lua.commit(held, b"asked", effects=effects) == "ok"
    return held


def park(lua: Lua, held: Held, seen: int = 0) -> None:
    assert lua.park(held, reason="child", seen=seen, wants="\nc\n") == "ok"


def item(child: str, status: str, cause: str = "", payload: bytes = b"") -> bytes:
    return b"\n".join([b"c", child.encode(), status.encode(), cause.encode(), payload])


def claimed_child(lua: Lua, run_id: str = CHILD, parent: str = PARENT, **changes: Any) -> Held:
    lua.create(run_id, {"pa": parent}, **changes)
    held = lua.claim_only()
    assert held.fields["pa"] == parent.encode()
    return held


def test_a_child_that_finishes_tells_its_parent_and_wakes_it_in_the_same_step(lua: Lua) -> None:
    park(lua, ordered(lua, CHILD))
    child = claimed_child(lua)
    finish = {**child.shown(b"last"), "status": "succeeded", "payload": b"out"}
    assert lua.twice("finish_run", [b"last"], ["tell", PARENT], **finish) == ["ok"]
    assert (mail(lua), kids(lua)) == ([item(CHILD, "succeeded", payload=b"out")], {})
    assert (lua.status(PARENT), lua.entries("w")) == ("pending", [PARENT])


def test_a_refused_finish_tells_nobody(lua: Lua) -> None:
    park(lua, ordered(lua, CHILD))
    child = claimed_child(lua)
    mark, child.mark = child.mark, "7:70"
    assert lua.finish(child, b"last", effects=["tell", PARENT]) == "behind"
    assert (mail(lua), kids(lua)) == ([], {CHILD: "cancel"})
    child.mark = mark
    lua.cancel(CHILD)
    assert lua.finish(child, b"last", effects=["tell", PARENT]) == "ended"
    assert mail(lua) == [item(CHILD, "canceled", "canceled")]


@pytest.mark.parametrize("verdict", ["cancel", "deadline of a waiting one", "deadline of a held one", "poisoned"])
def test_a_verdict_from_outside_tells_the_parent_as_well(lua: Lua, verdict: str) -> None:
    park(lua, ordered(lua, CHILD))
    child = claimed_child(lua, deadline="+1000")
    match verdict:
        case "cancel":
            lua.cancel(CHILD)
            expected = item(CHILD, "canceled", "canceled")
        case "deadline of a waiting one":
            lua.park(child, due=T0 + 9_000)
            lua.later(1_000)
            lua.wake()
            expected = item(CHILD, "failed", "deadline")
        case "deadline of a held one":
            lua.later(1_000)
            assert lua.finish(child, effects=["tell", PARENT]) == "ended"
            expected = item(CHILD, "failed", "deadline")
        case _:
            lua.expire(child)
            assert lua.reclaim(crash_limit=1)[2] == 1
            expected = item(CHILD, "failed", "poisoned")
    assert (mail(lua), kids(lua), lua.status(PARENT)) == ([expected], {}, "pending")


def test_a_start_by_time_that_passes_tells_the_parent(lua: Lua) -> None:
    park(lua, ordered(lua, CHILD))
    lua.call("create_run", ["pa", PARENT, "xp", "+1000"], **_row(CHILD))
    lua.later(1_000)
    lua.wake()
    assert mail(lua) == [item(CHILD, "canceled", "expired")]


def _row(run_id: str) -> dict[str, Any]:
    names = ("version", "queue", "available", "deadline", "idem", "idem_ms", "fingerprint")
    return {"run_id": run_id, "workflow": "order", "input": b"in", **dict.fromkeys(names, "")}


def test_the_end_of_a_child_elsewhere_is_posted_and_given_once(lua: Lua) -> None:
    far_parent = "parent-0001"
    child = claimed_child(lua, CHILD, parent=far_parent)
    finish = {**child.shown(), "status": "failed", "payload": b"why"}
    assert lua.twice("finish_run", [], ["tell", far_parent], **finish) == ["ok"]
    (post,) = lua.posted()
    told = item(CHILD, "failed", payload=b"why")
    assert post == {"do": b"give_end", "run": far_parent.encode(), "child": CHILD.encode(), "item": told}
    assert lua.length("alarm") == 1


def test_what_comes_from_another_partition_is_given_once_and_to_no_one_who_does_not_wait(lua: Lua) -> None:
    park(lua, ordered(lua, FAR))
    given = {"run_id": PARENT, "child": FAR, "item": item(FAR, "succeeded", payload=b"out")}
    assert lua.call("give_end", **given) == ["ok"]
    assert lua.status(PARENT) == "pending"
    before = lua.dump()
    assert lua.call("give_end", **given) == ["known"]
    assert lua.call("give_end", **{**given, "run_id": "nobody-0000"}) == ["known"]
    assert lua.dump() == before
    assert mail(lua) == [given["item"]]


def test_a_child_that_is_given_up_is_canceled_unless_it_is_to_be_left(lua: Lua) -> None:
    held = lua.take(PARENT)
    lua.commit(held, b"asked", effects=["kid", CHILD, "cancel", "kid", SECOND, "leave"])
    dropping = {**held.shown(b"gave up"), "renew": "", "forget": "", "seen": ""}
    assert lua.twice("commit_run", [b"gave up"], ["drop", CHILD, "drop", SECOND], **dropping) == ["ok"]
    assert kids(lua) == {}
    assert lua.posted() == [{"do": b"cancel", "run": CHILD.encode()}]
    # On a later pass the code gives it up again: there is nothing more to do.
    held.mark = dropping["after"]
    assert lua.commit(held, b"more", effects=["drop", CHILD]) == "ok"
    assert len(lua.posted()) == 1


def test_the_end_of_a_child_that_was_given_up_is_no_mail(lua: Lua) -> None:
    held = ordered(lua, CHILD)
    child = claimed_child(lua)
    assert lua.commit(held, b"gave up", effects=["drop", CHILD]) == "ok"
    assert lua.finish(child, effects=["tell", PARENT]) == "ok"
    assert mail(lua) == []


def test_a_canceled_child_is_canceled_once_and_one_that_has_ended_stays_as_it_is(lua: Lua) -> None:
    held = ordered(lua, CHILD, SECOND)
    claimed_child(lua)
    second = claimed_child(lua, SECOND)
    park(lua, held)
    assert lua.call("cancel_child", run_id=CHILD) == ["canceled"]
    assert lua.twice("cancel_child", run_id=CHILD) == ["already", b"canceled"]
    assert lua.finish(second, effects=["tell", PARENT]) == "ok"
    assert lua.twice("cancel_child", run_id=SECOND) == ["already", b"succeeded"]
    assert [said.split(b"\n")[1:3] for said in mail(lua)] == [
        [CHILD.encode(), b"canceled"],
        [SECOND.encode(), b"succeeded"],
    ]


def test_a_child_that_was_canceled_before_its_order_came_is_never_created(lua: Lua) -> None:
    assert lua.twice("cancel_child", run_id=CHILD) == ["prevented"]
    assert lua.twice("create_run", ["pa", PARENT], **_row(CHILD)) == ["created"]
    assert lua.redis.exists(f"{PREFIX}run:{CHILD}", f"{PREFIX}runs:order", f"{PREFIX}q:default:0") == 0
    assert lua.create("another") == ["created"]
    assert lua.listed("runs:order") == ["another"]


def test_a_prevented_child_keeps_no_other_run_of_the_same_call_from_being_created(lua: Lua) -> None:
    lua.call("cancel_child", run_id=CHILD)
    head = lua.scripts.create_run
    rows: list[Any] = []
    for run_id in (CHILD, SECOND):
        row = head.call(PREFIX, ["pa", PARENT], **_row(run_id))
        rows += row[4:]
    assert lua.redis.execute_command(*row[:4], *rows) == [[b"created"], [b"created"]]
    assert lua.listed("runs:order") == [SECOND]


@pytest.mark.parametrize("end", ["finish", "cancel", "deadline"])
def test_a_parent_that_ends_before_its_children_posts_that_they_are_left(lua: Lua, end: str) -> None:
    held = ordered(lua, CHILD, FAR)
    if end == "finish":
        finish = {**held.shown(), "status": "succeeded", "payload": b""}
        assert lua.twice("finish_run", [], ["orphan"], **finish) == ["ok"]
    elif end == "cancel":
        lua.cancel(PARENT)
        lua.cancel(PARENT)
    else:
        lua.redis.hset(f"{PREFIX}run:{PARENT}", mapping={"dl": T0 + 1, "d": T0 + 1})
        lua.redis.zadd(f"{PREFIX}delayed", {PARENT: T0 + 1})
        lua.later(1)
        lua.wake()
    assert lua.posted() == [{"do": b"end_kids", "run": PARENT.encode(), "rt": b"0"}]


def test_what_is_posted_for_a_run_that_was_retried_by_hand_says_which_time_it_is(lua: Lua) -> None:
    held = ordered(lua, CHILD)
    lua.redis.hset(f"{PREFIX}run:{PARENT}", "rt", "2")
    assert lua.finish(held, effects=["orphan"]) == "ok"
    assert lua.posted() == [{"do": b"end_kids", "run": PARENT.encode(), "rt": b"2"}]


def test_a_run_without_children_posts_nothing_at_its_end(lua: Lua) -> None:
    assert lua.finish(lua.take(PARENT), effects=["orphan"]) == "ok"
    lua.take(SECOND)
    lua.cancel(SECOND)
    assert lua.posted() == []


def test_a_parent_that_has_ended_gets_no_mail_but_its_child_is_told_of_no_more(lua: Lua) -> None:
    held = ordered(lua, CHILD)
    child = claimed_child(lua)
    lua.finish(held, effects=["orphan"])
    assert lua.finish(child, effects=["tell", PARENT]) == "ok"
    assert (mail(lua), kids(lua)) == ([], {})


def test_a_parent_with_a_long_record_is_woken_a_little_later_by_all_ends_at_once(lua: Lua) -> None:
    held = ordered(lua, CHILD, SECOND)
    assert lua.commit(held, *(b"r" for _ in range(1_000))) == "ok"
    park(lua, held)
    for child in (CHILD, SECOND):
        assert lua.finish(claimed_child(lua, child), effects=["tell", PARENT]) == "ok"
        assert (lua.status(PARENT), lua.due(PARENT)) == ("waiting:child", lua.now + 100)
    lua.later(100)
    assert lua.wake()[0] == 1
    assert (lua.status(PARENT), lua.claim_only().fields["m"]) == ("pending", b"2")


def test_a_parent_with_a_long_record_that_is_due_earlier_keeps_its_time(lua: Lua) -> None:
    held = ordered(lua, CHILD)
    lua.commit(held, *(b"r" for _ in range(1_000)))
    assert lua.park(held, reason="timer", due=T0 + 50, seen=0, wants="\nc\n") == "ok"
    assert lua.finish(claimed_child(lua), effects=["tell", PARENT]) == "ok"
    assert lua.due(PARENT) == T0 + 50


def test_the_outbox_is_gone_once_all_was_carried_out(lua: Lua) -> None:
    held = ordered(lua, CHILD, SECOND)
    lua.commit(held, b"gave up", effects=["drop", CHILD, "drop", SECOND])
    entries = [entry for entry, _ in lua.redis.xrange(f"{PREFIX}outbox")]
    assert lua.twice("clear_outbox", entries[:1]) == ["ok"]
    assert len(lua.posted()) == 1
    assert lua.twice("clear_outbox", entries) == ["ok"]
    assert lua.redis.exists(f"{PREFIX}outbox") == 0
