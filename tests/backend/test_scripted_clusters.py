"""Nodes of a cluster that are none, that keep silent, or that are on their way out."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from redisflow.backend.acknowledgements import Acknowledgements
from redisflow.backend.cluster import Cluster
from redisflow.backend.connect import read_url
from redisflow.backend.scripts import Scripts, load_scripts
from redisflow.backend.slots import SlotMap
from redisflow.durability import Durability
from redisflow.errors import BackendError
from tests.backend.scripted import ScriptedServer, open_scripted
from tests.backend.waiting import until

EVERY = load_scripts()
SCRIPTS = Scripts({"open_namespace": EVERY.open_namespace})
NO_CLUSTER = b"-ERR This instance has cluster support disabled\r\n"


def owning(*ports: int) -> bytes:
    """The map of a cluster whose nodes have equal shares."""
    share = 16_384 // len(ports)
    rows = b"".join(
        b"*3\r\n:%d\r\n:%d\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n"
        % (at * share, 16_383 if at == len(ports) - 1 else (at + 1) * share - 1, port)
        for at, port in enumerate(ports)
    )
    return b"*%d\r\n" % len(ports) + rows


def url_of(*nodes: ScriptedServer) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)


async def test_an_address_where_no_node_is_any_more_keeps_nobody_from_asking_the_others():
    """Where addresses are given again, another server, or one with another password, may stand where a node was."""
    async with open_scripted(lambda _: NO_CLUSTER) as stranger, open_scripted(lambda _: None) as node:
        node.answer = lambda command: owning(node.port) if command[0] == b"CLUSTER" else b"+" + command[0] + b"\r\n"
        cluster = Cluster(read_url(url_of(stranger, node)))
        await asyncio.wait_for(cluster.load(SCRIPTS), 30)
        assert await asyncio.wait_for(cluster.send("rf:{x:0}:", ("INFO",)), 30) == b"INFO"
        await cluster.close()
    async with open_scripted(lambda _: NO_CLUSTER) as stranger:
        cluster = Cluster(read_url(url_of(stranger)))
        with pytest.raises(BackendError, match="is no cluster"):
            await cluster.load(SCRIPTS)
        await cluster.close()


async def test_a_node_that_is_silent_to_what_promises_nothing_is_noticed():
    """At `replicated` that goes over connections of its own: a worker without work sends nothing else."""
    acks = Acknowledgements(EVERY, "redis://somewhere", Durability(level="replicated"))
    async with open_scripted(lambda _: None) as node:
        node.answer = lambda command: owning(node.port) if command[0] == b"CLUSTER" else b"+" + command[0] + b"\r\n"
        cluster = Cluster(read_url(url_of(node)), acks=acks, stall_s=3_600)
        await cluster.load(SCRIPTS)
        node.answer = lambda command: owning(node.port) if command[0] == b"CLUSTER" else None
        call = cluster.send("rf:{x:0}:", ("EVALSHA", EVERY.claim_runs.sha, "1", "rf:{x:0}:"))
        await until(lambda: node.commands[-1][0] == b"EVALSHA")
        looks = sum(command[0] == b"CLUSTER" for command in node.commands)
        await until(lambda: sum(command[0] == b"CLUSTER" for command in node.commands) > looks)
        await cluster.close()
        with pytest.raises(BackendError, match="closed"):
            await call


async def test_whoever_gives_up_opening_leaves_nothing_behind():
    acks = Acknowledgements(EVERY, "redis://somewhere", Durability(level="fsync"))
    async with open_scripted(lambda _: None) as node:
        node.answer = lambda command: owning(node.port) if command[0] == b"CLUSTER" else None
        cluster = Cluster(read_url(url_of(node)), acks=acks)
        load = asyncio.create_task(cluster.load(SCRIPTS))
        await until(lambda: any(command[0] == b"CONFIG" for command in node.commands))
        load.cancel()
        with suppress(asyncio.CancelledError):
            await load
        await cluster.close()
        await until(lambda: not [task for task in asyncio.all_tasks() if "SingleServer" in repr(task.get_coro())])


def test_a_map_that_is_replaced_while_it_is_read_keeps_no_old_route():
    """Heartbeats look in it from their thread."""
    slots, old, new = SlotMap(), ("old", 1), ("new", 1)

    class First(int):
        """The loop replaces the map at the moment when a thread compares with it."""

        def __le__(self, other: int) -> bool:
            slots.replace([(0, 16_383, new)])
            return int(self) <= other

    slots.replace([(First(0), 16_383, old)])
    assert slots.find("rf:{x:0}:") == old
    assert slots.find("rf:{x:0}:") == new


async def test_closing_closes_nodes_that_were_just_being_left():
    async with open_scripted(lambda _: None) as first, open_scripted(lambda _: None) as second:
        owners = [first.port, second.port]

        def answer(command: list[bytes]) -> bytes | None:
            if command[0] == b"CLUSTER":
                return owning(*owners)
            return None if command[0] == b"SSUBSCRIBE" else b"+" + command[0] + b"\r\n"

        first.answer = second.answer = answer
        cluster = Cluster(read_url(url_of(second)))
        await cluster.load(SCRIPTS)
        prefixes = [f"rf:{{x:{number}}}:" for number in range(100)]
        prefix = next(one for one in prefixes if cluster.slots.find(one) == ("127.0.0.1", first.port))
        cluster.subscribe(prefix, "news", print)
        await until(lambda: any(command[0] == b"SSUBSCRIBE" for command in first.commands))
        cluster.unsubscribe(prefix, "news", print)
        owners.remove(first.port)
        cluster.doubt()
        await until(lambda: all(address[1] != first.port for address in cluster._nodes))
        await cluster.close()
        await until(lambda: not [task for task in asyncio.all_tasks() if "open_scripted" in repr(task.get_coro())])
