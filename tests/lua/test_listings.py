"""Tags, list_runs, count_runs and count_statuses: what is found again, and how many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from redisflow.tags import encode_tags, tag_listing
from tests.lua.harness import PREFIX, T0, Lua

if TYPE_CHECKING:
    from collections.abc import Sequence

LATE = 1 << 52
SMALL, LARGE = encode_tags({"size": "small"}), encode_tags({"size": "large"})


def listed(lua: Lua, *names: str, order: str = "oldest", limit: int = 100, **place: Any) -> tuple[list[str], bool]:
    """What list_runs tells, and whether there is more."""
    wanted = {"at_ms": 0 if order == "oldest" else LATE, "at_id": "" if order == "oldest" else "~"}
    wanted |= {"until_ms": LATE if order == "oldest" else 0}
    _, now, more, *flat = lua.call("list_runs", names, order=order, limit=limit, **{**wanted, **place})
    assert now == lua.now
    assert all(int(ms) >= 0 for ms in flat[1::2])
    return [run_id.decode() for run_id in flat[::2]], bool(more)


def walked(lua: Lua, names: Sequence[str], order: str, limit: int) -> list[str]:
    """To the end, each piece after the last run of the one before."""
    place: dict[str, Any] = {}
    told: list[str] = []
    while True:
        some, more = listed(lua, *names, order=order, limit=limit, **place)
        told += some
        if not more:
            return told
        score = next(score for name in names if (score := lua.redis.zscore(PREFIX + name, some[-1])) is not None)
        place = {"at_ms": int(score), "at_id": some[-1]}


def test_tags_are_listed_with_the_run_and_only_then(lua: Lua) -> None:
    lua.call("create_run", ["tg", encode_tags({"customer": "c1", "region": "eu"})], **NEW)
    lua.later(5)
    lua.create("plain")
    lua.twice("create_run", ["tg", encode_tags({"customer": "c1"})], **{**NEW, "run_id": "b"})
    assert lua.listed(tag_listing("customer", "c1")) == ["a", "b"]
    assert lua.listed(tag_listing("region", "eu")) == ["a"]
    assert lua.redis.zscore(PREFIX + tag_listing("customer", "c1"), "b") == T0 + 5
    assert len(lua.redis.keys(f"{PREFIX}tag:*")) == 2
    assert lua.fields(lua.claim()[0].run_id)["tg"]


def test_a_claim_tells_the_tags_of_a_small_run_and_of_a_large_one(lua: Lua) -> None:
    lua.call("create_run", ["tg", SMALL], **NEW)
    lua.call("create_run", ["tg", LARGE], **{**NEW, "run_id": "b", "input": b"x" * 20_000})
    tags = [held.fields["tg"] for held in lua.claim(run_bytes=10_000)]
    assert tags == [SMALL.encode(), LARGE.encode()]


@pytest.mark.parametrize("order", ["oldest", "newest"])
@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_pieces_of_several_listings_follow_each_other_without_a_gap(lua: Lua, order: str, limit: int) -> None:
    for number in range(30):
        # Many of one ms: their ids decide.
        lua.create(f"r{number * 7 % 30:02}", workflow=("order", "bill", "ship")[number % 3])
        if number % 10 == 9:
            lua.later(1)
    names = ["runs:order", "runs:bill", "runs:ship", "runs:none"]
    wanted = sorted((lua.fields(f"r{number:02}")["c"], f"r{number:02}") for number in range(30))
    if order == "newest":
        wanted.reverse()
    assert walked(lua, names, order, limit) == [run_id for _, run_id in wanted]


def test_a_place_need_not_be_there_any_more(lua: Lua) -> None:
    for name in "abcde":
        lua.create(name)
    lua.redis.zrem(f"{PREFIX}runs:order", "c")
    assert listed(lua, "runs:order", at_ms=T0, at_id="c") == (["d", "e"], False)
    assert listed(lua, "runs:order", order="newest", at_ms=T0, at_id="c") == (["b", "a"], False)
    lua.create("c")
    lua.cancel("c")
    lua.call("delete_run", run_id="c")


def test_a_time_ends_a_list(lua: Lua) -> None:
    for name in "abc":
        lua.create(name)
        lua.later(10)
    assert listed(lua, "runs:order", until_ms=T0 + 10) == (["a", "b"], False)
    assert listed(lua, "runs:order", order="newest", until_ms=T0 + 10) == (["c", "b"], False)
    assert listed(lua, "runs:order", limit=2) == (["a", "b"], True)


def test_counts_are_those_of_the_hashes(lua: Lua) -> None:
    for name in ("pending", "start", "running", "timer", "stranded", "succeeded", "failed", "canceled"):
        lua.create(name, queue="" if name != "timer" else "slow", available="+5000" if name == "start" else "")
    lua.create("other", workflow="bill")
    held = {claim.run_id: claim for claim in lua.claim(queues=("default", "slow"), limit=20)}
    for name in ("pending", "other"):
        lua.release(held[name])
    lua.park(held["timer"], due=T0 + 9)
    lua.shelve(held["stranded"])
    lua.finish(held["succeeded"])
    lua.finish(held["failed"], status="failed")
    lua.cancel("canceled")
    lua.create("unread", queue="never-served")
    _, pending, running, *flat = lua.call("count_runs")
    counts = {flat[at].decode(): flat[at + 1 : at + 6] for at in range(0, len(flat), 6)}
    assert (pending, running) == (3, 1)
    assert counts == {"order": [6, 1, 1, 1, 1], "bill": [1, 0, 0, 0, 0]}
    _, _, _, *found = lua.call("count_statuses", workflow="order", at_ms=0, at_id="", limit=100)
    assert dict(zip(found[::2], found[1::2], strict=True)) == {
        b"pending": 2,
        b"running": 1,
        b"waiting:start": 1,
        b"waiting:timer": 1,
        b"waiting:stranded": 1,
    }


NEW: dict[str, Any] = {
    "run_id": "a",
    "workflow": "order",
    "version": "",
    "queue": "",
    "input": b"in",
    "available": "",
    "deadline": "",
    "idem": "",
    "idem_ms": "",
    "fingerprint": "",
}
