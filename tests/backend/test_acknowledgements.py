"""Batches that end with a count, and what the count tells: pure, and against a server that says what a test wants."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from redisflow.backend.acknowledgements import PROMISE_NOTHING, Acknowledgements
from redisflow.backend.scripts import load_scripts
from redisflow.backend.wire import Refusal
from redisflow.durability import Durability
from tests.backend.scripted import open_scripted
from tests.backend.waiting import until

if TYPE_CHECKING:
    from redisflow.backend.acknowledgements import FoundLoss, Seal

SCRIPTS = load_scripts()
CREATE = ("EVALSHA", SCRIPTS.create_run.sha, "1", "rf:{shop:0}:", "more")
CLAIM = ("EVALSHA", SCRIPTS.claim_runs.sha, "1", "rf:{shop:0}:", "more")
REPLICATED = Durability(level="replicated", timeout="20ms")


def acknowledgements(durability: Durability | None = None) -> tuple[Acknowledgements, list[FoundLoss]]:
    acks = Acknowledgements(SCRIPTS, "redis://somewhere", durability or Durability())
    found: list[FoundLoss] = []
    acks.on_loss = found.append
    return acks, found


def _calls(*commands: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """As a link keeps them."""
    return [(None, None, b"", command) for command in commands]


def sealed(acks: Acknowledgements, *commands: tuple[Any, ...]) -> Seal:
    seal = acks.seal(_calls(*commands))
    assert seal is not None
    return seal


def count(acks: Acknowledgements, number: int) -> None:
    """A batch that changes something, counted by the server as `number`."""
    seal = sealed(acks, CREATE)
    acks.open(seal, [number, *[1] * (len(seal.packed) - 1)])


def test_every_script_is_a_promise_unless_it_is_listed():
    assert set(SCRIPTS.by_name) >= PROMISE_NOTHING
    acks, _ = acknowledgements()
    assert {script.name for script in SCRIPTS if not acks.lasts(("EVALSHA", script.sha))} == PROMISE_NOTHING


def test_what_only_reads_promises_nothing():
    reads = {script.name for script in SCRIPTS if "no-writes" in script.text.partition("\n")[0]}
    assert reads
    assert reads <= PROMISE_NOTHING


def test_a_count_that_grows_is_no_loss():
    acks, found = acknowledgements()
    for number in (1, 2, 5, 6):  # replies that were lost were counted nevertheless
        count(acks, number)
    assert found == []


def test_a_count_that_falls_is_a_loss_and_told_once(caplog):
    acks, found = acknowledgements()
    for number in range(1, 11):
        count(acks, number)
    first, second = sealed(acks, CREATE), sealed(acks, CREATE)
    acks.open(first, [8])
    acks.open(second, [9])
    (loss,) = found
    assert (loss.prefix, loss.had, loss.has, loss.batches) == ("rf:{shop:0}:", 10, 7, 3)
    assert acks.losses == 1
    assert "redis lost acknowledged writes" in caplog.text
    count(acks, 10)
    assert len(found) == 1


def test_a_server_that_knows_nothing_any_more_has_lost_all_of_it():
    acks, found = acknowledgements()
    count(acks, 1)
    count(acks, 2)
    count(acks, 1)
    assert [loss.batches for loss in found] == [2]


def test_replies_of_two_connections_may_come_in_any_order():
    acks, found = acknowledgements()
    count(acks, 1)
    small, bulk = sealed(acks, CREATE), sealed(acks, CREATE)
    acks.open(bulk, [3])
    acks.open(small, [2])
    count(acks, 4)
    assert found == []


def test_who_changes_nothing_looks_and_finds_out_too():
    acks, found = acknowledgements()
    assert acks.seal(_calls(CLAIM)) is None  # nothing was acknowledged that could be lost
    count(acks, 5)
    look = sealed(acks, CLAIM)
    assert [packed.split(b"\r\n")[2] for packed in look.packed] == [b"GET"]
    acks.open(look, [b"5"])
    assert found == []
    assert acks.seal(_calls(CLAIM)) is None  # not again within a second


def test_a_look_at_a_server_that_has_forgotten():
    acks, found = acknowledgements()
    count(acks, 5)
    acks.open(sealed(acks, CLAIM), [None])
    assert [loss.batches for loss in found] == [5]


def test_a_count_that_ran_out_by_itself_is_no_loss(monkeypatch):
    acks, found = acknowledgements()
    now_s = [1000.0]
    monkeypatch.setattr("redisflow.backend.acknowledgements.time.monotonic", lambda: now_s[0])
    count(acks, 5)
    now_s[0] += 86_400
    count(acks, 1)
    assert found == []


def test_partitions_are_counted_each_for_itself():
    acks, found = acknowledgements()
    other = (*CREATE[:3], "rf:{shop:1}:")
    seal = sealed(acks, CREATE, other, CREATE)
    assert [packed.split(b"\r\n")[2] for packed in seal.packed] == [b"INCR", b"PEXPIRE", b"INCR", b"PEXPIRE"]
    acks.open(seal, [7, 1, 3, 1])
    acks.open(sealed(acks, CREATE, other), [8, 3])
    assert [(loss.prefix, loss.batches) for loss in found] == [("rf:{shop:1}:", 1)]


def test_a_shortfall_is_told_once_and_so_is_its_end(caplog):
    caplog.set_level("INFO", "redisflow.backend")
    acks, _ = acknowledgements(REPLICATED)
    outcomes = [acks.open(sealed(acks, CREATE), [n, *rest]) for n, *rest in [(1, 1, 1), (2, 0), (3, 0), (4, 1), (5, 2)]]
    assert outcomes == [True, False, False, True, True]
    assert acks.unconfirmed == 2
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "durability unknown" in caplog.text


def test_nothing_is_confirmed_where_it_could_not_be_counted():
    """At its memory limit a server refuses INCR: then WAIT may have asked for an old write."""
    acks, found = acknowledgements(REPLICATED)
    assert not acks.open(sealed(acks, CREATE), [Refusal("OOM command not allowed"), 1, 1])
    assert not acks.open(sealed(acks, CREATE), [Refusal("NOPERM no permissions to run 'incr'"), 1])
    assert not acks.open(sealed(acks, CREATE), [1])
    assert (acks.unconfirmed, found) == (3, [])


async def test_a_call_is_answered_when_its_batch_is_counted(open_link):
    acks, _ = acknowledgements()
    replies = {b"EVALSHA": b"+done\r\n", b"INCR": None, b"PEXPIRE": None}
    async with open_scripted(lambda command: replies[command[0]]) as server, open_link(server.url, acks=acks) as link:
        call = link.send(CREATE)
        await until(lambda: len(server.commands) == 3)
        done, _ = await asyncio.wait([call], timeout=0.05)
        assert not done
        server.push(b":1\r\n:1\r\n")
        assert await call == b"done"


async def test_a_call_whose_batch_was_not_counted_is_sent_again(open_link):
    acks, _ = acknowledgements()
    cuts = 1

    def answer(command: list[bytes]) -> bytes | None:
        nonlocal cuts
        if command[0] == b"INCR" and cuts:
            cuts -= 1
            server.drop()
            return None
        return b"+done\r\n" if command[0] == b"EVALSHA" else b":1\r\n"

    async with open_scripted(answer) as server, open_link(server.url, acks=acks) as link:
        assert await link.send(CREATE) == b"done"
        assert [command[0] for command in server.commands].count(b"EVALSHA") == 2


@pytest.mark.parametrize(
    "words",
    [
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
        "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 ...",
    ],
)
async def test_what_a_primary_did_before_it_became_a_replica_is_sent_to_the_next(open_link, words):
    acks, _ = acknowledgements(REPLICATED)
    is_demoted = True

    def answer(command: list[bytes]) -> bytes:
        nonlocal is_demoted
        if command[0] == b"WAIT" and is_demoted:
            is_demoted = False
            return f"-{words}\r\n".encode()
        return b"+done\r\n" if command[0] == b"EVALSHA" else b":1\r\n"

    async with open_scripted(answer) as server, open_link(server.url, acks=acks) as link:
        call = link.send(CREATE)
        assert await call == b"done"
        assert call.is_confirmed
        assert server.connections == 2


async def test_a_user_who_may_not_count_is_told_once_and_served(open_link, caplog):
    acks, _ = acknowledgements()

    def answer(command: list[bytes]) -> bytes:
        return b"+done\r\n" if command[0] == b"EVALSHA" else b"-NOPERM this user has no permissions to run it\r\n"

    async with open_scripted(answer) as server, open_link(server.url, acks=acks) as link:
        assert [await link.send(CREATE) for _ in range(3)] == [b"done"] * 3
    assert caplog.text.count("lost writes will not be noticed") == 1


async def test_what_a_node_did_that_owns_the_partition_no_longer_is_asked_of_its_owner(open_link):
    """It was replaced, and may not have known: a count that goes elsewhere is not behind what it did."""
    acks, found = acknowledgements()
    other = (*CREATE[:3], "rf:{shop:1}:")
    gone = CREATE[3].encode()

    def answer(command: list[bytes]) -> bytes:
        if command[0] == b"INCR" and command[1].startswith(gone):
            return b"-MOVED 1234 127.0.0.1:7001\r\n"
        return b"+done\r\n" if command[0] == b"EVALSHA" else b":1\r\n"

    async with open_scripted(answer) as server, open_link(server.url, acks=acks) as link:
        told: list[tuple[Any, str]] = []
        link.on_redirect = lambda call, words: told.append((call, words))
        moved, stays = link.send(CREATE), link.send(other)
        assert await stays == b"done"
        assert not moved.done()
        assert [(call[0], words) for call, words in told] == [(moved, "MOVED 1234 127.0.0.1:7001")]
        server.answer = lambda command: b"+done\r\n" if command[0] == b"EVALSHA" else b":2\r\n"
        link.adopt([call for call, _ in told])
        assert await moved == b"done"
    assert found == []


async def test_what_a_node_did_that_was_cut_off_from_its_cluster_is_sent_again(open_link):
    acks, _ = acknowledgements()
    is_cut_off = True

    def answer(command: list[bytes]) -> bytes:
        nonlocal is_cut_off
        if command[0] == b"INCR" and is_cut_off:
            is_cut_off = False
            return b"-CLUSTERDOWN The cluster is down\r\n"
        return b"+done\r\n" if command[0] == b"EVALSHA" else b":1\r\n"

    async with open_scripted(answer) as server, open_link(server.url, acks=acks) as link:
        assert await link.send(CREATE) == b"done"
        assert [command[0] for command in server.commands].count(b"EVALSHA") == 2


async def test_a_counter_that_somebody_else_wrote_to_holds_up_nobody(open_link):
    acks, found = acknowledgements()
    replies = {b"EVALSHA": b"+done\r\n", b"INCR": b":1\r\n", b"PEXPIRE": b":1\r\n", b"GET": b"$4\r\noops\r\n"}
    async with open_scripted(lambda command: replies[command[0]]) as server, open_link(server.url, acks=acks) as link:
        assert await link.send(CREATE) == b"done"
        assert await asyncio.wait_for(link.send(CLAIM), 10) == b"done"
        assert server.commands[-1][0] == b"GET"
        assert server.connections == 1
    assert found == []


async def test_calls_that_go_to_another_node_take_the_life_of_their_counter_along(open_link):
    """What was in flight may not have arrived: the counter would live for ever, or end too early."""
    acks, _ = acknowledgements()
    async with open_scripted(lambda _: None) as first, open_link(first.url, acks=acks) as link:
        link.send(CREATE)
        await until(lambda: len(first.commands) == 3)
        calls = link.give_up()
    async with (
        open_scripted(lambda command: b"+done\r\n" if command[0] == b"EVALSHA" else b":1\r\n") as second,
        open_link(second.url, acks=acks) as link,
    ):
        link.adopt(calls)
        assert await calls[0][0] == b"done"
        assert [command[0] for command in second.commands] == [b"EVALSHA", b"INCR", b"PEXPIRE"]
