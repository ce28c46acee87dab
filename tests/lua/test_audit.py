"""An audit of a partition in which one thing was damaged by hand: it is reported as what it is, and nothing else is;
a repair puts it right, says what it did, and finds nothing the second time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from redisflow.backend.redis_backend import RedisBackend
from redisflow.client.audit import audit_namespace
from redisflow.structure import AuditReport, Rule
from redisflow.tags import encode_tags
from tests.lua.harness import PREFIX, T0, Held, Lua, audit

pytestmark = pytest.mark.anyio
SIGNAL = "5" * 12
UNIQUE = "7" * 12


@dataclass(frozen=True)
class Damage:
    """What is done by hand, which rules it breaks, and what a repair says that it did (None: it can do nothing)."""

    hurt: Callable[[Lua, dict[str, Held]], object]
    rules: dict[Rule, int]
    done: set[str] | None


def fleet(lua: Lua) -> dict[str, Held]:
    """A run in each place where a run can be; the holds of those that were claimed."""
    tags = {"tg": encode_tags({"customer": "c1"})}
    lua.create("running", fields=tags, queue="orders")
    lua.create("holder", fields={"lk": "aa:1:0"}, queue="orders")
    for name in ("timer", "signal", "stranded", "succeeded", "canceled", "parent", "failed"):
        lua.create(name, queue="orders", deadline="+900000")
    held = {claim.run_id: claim for claim in lua.claim(queues=["orders"], limit=100)}
    lua.park(held["timer"], b"asked", due=T0 + 5_000)
    lua.park(held["signal"], b"asked", reason="signal", effects=["wait", SIGNAL])
    lua.shelve(held["stranded"])
    lua.finish(held["succeeded"], b"one", b"two")
    lua.finish(held["failed"], status="failed", payload=b"why")
    lua.cancel("canceled")
    lua.park(held["parent"], b"asked", reason="child", effects=["kid", "child-1", "cancel"])
    lua.create("limited", fields={"lk": "aa:1:0"})
    lua.claim()
    lua.create("pending", fields={**tags, "uq": UNIQUE, "pr": "3"})
    lua.redis.set(f"{PREFIX}unique:{UNIQUE}", "pending")
    for number in range(6):
        lua.create(f"fair-{number}", fields={"fp": "bb"})
    lua.create("start", available="+5000")
    return held


def drop(*keys: str) -> Callable[[Lua, dict[str, Held]], object]:
    return lambda lua, _: lua.delete(*keys)


def raw(*command: Any) -> Callable[[Lua, dict[str, Held]], object]:
    """Send a command whose second word is a key without its prefix."""
    return lambda lua, _: lua.redis.execute_command(command[0], PREFIX + command[1], *command[2:])


def entry_of(lua: Lua, run_id: str) -> str:
    return lua.fields(run_id)["e"].decode()[2:]


DAMAGES: dict[str, Damage] = {
    # T1: what says where a run stands
    "the new stream is lost": Damage(drop("q:default:0"), {Rule.STATUS: 4}, {"rebuilt entry"}),
    "the stream of held runs is lost": Damage(drop("q:orders:0"), {Rule.STATUS: 2}, {"rebuilt entry"}),
    "the group is lost": Damage(
        lambda lua, _: lua.redis.xgroup_destroy(f"{PREFIX}q:orders:0", "workers"),
        {Rule.STATUS: 2},
        {"rebuilt entry"},
    ),
    "an entry is acknowledged and its run has not ended": Damage(
        lambda lua, held: lua.redis.xack(held["running"].stream, "workers", held["running"].entry_id),
        {Rule.STATUS: 1},
        {"rebuilt entry"},
    ),
    "an entry is deleted that nobody has read": Damage(
        lambda lua, _: lua.redis.xdel(f"{PREFIX}q:default:3", entry_of(lua, "pending")),
        {Rule.STATUS: 1},
        {"rebuilt entry"},
    ),
    "all timers are lost": Damage(drop("delayed"), {Rule.STATUS: 5}, {"rebuilt timer"}),
    "a timer is set too late": Damage(raw("ZADD", "delayed", T0 + 6_000, "timer"), {Rule.STATUS: 1}, {"rebuilt timer"}),
    "a run has a timer that it does not want": Damage(
        raw("ZADD", "delayed", T0 + 6_000, "pending"), {Rule.STATUS: 1}, {"rebuilt timer"}
    ),
    "a run is not among those that wait for code": Damage(drop("stuck:order"), {Rule.STATUS: 1}, {"rebuilt place"}),
    "the line of a limit is lost": Damage(drop("blocked:aa"), {Rule.STATUS: 1}, {"rebuilt limit"}),
    "the line of a fair key is lost": Damage(drop("blocked:bb"), {Rule.STATUS: 2}, {"rebuilt limit"}),
    "an entry of a run that has another": Damage(
        raw("XADD", "q:default:0", "*", "r", "pending"), {Rule.STATUS: 1}, {"removed from q"}
    ),
    # T2, where runs are listed
    "the listing of unfinished runs is lost": Damage(drop("runs:order"), {Rule.LISTING: 15}, {"rebuilt listing"}),
    "the listing of finished runs is lost": Damage(drop("done:order:succeeded"), {Rule.LISTING: 1}, {"rebuilt end"}),
    "a run is listed at another time": Damage(
        raw("ZADD", "runs:order", T0 + 1, "timer"), {Rule.LISTING: 1}, {"rebuilt listing"}
    ),
    "a finished run is listed as unfinished": Damage(
        raw("ZADD", "runs:order", T0, "succeeded"), {Rule.LISTING: 1}, {"unlisted from runs"}
    ),
    "an unfinished run is listed as finished": Damage(
        raw("ZADD", "done:order:failed", T0, "timer"), {Rule.LISTING: 1}, {"unlisted from done"}
    ),
    "a tag's listing is lost": Damage(
        lambda lua, _: lua.delete(*(key.decode().removeprefix(PREFIX) for key in lua.redis.keys(f"{PREFIX}tag:*"))),
        {Rule.LISTING: 2},
        {"rebuilt tags"},
    ),
    "a run has a tag that it does not have": Damage(
        raw("ZADD", "tag:aaaaaaaaaaaa", T0, "timer"), {Rule.LISTING: 1}, {"unlisted from tag"}
    ),
    "the names of workflows are lost": Damage(drop("workflows"), {Rule.LISTING: 18}, {"rebuilt workflow"}),
    "the names of queues are lost": Damage(drop("queues"), {Rule.LISTING: 6}, {"rebuilt queue"}),
    "the used lanes are lost": Damage(drop("lanes"), {Rule.LISTING: 1}, {"rebuilt lane"}),
    # T3: what is of no run
    "a listing names no run": Damage(
        raw("ZADD", "done:order:failed", T0, "gone"), {Rule.STRANGER: 1}, {"unlisted from done"}
    ),
    "a timer of no run": Damage(raw("ZADD", "delayed", T0 + 1, "gone"), {Rule.STRANGER: 1}, {"unlisted from delayed"}),
    "a timer of no line": Damage(
        raw("ZADD", "delayed", T0 + 1, "line:cc"), {Rule.STRANGER: 1}, {"unlisted from delayed"}
    ),
    "a key of a later version": Damage(raw("SET", "later:1", "x", "PX", 3_600_000), {Rule.STRANGER: 1}, None),
    "a timer of a later version": Damage(raw("ZADD", "delayed", T0 + 1, "later:1"), {Rule.STRANGER: 1}, None),
    "a status of a later version": Damage(raw("HSET", "run:stranded", "s", "waiting:later"), {Rule.DAMAGE: 1}, None),
    "an entry of no run": Damage(raw("XADD", "q:default:0", "*", "r", "gone"), {Rule.STRANGER: 1}, {"removed from q"}),
    "mail of no run": Damage(raw("HSET", "mail:gone", "1", "item"), {Rule.STRANGER: 1}, {"deleted mail"}),
    "receipts of no run": Damage(raw("HSET", "fx:gone", "1", "item"), {Rule.STRANGER: 1}, {"deleted fx"}),
    "events of no run": Damage(raw("XADD", "events:gone", "*", "k", "v"), {Rule.STRANGER: 1}, {"deleted events"}),
    "children of no run": Damage(raw("HSET", "kids:gone", "child", "cancel"), {Rule.STRANGER: 1}, {"deleted kids"}),
    "a slot of no run": Damage(raw("ZADD", "limit:aa", T0, "gone"), {Rule.STRANGER: 1}, {"freed limit"}),
    "a place in a line of no run": Damage(raw("ZADD", "blocked:aa", 1, "gone"), {Rule.STRANGER: 1}, {"freed blocked"}),
    "a unique key of no run": Damage(raw("SET", "unique:aa", "gone"), {Rule.STRANGER: 1}, {"deleted unique"}),
    "a key that nobody knows": Damage(raw("SET", "whatever", "1"), {Rule.STRANGER: 1}, None),
    # T4, T5, T6
    "a run will be gone in a minute": Damage(raw("PEXPIRE", "run:timer", 60_000), {Rule.EXPIRY: 1}, {"kept run"}),
    "the timers will be gone in a minute": Damage(
        raw("PEXPIRE", "delayed", 60_000), {Rule.EXPIRY: 1}, {"kept delayed"}
    ),
    "a pending entry is not in the stream": Damage(
        lambda lua, held: lua.redis.xdel(held["running"].stream, held["running"].entry_id),
        {Rule.STATUS: 1, Rule.PENDING: 1},
        {"rebuilt entry", "removed from q"},
    ),
    "consumers pile up": Damage(
        lambda lua, _: [
            lua.redis.xgroup_createconsumer(f"{PREFIX}q:orders:0", "workers", f"c{number}") for number in range(10)
        ],
        {Rule.CONSUMERS: 1},
        {"swept consumers"},
    ),
    # T7: what finds a run
    "a unique key is lost": Damage(drop(f"unique:{UNIQUE}"), {Rule.REACH: 1}, {"rebuilt unique key"}),
    "a unique key names a run that has ended": Damage(
        raw("SET", "unique:aa", "succeeded"), {Rule.REACH: 1}, {"deleted unique"}
    ),
    "a run is not registered for its signal": Damage(drop(f"signal:{SIGNAL}"), {Rule.REACH: 1}, {"rebuilt signals"}),
    "a run is registered for a signal that it does not wait for": Damage(
        raw("ZADD", "signal:aa", 1, "timer"), {Rule.REACH: 1}, {"unlisted from signal"}
    ),
    "a run that has ended has children": Damage(
        raw("HSET", "kids:succeeded", "child", "cancel"), {Rule.REACH: 1}, {"rebuilt children"}
    ),
    # T8: limits and fair keys
    "the slots of a limit are lost": Damage(drop("limit:aa"), {Rule.LINE: 2}, {"rebuilt limit", "moved blocked"}),
    "the window of a fair key is lost": Damage(drop("fair:bb"), {Rule.LINE: 5}, {"rebuilt limit", "moved blocked"}),
    "a slot of a run that does not run": Damage(raw("ZADD", "limit:aa", T0, "timer"), {Rule.LINE: 2}, {"freed limit"}),
    # T9: what nothing else says
    "a listing is no listing": Damage(
        raw("SET", "runs:order", "x"),
        {Rule.DAMAGE: 19},
        None,
    ),
    "a run is no run": Damage(
        raw("SET", "run:succeeded", "x"),
        {Rule.DAMAGE: 1},
        None,
    ),
    "a schedule is no schedule": Damage(
        lambda lua, _: (lua.redis.rpush(f"{PREFIX}queued:s", "gone"), lua.redis.set(f"{PREFIX}schedule:s", "x")),
        {Rule.DAMAGE: 2},
        None,
    ),
    "a record is lost": Damage(raw("HDEL", "run:succeeded", "1"), {Rule.DAMAGE: 1}, None),
    "a record is cut": Damage(raw("HSET", "run:succeeded", "1", "t"), {Rule.DAMAGE: 1}, None),
    "a status that nobody knows": Damage(raw("HSET", "run:succeeded", "s", "odd"), {Rule.DAMAGE: 1}, None),
    "a run without its workflow": Damage(raw("HDEL", "run:succeeded", "w"), {Rule.DAMAGE: 1}, None),
}


@pytest.fixture
async def look(lua: Lua) -> AsyncIterator[Callable[..., Any]]:
    """Return what audits the namespace of the scripts."""
    host, port = (lua.redis.connection_pool.connection_kwargs[name] for name in ("host", "port"))
    backend = RedisBackend(f"redis://{host}:{port}/0", namespace="shop", clock="test")
    await backend.open()

    async def look(*, repair: bool = False) -> AuditReport:
        return await audit_namespace(backend, repair=repair)

    yield look
    await backend.close()


async def test_where_nothing_is_wrong_nothing_is_found_and_nothing_is_done(lua: Lua, look: Callable[..., Any]) -> None:
    fleet(lua)
    before = lua.dump()
    report = await look(repair=True)
    assert not report.total, str(report)
    assert (report.runs, report.keys) == (18, len(lua.redis.keys("*")))
    assert lua.dump() == before


@pytest.mark.parametrize("what", DAMAGES)
async def test_damage_is_reported_and_repaired(lua: Lua, look: Callable[..., Any], what: str) -> None:
    damage, held = DAMAGES[what], fleet(lua)
    damage.hurt(lua, held)
    hurt = lua.dump()
    seen = await look()
    assert seen.counts == damage.rules, str(seen)
    assert lua.dump() == hurt, "an audit that is not to repair has changed something"
    repaired = await look(repair=True)
    # In which order it comes to them decides which of two repairs leaves nothing for the other to do.
    assert bool(repaired.done) == bool(damage.done), str(repaired)
    assert repaired.done.keys() <= (damage.done or set()), str(repaired)
    after = await look()
    if damage.done is None:
        assert (repaired.left, after.counts) == (seen.total, seen.counts), str(repaired)
        assert lua.dump() == hurt
        lua.redis.flushall()
        return
    assert repaired.is_clean, str(repaired)
    assert not after.total, str(after)
    audit(lua)
    again = lua.dump()
    await look(repair=True)
    assert lua.dump() == again
