"""start_runs: one run at a time of a key, one for many starts in a row, so many in a window; and start-by times."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lua.harness import PREFIX, T0, Lua, new_run, started

EXISTING = ("unique", "k", "existing")
REJECT = ("unique", "k", "reject")
CANCEL_OLDER = ("unique", "k", "cancel_older")
IDEM = {"idem": "i", "idem_ms": 60_000, "fingerprint": "print"}


def debounce(delay_ms: int = 1_000, at_most_ms: int | str = "") -> tuple[Any, ...]:
    return ("debounce", "k", delay_ms, at_most_ms)


def throttle(limit: int = 2, per_ms: int = 1_000, on_excess: str = "delay") -> tuple[Any, ...]:
    return ("throttle", "k", limit, per_ms, on_excess)


def twice(lua: Lua, run_id: str, *rules: Any, **changes: Any) -> list[Any]:
    reply = lua.twice("start_runs", *started(*rules), **new_run(run_id, **changes))
    return [part.decode() if isinstance(part, bytes) else part for part in reply]


ALL_RULES = [(), (EXISTING,), (REJECT,), (CANCEL_OLDER,), (debounce(),), (throttle(),), (EXISTING, throttle())]


@pytest.mark.parametrize("rules", ALL_RULES)
def test_the_first_start_makes_a_run_like_any_other(lua: Lua, rules: tuple[Any, ...]) -> None:
    waits = rules == (debounce(),)
    available = str(T0 + 1_000) if waits else ""
    assert twice(lua, "run-1", *rules, version="v2", queue="mail", **IDEM) == ["created", "run-1", available]
    assert lua.status() == ("waiting:start" if waits else "pending")
    fields = lua.fields()
    assert (fields["v"], fields["q"], fields["k"], fields["c"]) == (b"v2", b"mail", b"i", b"%d" % T0)
    assert lua.listed("runs:order") == ["run-1"]
    lua.later(1_000)
    assert lua.claim_only(queues=["mail"]).run_id == "run-1"


@pytest.mark.parametrize("rules", ALL_RULES)
def test_an_idempotency_key_is_looked_at_before_the_rules(lua: Lua, rules: tuple[Any, ...]) -> None:
    lua.start("run-1", *rules, **IDEM)
    assert twice(lua, "run-2", *rules, **IDEM) == ["existing", "run-1"]
    assert twice(lua, "run-3", *rules, **{**IDEM, "fingerprint": "other"}) == ["conflict", "run-1"]


# -- unique -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "word"), [(EXISTING, "existing"), (REJECT, "active")])
def test_while_a_run_has_the_key_no_other_is_made(lua: Lua, rule: Any, word: str) -> None:
    lua.start("run-1", rule)
    assert twice(lua, "run-2", rule) == [word, "run-1"]
    held = lua.claim_only()
    assert twice(lua, "run-2", rule) == [word, "run-1"]
    lua.park(held, due=lua.now + 500)
    assert twice(lua, "run-2", rule) == [word, "run-1"]
    assert lua.fields("run-2") == {}


@pytest.mark.parametrize("end", ["finish", "cancel", "deadline", "expired", "poisoned"])
def test_however_a_run_ends_its_key_is_free(lua: Lua, end: str) -> None:
    fields = ["xp", "+400"] if end == "expired" else []
    changes = {"deadline": "+400"} if end == "deadline" else {}
    lua.call("start_runs", *started(REJECT, fields=fields), **new_run("run-1", **changes))
    if end in ("finish", "poisoned"):
        held = lua.claim_only()
        assert held.fields["uq"] == b"k"
    if end == "finish":
        assert lua.finish(held, effects=["release", "k"]) == "ok"
        assert lua.finish(held, effects=["release", "k"]) == "ok"
    elif end == "poisoned":
        lua.note(held)
        lua.expire(held)
        assert lua.reclaim(crash_limit=1)[2] == 1
    elif end == "cancel":
        lua.cancel()
    else:
        lua.later(400)
        lua.wake()
    assert lua.redis.exists(f"{PREFIX}unique:k") == 0
    assert lua.start("run-2", REJECT) == ["created", "run-2", ""]


def test_the_key_of_a_run_that_was_replaced_is_not_taken_from_its_successor(lua: Lua) -> None:
    lua.start("run-1", CANCEL_OLDER)
    held = lua.claim_only()
    assert twice(lua, "run-2", CANCEL_OLDER) == ["created", "run-2", ""]
    fields = lua.fields("run-1")
    assert (fields["s"], fields["ca"]) == (b"canceled", b"replaced")
    assert set(lua.holder_calls(held).values()) <= {"ended", "fenced"}
    assert lua.finish(held, effects=["release", "k"]) == "ended"
    assert twice(lua, "run-3", REJECT) == ["active", "run-2"]


def test_a_start_that_made_its_run_says_so_though_that_run_was_replaced_since(lua: Lua) -> None:
    lua.start("run-1", CANCEL_OLDER)
    lua.start("run-2", CANCEL_OLDER)
    assert twice(lua, "run-1", CANCEL_OLDER) == ["created", "run-1", ""]
    assert (lua.status("run-1"), lua.status("run-2")) == ("canceled", "pending")


def test_a_key_is_not_believed_alone(lua: Lua) -> None:
    lua.create("ended")
    lua.finish(lua.claim_only())
    lua.create("keyless")
    for stale in ("missing", "ended", "keyless"):
        lua.redis.set(f"{PREFIX}unique:k", stale)
        assert twice(lua, f"for-{stale}", REJECT) == ["created", f"for-{stale}", ""]
        lua.cancel(f"for-{stale}")


def test_upkeep_restores_a_lost_key_and_frees_the_one_of_a_run_that_has_ended(lua: Lua) -> None:
    lua.start("run-1", REJECT)
    lua.delete("unique:k")
    assert lua.reconcile() == (1, 1)
    assert lua.start("run-2", REJECT) == ["active", "run-1"]
    assert lua.reconcile() == (1, 0)
    lua.finish(lua.claim_only())  # by a worker that does not know of the key
    lua.redis.zadd(f"{PREFIX}runs:order", {"run-1": T0})
    assert lua.reconcile() == (1, 1)
    assert lua.redis.exists(f"{PREFIX}unique:k") == 0


def test_upkeep_leaves_a_key_to_the_run_that_has_it(lua: Lua) -> None:
    lua.start("run-1", REJECT)
    lua.delete("unique:k")
    lua.start("run-2", REJECT)
    assert lua.reconcile() == (2, 0)
    lua.cancel("run-1")


def test_a_start_that_joined_an_active_run_keeps_its_idempotency_key_on_it(lua: Lua) -> None:
    lua.start("run-1", EXISTING)
    assert twice(lua, "run-2", EXISTING, **IDEM) == ["existing", "run-1"]
    lua.cancel("run-1")
    assert twice(lua, "run-3", EXISTING, **IDEM) == ["existing", "run-1"]


def test_a_start_that_was_rejected_may_be_tried_again_with_its_idempotency_key(lua: Lua) -> None:
    lua.start("run-1", REJECT)
    assert twice(lua, "run-2", REJECT, **IDEM) == ["active", "run-1"]
    lua.cancel("run-1")
    assert twice(lua, "run-2", REJECT, **IDEM) == ["created", "run-2", ""]


def test_starts_of_one_call_see_each_other(lua: Lua) -> None:
    rows = [lua.scripts.start_runs.call(PREFIX, *started(REJECT), **new_run(f"run-{n}"))[4:] for n in range(3)]
    head = lua.scripts.start_runs.call(PREFIX, *started(REJECT), **new_run())[:4]
    reply = lua.redis.execute_command(*head, *(part for row in rows for part in row))
    assert reply == [[b"created", b"run-0", b""], [b"active", b"run-0"], [b"active", b"run-0"]]


# -- debounce ---------------------------------------------------------------------------------------------------------


def test_starts_in_a_row_make_one_run_with_the_last_input(lua: Lua) -> None:
    lua.start("run-1", debounce(), input=b"one", version="v1")
    lua.later(900)
    assert twice(lua, "run-2", debounce(), input=b"second") == ["debounced", "run-1", str(T0 + 1_900)]
    lua.later(900)
    assert twice(lua, "run-3", debounce(), input=b"3", version="v3") == ["debounced", "run-1", str(T0 + 2_800)]
    assert lua.claim() == []
    lua.later(1_000)
    held = lua.claim_only()
    assert (held.run_id, held.fields["i"], held.fields["v"], held.mark) == ("run-1", b"3", b"v3", "0:1")
    assert lua.start("run-4", debounce()) == ["created", "run-4", str(lua.now + 1_000)]


def test_a_run_is_put_off_no_longer_than_at_most(lua: Lua) -> None:
    lua.start("run-1", debounce(1_000, 1_500))
    lua.later(800)
    assert twice(lua, "run-2", debounce(1_000, 1_500)) == ["debounced", "run-1", str(T0 + 1_500)]
    assert lua.due() == T0 + 1_500
    lua.later(700)
    assert lua.start("run-3", debounce(1_000, 1_500)) == ["created", "run-3", str(T0 + 2_500)]  # nobody has looked yet


def test_a_start_that_is_sent_again_later_pushes_nothing(lua: Lua) -> None:
    lua.start("run-1", debounce())
    lua.later(100)
    lua.start("run-2", debounce(), input=b"two")
    lua.later(100)
    lua.start("run-3", debounce(), input=b"three")
    lua.later(100)
    before = lua.dump()
    assert lua.start("run-2", debounce(), input=b"two") == ["debounced", "run-1", str(T0 + 1_100)]
    assert lua.start("run-1", debounce()) == ["created", "run-1", str(T0 + 1_200)]
    assert lua.dump() == before
    lua.later(1_000)
    lua.wake()
    lua.start("run-4", debounce())
    assert lua.start("run-2", debounce(), input=b"two") == ["debounced", "run-1", str(T0 + 1_100)]


@pytest.mark.parametrize("gone", ["canceled", "purged", "claimed"])
def test_a_run_that_waits_no_more_is_not_joined(lua: Lua, gone: str) -> None:
    lua.start("run-1", debounce())
    if gone == "canceled":
        lua.cancel()
    elif gone == "purged":
        lua.delete("run:run-1", "runs:order", "delayed")
    else:
        lua.later(1_000)
        lua.claim_only()
    assert twice(lua, "run-2", debounce()) == ["created", "run-2", str(lua.now + 1_000)]


def test_a_deadline_and_a_start_by_time_stay_as_the_first_start_said(lua: Lua) -> None:
    lua.call("start_runs", *started(debounce(), fields=["xp", "+1200"]), **new_run("run-1", deadline="+9000"))
    lua.later(900)
    assert twice(lua, "run-2", debounce(), deadline="+1") == ["debounced", "run-1", str(T0 + 1_900)]
    assert lua.due() == T0 + 1_200
    lua.later(300)
    lua.wake()
    assert lua.status() == "canceled"


def test_a_debounced_start_keeps_its_idempotency_key_on_the_run_that_it_joined(lua: Lua) -> None:
    lua.start("run-1", debounce())
    twice(lua, "run-2", debounce(), **IDEM)
    lua.later(1_000)
    lua.claim_only()
    assert twice(lua, "run-3", debounce(), **IDEM) == ["existing", "run-1"]


def test_the_watcher_is_told_of_a_debounced_run(lua: Lua) -> None:
    lua.start("run-1", debounce())
    assert lua.length("alarm") == 1


# -- throttle ---------------------------------------------------------------------------------------------------------


def test_starts_beyond_the_limit_are_delayed_to_the_next_free_places_in_their_order(lua: Lua) -> None:
    replies = []
    for number in range(6):
        replies.append(twice(lua, f"run-{number}", throttle()))
        lua.later(100)
    waits = [str(T0 + at) for at in (1_000, 1_100, 2_000, 2_100)]
    assert replies == [["created", f"run-{number}", at] for number, at in enumerate(("", "", *waits))]
    assert 0 < lua.redis.pttl(f"{PREFIX}throttle:k") <= 62_600
    assert lua.length("throttle:k") == 2


@pytest.mark.parametrize(
    ("on_excess", "rest"), [("existing", ["existing", "run-2"]), ("reject", ["throttled", "run-2"])]
)
def test_a_start_beyond_the_limit_may_be_answered_at_once(lua: Lua, on_excess: str, rest: list[str]) -> None:
    rule = throttle(2, 1_000, on_excess)
    lua.start("run-1", rule)
    lua.later(300)
    lua.start("run-2", rule)
    lua.later(300)
    free = [] if on_excess == "existing" else [str(T0 + 1_000)]
    assert twice(lua, "run-3", rule) == [*rest, *free]
    assert lua.fields("run-3") == {}
    lua.later(400)
    assert twice(lua, "run-4", rule) == ["created", "run-4", ""]
    assert twice(lua, "run-5", rule)[0] == rest[0]


def test_no_window_wherever_it_begins_has_more_starts_than_the_limit(lua: Lua) -> None:
    limit, per_ms = 3, 1_000
    begins: list[int] = []
    for number, gap in enumerate([0, 10, 700, 5, 5, 400, 0, 0, 900, 2_500, 1, 1, 1, 999, 1, 3_000] * 4):
        lua.later(gap)
        word, _, available = lua.start(f"run-{number}", throttle(limit, per_ms))
        assert word == "created"
        # No later than it must be, either.
        free_ms = begins[-limit] + per_ms if number >= limit else 0
        assert int(available or lua.now) == max(lua.now, free_ms)
        begins.append(int(available or lua.now))
    assert begins == sorted(begins)
    assert all(later - first >= per_ms for first, later in zip(begins, begins[limit:], strict=False))


def test_a_limit_may_change_while_its_window_is_full(lua: Lua) -> None:
    lua.start("run-1", throttle(2))
    lua.start("run-2", throttle(2))
    assert lua.start("run-3", throttle(3)) == ["created", "run-3", ""]
    assert lua.start("run-4", throttle(1)) == ["created", "run-4", str(T0 + 1_000)]


def test_a_start_that_another_rule_answers_takes_no_place(lua: Lua) -> None:
    lua.start("run-1", REJECT, throttle(2))
    assert twice(lua, "run-2", REJECT, throttle(2)) == ["active", "run-1"]
    assert lua.length("throttle:k") == 1


def test_a_start_that_is_throttled_cancels_nothing(lua: Lua) -> None:
    rule = throttle(1, 1_000, "reject")
    lua.start("run-1", CANCEL_OLDER, rule)
    assert twice(lua, "run-2", CANCEL_OLDER, rule) == ["throttled", "run-1", str(T0 + 1_000)]
    assert lua.status("run-1") == "pending"


# -- start-by ---------------------------------------------------------------------------------------------------------


def create_expiring(lua: Lua, expires: str = "+1000", **changes: Any) -> None:
    assert lua.call("create_run", ["xp", expires], **new_run(**changes)) == ["created"]


@pytest.mark.parametrize("found_by", ["wake", "claim"])
@pytest.mark.parametrize("changes", [{}, {"available": "+500"}, {"available": "+5000"}, {"deadline": "+2000"}])
def test_a_run_that_nobody_takes_up_by_then_is_canceled_as_expired(
    lua: Lua, changes: dict[str, str], found_by: str
) -> None:
    create_expiring(lua, str(T0 + 1_000), **changes)
    assert lua.due() == T0 + (500 if changes.get("available") == "+500" else 1_000)
    lua.later(999)
    lua.wake()
    assert lua.status() in ("pending", "waiting:start")
    assert lua.due() == T0 + 1_000
    lua.later(1)
    assert lua.wake()[0] == 1 if found_by == "wake" else lua.claim() == []
    fields = lua.fields()
    assert (fields["s"], fields["ca"], fields["t"]) == (b"canceled", b"expired", b"%d" % lua.now)


def test_the_claim_itself_looks_where_the_watcher_has_more_to_do(lua: Lua) -> None:
    for number in range(101):
        lua.create(f"other-{number}", queue="other", available="+900")
    create_expiring(lua)
    lua.later(1_000)
    assert lua.claim() == []
    assert lua.fields()["ca"] == b"expired"


@pytest.mark.parametrize("deadline", ["", "+5000"])
def test_once_a_run_is_taken_up_its_start_by_time_says_nothing(lua: Lua, deadline: str) -> None:
    create_expiring(lua, deadline=deadline)
    held = lua.claim_only()
    assert lua.due() == (T0 + 5_000 if deadline else None)
    lua.later(2_000)
    lua.wake()
    assert lua.commit(held, b"one") == "ok"
    assert lua.release(held) == "ok"
    assert lua.claim_only().run_id == "run-1"


def test_a_deadline_before_it_comes_first(lua: Lua) -> None:
    create_expiring(lua, deadline="+500")
    lua.later(2_000)
    lua.wake()
    assert lua.fields()["ca"] == b"deadline"


def test_an_expiring_run_is_created_once_and_claimed_again_after_a_lost_reply(lua: Lua) -> None:
    assert lua.twice("create_run", ["xp", "+1000"], **new_run()) == ["created"]
    arguments = lua.claim_arguments()
    lua.call("claim_runs", ["default"], **arguments)
    before = lua.dump()
    (row,) = lua.call("claim_runs", ["default"], **arguments)[4:]
    assert (row[0], lua.dump()) == (b"run-1", before)


def test_a_debounced_run_has_the_limits_that_its_last_input_gives(lua: Lua) -> None:
    def start(run_id: str, *fields: str) -> None:
        lua.call("start_runs", *started(debounce(), fields=fields), **new_run(run_id))

    start("run-1", "lk", "aa:1:0", "pr", "3")
    start("run-2", "lk", "bb:1:0", "fp", "cc")
    assert [lua.fields().get(name) for name in ("lk", "pr", "fp")] == [b"bb:1:0", None, b"cc"]
    lua.later(1_000)
    assert lua.claim_only().fields["lk"] == b"bb:1:0"
    assert (lua.listed("limit:aa"), lua.listed("limit:bb")) == ([], ["run-1"])
