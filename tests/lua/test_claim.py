"""claim_runs: what is delivered is claimed, and a lost reply loses nothing."""

from __future__ import annotations

import pytest

from tests.lua.harness import PREFIX, T0, Held, Lua


def ids(claims: list[Held]) -> list[str]:
    return [held.run_id for held in claims]


def test_a_claim_gives_a_pending_run_to_a_worker_with_a_fence(lua: Lua) -> None:
    lua.create()
    lua.later(7)
    held = lua.claim_only("w1", operation="nonce")
    assert (held.run_id, held.fence, held.mark) == ("run-1", "1:nonce", "0:2")
    assert lua.status() == "running"
    assert lua.fields()["a"] == b"%d" % (T0 + 7)
    assert held.fields == lua.fields()
    pending = lua.pending(held)
    assert pending is not None
    assert (pending["consumer"], pending["times_delivered"]) == (b"w1", 1)


def test_each_claim_of_a_run_raises_its_fence_and_keeps_when_it_first_started(lua: Lua) -> None:
    held = lua.take()
    fences = [held.fence]
    for _ in range(11):
        lua.later(1)
        lua.release(held)
        held = lua.claim_only()
        fences.append(held.fence)
    assert [int(fence.split(":")[0]) for fence in fences] == list(range(1, 13))
    assert held.fields["a"] == b"%d" % T0


def test_woken_runs_come_before_new_ones_and_queues_in_their_order(lua: Lua) -> None:
    for queue in ("low", "high"):
        lua.create(f"woken-{queue}", queue=queue)
        lua.release(lua.claim_only(queues=[queue]))
        lua.create(f"new-{queue}", queue=queue)
    claims = lua.claim(queues=["high", "low"])
    assert ids(claims) == ["woken-high", "woken-low", "new-high", "new-low"]


def test_runs_of_one_queue_come_in_the_order_of_their_creation(lua: Lua) -> None:
    names = [f"run-{number}" for number in range(10)]
    for name in names:
        lua.create(name)
    assert ids(lua.claim(limit=4)) + ids(lua.claim(limit=10)) == names


def test_two_workers_never_get_the_same_run(lua: Lua) -> None:
    for number in range(10):
        lua.create(f"run-{number}")
    first, second = lua.claim("w1", limit=5), lua.claim("w2", limit=10)
    assert (len(first), len(second)) == (5, 5)
    assert not set(ids(first)) & set(ids(second))


def test_a_queue_that_is_not_asked_for_is_left_alone(lua: Lua) -> None:
    lua.create("run-1", queue="mail")
    assert lua.claim(queues=["default"]) == []
    assert lua.status() == "pending"


def test_a_claim_that_is_sent_again_returns_the_same_runs(lua: Lua) -> None:
    for number in range(3):
        lua.create(f"run-{number}")
    lua.create("later", available="+500")
    reply = lua.twice("claim_runs", ["default"], **lua.claim_arguments(limit=2))
    assert (reply[2], len(reply[4:])) == (500, 2)


def test_a_claim_that_found_nothing_may_find_something_when_it_is_sent_again(lua: Lua) -> None:
    assert lua.claim(operation="op") == []
    lua.create()
    assert ids(lua.claim(operation="op")) == ["run-1"]


def test_a_repeated_claim_leaves_out_what_the_worker_no_longer_holds(lua: Lua) -> None:
    names = ["kept", "finished", "canceled", "parked", "released", "shelved", "reclaimed", "moved", "lost"]
    for name in names:
        lua.create(name)
    held = {claim.run_id: claim for claim in lua.claim(operation="op")}
    assert list(held) == names
    lua.finish(held["finished"])
    lua.cancel("canceled")
    lua.park(held["parked"], due=T0 + 1)
    lua.release(held["released"])
    lua.shelve(held["shelved"])
    for name in ("reclaimed", "moved"):
        lua.expire(held[name])
    lua.reclaim()
    # `released` stands first among the woken runs: worker 2 takes it, and one of those that were reclaimed.
    assert ids(lua.claim("w2", limit=2)) == ["released", "reclaimed"]
    lua.redis.delete(f"{PREFIX}run:lost")
    before = lua.dump()
    assert ids(lua.claim("w1", operation="op")) == ["kept"]
    assert lua.dump() == before
    lua.finish(held["lost"])
    lua.redis.xack(held["lost"].stream, "workers", held["lost"].entry_id)
    lua.redis.xdel(held["lost"].stream, held["lost"].entry_id)
    lua.reconcile()


def test_a_repeated_claim_shows_what_was_recorded_since(lua: Lua) -> None:
    lua.create()
    held = lua.claim_only(operation="op")
    lua.commit(held, b"one")
    again = lua.claim_only(operation="op")
    assert (again.fence, again.mark, again.fields["0"]) == (held.fence, "1:5", b"one")


def test_another_worker_with_the_same_operation_gets_runs_of_its_own(lua: Lua) -> None:
    lua.create("run-1")
    lua.create("run-2")
    assert ids(lua.claim("w1", operation="op", limit=1)) == ["run-1"]
    assert ids(lua.claim("w2", operation="op", limit=1)) == ["run-2"]


def test_a_broken_hash_does_not_keep_a_repeated_claim_from_the_others(lua: Lua) -> None:
    lua.create("run-1")
    lua.create("run-2")
    lua.claim(operation="op")
    kept = lua.redis.dump(f"{PREFIX}run:run-1")
    lua.redis.set(f"{PREFIX}run:run-1", "not a hash")
    assert ids(lua.claim(operation="op")) == ["run-2"]
    lua.redis.restore(f"{PREFIX}run:run-1", 0, kept, replace=True)


def test_a_claim_that_is_full_rings_for_the_next_worker(lua: Lua) -> None:
    for number in range(3):
        lua.create(f"run-{number}", queue="mail")
    lua.delete("bell:mail")  # an idle worker took the token
    lua.claim("w1", limit=2, queues=["default", "mail"])
    assert (lua.length("bell:mail"), lua.length("bell:default")) == (1, 0)
    lua.delete("bell:mail")
    lua.claim("w2", limit=2, queues=["default", "mail"])
    assert lua.length("bell:mail") == 0


def test_a_claim_whose_entries_were_all_dropped_rings_for_what_is_behind_them(lua: Lua) -> None:
    for number in range(3):
        lua.redis.xadd(f"{PREFIX}q:default:0", {"r": f"nobody-{number}"})
    lua.create()
    lua.delete("bell:default")
    assert lua.claim(limit=3) == []
    assert lua.length("bell:default") == 1
    assert ids(lua.claim(limit=3)) == ["run-1"]


def test_no_claim_is_made_where_there_is_no_room(lua: Lua) -> None:
    lua.create()
    assert lua.claim(limit=0) == []
    assert lua.status() == "pending"


def test_an_entry_that_is_not_the_current_one_is_dropped(lua: Lua) -> None:
    held = lua.take()
    lua.redis.xadd(f"{PREFIX}q:default:0", {"r": "run-1"})
    lua.redis.xadd(f"{PREFIX}q:default:w", {"r": "run-1"})
    before = lua.fields()
    assert lua.claim("w2") == []
    assert lua.fields() == before
    assert lua.commit(held, b"on") == "ok"


def test_a_pending_run_is_claimed_by_its_current_entry_alone(lua: Lua) -> None:
    lua.create()
    lua.redis.xadd(f"{PREFIX}q:default:w", {"r": "run-1"})  # read before the new runs
    held = lua.claim_only()
    assert held.entry == lua.fields()["e"].decode()
    assert held.entry.startswith("0:")
    assert lua.finish(held) == "ok"


def test_an_entry_that_is_delivered_again_does_not_take_the_run_from_its_holder(lua: Lua) -> None:
    held = lua.take("run-1", worker="w1")
    lua.redis.xgroup_destroy(held.stream, "workers")
    assert lua.claim("w2") == []
    assert lua.commit(held, b"one") == "ok"
    assert lua.finish(held) == "ok"


def test_a_large_run_is_known_as_such_before_it_is_read(lua: Lua) -> None:
    large = b"i" * 20_000
    lua.create("now", input=large)
    lua.create("later", input=large, available="+5")
    lua.later(5)
    claims = lua.claim(run_bytes=10_000)
    assert [(held.run_id, "i" in held.fields) for held in claims] == [("now", False), ("later", False)]


def test_an_entry_without_a_run_is_dropped(lua: Lua) -> None:
    lua.redis.xadd(f"{PREFIX}q:default:0", {"r": "nobody"})
    lua.create()
    assert ids(lua.claim()) == ["run-1"]


@pytest.mark.parametrize("damage", ["a string", "no mark", "no bytes in its mark"])
def test_a_broken_run_is_listed_and_stops_no_other(lua: Lua, damage: str) -> None:
    for number in range(3):
        lua.create(f"run-{number}")
    key = f"{PREFIX}run:run-1"
    kept = lua.redis.dump(key)
    if damage == "a string":
        lua.redis.set(key, "not a hash")
    elif damage == "no mark":
        lua.redis.hdel(key, "h")
    else:
        lua.redis.hset(key, "h", "0:x")
    reply = lua.claim_reply()
    assert reply[3] == 1
    assert [item[0] for item in reply[4:]] == [b"run-0", b"run-2"]
    assert lua.listed("broken") == ["run-1"]
    assert lua.claim() == []

    # Repaired by hand, it comes back by itself.
    lua.redis.restore(key, 0, kept, replace=True)
    assert lua.reconcile() == (3, 1)
    assert ids(lua.claim()) == ["run-1"]


def test_a_stream_of_the_wrong_type_does_not_swallow_the_runs_of_other_queues(lua: Lua) -> None:
    lua.create("run-1", queue="first")
    lua.create("run-2", queue="third")
    lua.redis.set(f"{PREFIX}q:second:0", "not a stream")
    arguments = lua.claim_arguments()
    reply = lua.call("claim_runs", ["first", "second", "third"], **arguments)
    assert (reply[3], [item[0] for item in reply[4:]]) == (1, [b"run-1", b"run-2"])
    assert lua.listed("broken") == ["q:second:0"]
    again = lua.call("claim_runs", ["first", "second", "third"], **arguments)
    assert [item[:2] for item in again[4:]] == [item[:2] for item in reply[4:]]
    lua.delete("q:second:0")


def test_what_came_before_the_group_is_work_too(lua: Lua) -> None:
    lua.create()
    assert lua.redis.xinfo_groups(f"{PREFIX}q:default:0") == []
    assert ids(lua.claim()) == ["run-1"]


def test_a_lost_group_is_made_again_from_the_beginning(lua: Lua) -> None:
    lua.claim()
    lua.create()
    lua.redis.xgroup_destroy(f"{PREFIX}q:default:0", "workers")
    assert ids(lua.claim()) == ["run-1"]


def test_a_pending_run_whose_deadline_has_passed_is_ended_and_not_given(lua: Lua) -> None:
    lua.create("run-1", deadline="+1000")
    lua.delete("delayed")  # even where its timer was lost
    lua.later(1_000)
    assert lua.claim() == []
    assert (lua.status(), lua.fields()["ca"]) == ("failed", b"deadline")


def test_a_claim_wakes_what_is_due_and_takes_it_at_once(lua: Lua) -> None:
    lua.park(lua.take(), due=T0 + 1_000)
    assert lua.claim() == []
    lua.later(999)
    assert lua.claim() == []
    lua.later(1)
    assert lua.claim_only().fence.startswith("2:")


def test_a_claim_says_how_long_until_the_next_run_is_due(lua: Lua) -> None:
    assert lua.claim_reply()[1:3] == [T0, -1]
    lua.create("run-1", available="+1234")
    assert lua.claim_reply()[1:3] == [T0, 1_234]
    lua.later(1_000)
    assert lua.claim_reply()[1:3] == [T0 + 1_000, 234]


def test_a_claim_wakes_a_bounded_number_of_runs_and_says_that_more_are_due(lua: Lua) -> None:
    for number in range(150):
        lua.create(f"run-{number}", available="+1")
    lua.later(1)
    reply = lua.claim_reply(limit=1)
    assert reply[2] == 0
    assert len(lua.listed("delayed")) == 50


def test_a_long_history_is_left_to_be_read_afterwards(lua: Lua) -> None:
    lua.create("run-1", input=b"i" * 100, version="v1")
    lua.commit(held := lua.claim_only(), b"r" * 100)
    lua.release(held)
    held = lua.claim_only(run_bytes=199)
    assert set(held.fields) == {"w", "v", "c", "a", "s", "e", "f", "h"}
    assert held.mark == "1:200"
    lua.release(held)
    assert lua.claim_only(run_bytes=200).fields["0"] == b"r" * 100


def test_the_histories_of_one_reply_share_a_budget(lua: Lua) -> None:
    for number, size in enumerate((60, 60, 40)):
        lua.create(f"run-{number}", input=b"i" * size * 1000)
    claims = lua.claim(all_bytes=100_000)
    assert [("i" in held.fields) for held in claims] == [True, False, True]


def test_thousands_of_runs_fit_one_reply(lua: Lua) -> None:
    count = 8_200  # `unpack` in Lua gives up before that
    pipe = lua.redis.pipeline(transaction=False)
    for number in range(count):
        pipe.execute_command(*lua.scripts.create_run.call(PREFIX, **_new(number)))
    pipe.execute()
    arguments = lua.claim_arguments(limit=count)
    assert len(lua.call("claim_runs", ["default"], **arguments)) == count + 4
    assert len(lua.call("claim_runs", ["default"], **arguments)) == count + 4


def _new(number: int) -> dict[str, object]:
    empty = dict.fromkeys(("version", "queue", "available", "deadline", "idem", "idem_ms", "fingerprint"), "")
    return {"run_id": f"run-{number}", "workflow": "order", "input": b"", **empty}


def test_a_run_that_lost_its_fence_keeps_its_record(lua: Lua) -> None:
    held = lua.take()
    lua.park(held, b"one", due=T0 + 1)
    lua.redis.hdel(f"{PREFIX}run:run-1", "f")
    lua.later(2)
    again = lua.claim_only()
    assert (again.mark, again.fields["0"], again.fields["a"]) == (f"1:{len(b'in') + len(b'one')}", b"one", b"%d" % T0)
    assert lua.finish(again, b"two") == "ok"
