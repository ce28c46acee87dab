"""Limits that are decided in another partition than that of their run: it is lent a slot, by messages in both outboxes.

The other partition is number 7, here and where the limit is decided.
"""

from __future__ import annotations

from typing import Any

from tests.lua.harness import PREFIX, Held, Lua

ONE = {"lk": "aa:1:0@7"}
BOTH = {"lk": "aa:1:0@7 bb:2:1000@8"}


def take(lua: Lua) -> list[dict[str, str]]:
    """What was posted; it is on its way now."""
    posted = [{name: value.decode() for name, value in post.items()} for post in lua.posted()]
    lua.delete("outbox")
    return posted


def about(what: str, permit: str, hash_: str = "aa", to: str = "7", **more: str) -> dict[str, str]:
    return {"do": what, "run": permit.partition("/")[0], "to": to, "hash": hash_, "permit": permit, **more}


def give(lua: Lua, permit: str, hash_: str = "aa", home: int = 7) -> str:
    run_id = permit.partition("/")[0]
    answer: str = lua.call("give_permit", run_id=run_id, home=home, hash=hash_, permit=permit)[0]
    return answer


def ask(lua: Lua, permit: str, hash_: str = "aa", priority: int = 0, created: int | None = None) -> str:
    created = lua.now if created is None else created
    arguments: dict[str, Any] = {"hash": hash_, "permit": permit, "priority": priority, "created": created}
    answer: str = lua.call("ask_permit", **arguments)[0]
    return answer


def send_back(lua: Lua, permit: str, hash_: str = "aa") -> None:
    assert lua.call("return_permit", hash=hash_, permit=permit) == ["ok"]


def given(lua: Lua) -> list[str]:
    """The permits that were given, in order; they are on their way now."""
    posted = take(lua)
    assert {post["do"] for post in posted} <= {"give_permit"}
    return [post["permit"] for post in posted]


def running_under_both(lua: Lua) -> Held:
    """A run with two limits that has been given both."""
    lua.create("r", BOTH)
    lua.claim()
    give(lua, "r/1:1:0")
    give(lua, "r/1:2:1000", "bb", 8)
    held = lua.claim_only()
    take(lua)
    return held


# -- where the run lives ---------------------------------------------------------------------------------------------


def test_a_run_asks_where_its_limit_is_decided_and_runs_when_it_is_given_its_permit(lua: Lua) -> None:
    lua.create("r", ONE)
    asked_at = str(lua.now)
    assert lua.claim() == []
    assert (lua.status("r"), lua.entries(), lua.listed("blocked:aa")) == ("waiting:limited", [], [])
    assert take(lua) == [about("ask_permit", "r/1:1:0", priority="0", created=asked_at)]
    assert give(lua, "r/1:1:0") == "taken"
    assert (lua.status("r"), lua.entries("w"), take(lua)) == ("pending", ["r"], [])
    held = lua.claim_only()
    assert take(lua) == []
    lua.finish(held, effects=["free"])
    assert take(lua) == [about("return_permit", "r/1:1:0")]


def test_a_run_asks_for_one_permit_after_the_other(lua: Lua) -> None:
    lua.create("r", {**BOTH, "pr": "4"})
    lua.claim()
    assert [post["hash"] for post in take(lua)] == ["aa"]
    assert give(lua, "r/1:2:1000", "bb", 8) == "returned", "it has not asked for that yet"
    assert take(lua) == [about("return_permit", "r/1:2:1000", "bb", "8")]
    assert give(lua, "r/1:1:0") == "taken"
    assert take(lua) == [about("ask_permit", "r/1:2:1000", "bb", "8", priority="4", created=str(lua.now))]
    assert lua.status("r") == "waiting:limited"
    assert give(lua, "r/1:2:1000", "bb", 8) == "taken"
    held = lua.claim_only()
    assert take(lua) == [about("hold_permit", "r/1:2:1000", "bb", "8")], "of a rate it says that it has used it"
    lua.finish(held, effects=["free"])
    assert take(lua) == [about("return_permit", "r/1:1:0")], "what was used of a rate stays used"


def test_a_parked_run_gives_its_permit_back_and_asks_anew_when_it_goes_on(lua: Lua) -> None:
    held = running_under_both(lua)
    assert lua.park(held, due=lua.now + 10, effects=["free"]) == "ok"
    assert take(lua) == [about("return_permit", "r/1:1:0")]
    lua.later(10)
    assert lua.claim() == []
    assert [post["permit"] for post in take(lua)] == ["r/2:1:0"]
    assert give(lua, "r/1:1:0") == "returned", "it is of the round before"
    assert give(lua, "r/2:1:0") == "taken"
    assert lua.claim_only().run_id == "r", "a rate counts first claims only"


def test_a_permit_that_is_given_twice_is_known(lua: Lua) -> None:
    lua.create("r", ONE)
    lua.claim()
    assert [give(lua, "r/1:1:0"), give(lua, "r/1:1:0")] == ["taken", "known"]
    held = lua.claim_only()
    take(lua)
    assert (give(lua, "r/1:1:0"), take(lua)) == ("known", [])
    lua.finish(held, effects=["free"])
    take(lua)
    assert give(lua, "r/1:1:0") == "returned"
    assert take(lua) == [about("return_permit", "r/1:1:0")]


def test_what_nobody_wants_goes_back(lua: Lua) -> None:
    assert give(lua, "gone/3:1:0") == "returned"
    assert take(lua) == [about("return_permit", "gone/3:1:0")]
    lua.create("r", ONE)
    assert give(lua, "r/1:1:0") == "returned", "it has not asked"


def test_a_run_that_is_ended_from_outside_takes_its_question_back(lua: Lua) -> None:
    lua.create("asked", ONE)
    lua.create("given", BOTH)
    lua.create("late", ONE, deadline="+50")
    lua.create("pending", ONE)
    lua.claim()
    give(lua, "given/1:1:0")
    give(lua, "pending/1:1:0")
    take(lua)
    lua.cancel("asked")
    assert take(lua) == [about("return_permit", "asked/1:1:0")]
    lua.cancel("given")
    back = [about("return_permit", "given/1:1:0"), about("return_permit", "given/1:2:1000", "bb", "8")]
    assert take(lua) == back
    lua.cancel("pending")
    assert take(lua) == [about("return_permit", "pending/1:1:0")]
    lua.later(50)
    lua.wake()
    assert lua.status("late") == "failed"
    assert take(lua) == [about("return_permit", "late/1:1:0")]


def test_a_paused_run_gives_its_permits_back(lua: Lua) -> None:
    lua.create("r", ONE)
    lua.claim()
    give(lua, "r/1:1:0")
    take(lua)
    lua.pause("r")
    assert take(lua) == [about("return_permit", "r/1:1:0")]
    lua.call("resume_run", run_id="r")
    assert lua.claim() == []
    assert [post["permit"] for post in take(lua)] == ["r/2:1:0"]


def test_a_run_keeps_its_permits_when_its_worker_dies_or_hands_it_back(lua: Lua) -> None:
    lua.create("r", ONE)
    lua.claim()
    give(lua, "r/1:1:0")
    lua.expire(lua.claim_only())
    lua.reclaim("w")
    lua.release(lua.claim_only())
    assert lua.claim_only().run_id == "r"
    assert [post["do"] for post in take(lua)] == ["ask_permit"]


def test_upkeep_says_again_what_may_have_been_lost(lua: Lua) -> None:
    lua.create("waits", BOTH)
    lua.create("runs", ONE)
    lua.claim()
    give(lua, "waits/1:1:0")
    give(lua, "runs/1:1:0")
    lua.claim()
    take(lua)
    assert lua.reconcile() == (2, 0)
    said = {(post["do"], post["permit"]) for post in take(lua)}
    asked, holds = ("ask_permit", "waits/1:2:1000"), ("hold_permit", "waits/1:1:0")
    assert said == {asked, holds, ("hold_permit", "runs/1:1:0")}


def go_on_as_new(lua: Lua, held: Held) -> None:
    about_run = {"run_id": held.run_id, "fence": held.fence, "entry": held.entry, "before": held.mark}
    assert lua.call("continue_run", **about_run, input=b"again") == ["ok"]


def test_a_run_that_is_continued_as_new_asks_anew_for_a_rate(lua: Lua) -> None:
    held = running_under_both(lua)
    go_on_as_new(lua, held)
    assert take(lua) == [about("return_permit", "r/1:1:0")]
    assert lua.claim() == []
    assert [post["permit"] for post in take(lua)] == ["r/2:1:0"]
    give(lua, "r/2:1:0")
    assert [post["permit"] for post in take(lua)] == ["r/2:2:1000"]
    # Not used in this round, so it goes back; that of the round before was used.
    lua.cancel("r")
    assert ("return_permit", "r/2:2:1000") in {(post["do"], post["permit"]) for post in take(lua)}
    assert give(lua, "r/1:2:1000", "bb", 8) == "returned"
    assert take(lua) == [about("hold_permit", "r/1:2:1000", "bb", "8")]


def test_a_run_that_is_continued_as_new_keeps_what_it_holds_of_limits_alone(lua: Lua) -> None:
    lua.create("r", ONE)
    lua.claim()
    give(lua, "r/1:1:0")
    held = lua.claim_only()
    take(lua)
    go_on_as_new(lua, held)
    assert lua.claim_only().run_id == "r"
    assert take(lua) == []


def test_what_a_run_had_of_a_rate_counts_as_used_where_nobody_knows_it_any_more(lua: Lua) -> None:
    assert give(lua, "gone/1:2:1000", "bb", 8) == "returned"
    assert take(lua) == [about("hold_permit", "gone/1:2:1000", "bb", "8")]


def test_upkeep_says_nothing_again_while_much_is_to_be_done(lua: Lua) -> None:
    lua.create("r", ONE)
    lua.claim()
    take(lua)
    for _ in range(1000):
        lua.redis.xadd(f"{PREFIX}outbox", {"do": "cancel", "run": "x"})
    assert lua.reconcile() == (1, 0)
    assert len(take(lua)) == 1000
    lua.reconcile()
    assert [post["do"] for post in take(lua)] == ["ask_permit"]


# -- where the limit is decided --------------------------------------------------------------------------------------


def test_permits_and_runs_stand_in_one_line(lua: Lua) -> None:
    lua.create("here", {"lk": "aa:1:0"})
    held = lua.claim_only()
    lua.later(1)
    assert ask(lua, "there/1:1:0") == "waits"
    lua.later(1)
    lua.create("next", {"lk": "aa:1:0"})
    assert lua.claim() == []
    assert ask(lua, "urgent/1:1:0", priority=5) == "waits"
    assert lua.listed("blocked:aa") == ["urgent/1:1:0", "there/1:1:0", "next"]
    lua.finish(held, effects=["free"])
    assert (given(lua), lua.listed("limit:aa")) == (["urgent/1:1:0"], ["urgent/1:1:0"])
    send_back(lua, "urgent/1:1:0")
    assert given(lua) == ["there/1:1:0"]
    assert lua.status("next") == "waiting:limited"
    send_back(lua, "there/1:1:0")
    assert lua.status("next") == "pending"


def test_a_question_that_comes_twice_is_answered_twice_and_counted_once(lua: Lua) -> None:
    assert [ask(lua, "a/1:2:0"), ask(lua, "a/1:2:0")] == ["given", "given"]
    assert (given(lua), lua.listed("limit:aa")) == (["a/1:2:0"] * 2, ["a/1:2:0"])
    assert [ask(lua, "b/1:2:0"), ask(lua, "c/1:2:0")] == ["given", "waits"]
    assert given(lua) == ["b/1:2:0"]
    # Who asks again has waited for a while: those that hold a slot are asked whether they still do, once for the line.
    assert [ask(lua, "c/1:2:0"), ask(lua, "c/1:2:0")] == ["waits", "waits"]
    assert sorted(given(lua)) == ["a/1:2:0", "b/1:2:0"]


def test_a_permit_goes_back_once(lua: Lua) -> None:
    ask(lua, "a/1:1:0")
    ask(lua, "b/1:1:0")
    ask(lua, "c/1:1:0")
    given(lua)
    send_back(lua, "a/1:1:0")
    send_back(lua, "a/1:1:0")
    assert (given(lua), lua.listed("limit:aa"), lua.listed("blocked:aa")) == (["b/1:1:0"], ["b/1:1:0"], ["c/1:1:0"])
    send_back(lua, "c/1:1:0")
    send_back(lua, "b/1:1:0")
    assert (given(lua), lua.dump().keys() - {b"rf:{shop:0}:clock"}) == ([], {b"rf:{shop:0}:alarm"})


def test_a_rate_is_remembered_until_what_was_given_is_used(lua: Lua) -> None:
    ask(lua, "a/1:2:1000", "bb")
    assert lua.redis.pttl(f"{PREFIX}limit:bb") == -1, "its run may begin in a month"
    lua.call("hold_permit", hash="bb", permit="a/1:2:1000")
    assert 1000 < lua.redis.pttl(f"{PREFIX}limit:bb") <= 3_601_000
    ask(lua, "b/1:2:1000", "bb")
    assert lua.redis.pttl(f"{PREFIX}limit:bb") == -1
    send_back(lua, "b/1:2:1000", "bb")
    assert lua.redis.pttl(f"{PREFIX}limit:bb") > 1000
    given(lua)


def test_a_slot_that_nobody_has_is_found_among_many(lua: Lua) -> None:
    holders = [f"h{number}/1:200:0" for number in range(200)]
    for permit in (*holders, "waits/1:200:0"):
        ask(lua, permit)
    given(lua)
    asked: set[str] = set()
    for _ in range(40):  # half of them each time: one of a million times a holder is not among them
        lua.delete("turn:line:aa")
        ask(lua, "waits/1:200:0")
        asked.update(given(lua))
    assert asked == set(holders)


def test_a_rate_lends_permits_as_time_goes_on(lua: Lua) -> None:
    for name in "abc":
        ask(lua, f"{name}/1:2:1000", "bb")
    assert given(lua) == ["a/1:2:1000", "b/1:2:1000"]
    lua.later(5000)
    lua.wake()
    assert given(lua) == [], "what was given counts until it is used"
    for name in "ab":
        assert lua.call("hold_permit", hash="bb", permit=f"{name}/1:2:1000") == ["ok"]
    send_back(lua, "a/1:2:1000", "bb")
    assert given(lua) == [], "and what was used counts for a period"
    at = lua.due("line:bb")
    assert at == lua.now + 1000
    lua.later(999)
    lua.wake()
    assert given(lua) == []
    lua.later(1)
    lua.wake()
    assert given(lua) == ["c/1:2:1000"]
    send_back(lua, "c/1:2:1000", "bb")
    assert lua.listed("limit:bb") == [], "what was never used does not count"


def test_the_word_of_a_run_counts_where_its_slot_was_lost(lua: Lua) -> None:
    ask(lua, "a/1:1:0")
    ask(lua, "b/1:1:0")
    given(lua)
    lua.delete("limit:aa")
    lua.call("hold_permit", hash="aa", permit="a/1:1:0")
    assert ask(lua, "b/1:1:0") == "waits"
    assert given(lua) == ["a/1:1:0"], "it is only asked whether it still holds it"
