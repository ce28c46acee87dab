"""What a server refuses for now ends no loop, is no spin, and is one outage in the log, whatever else it answers."""

from __future__ import annotations

import asyncio
import logging

import pytest
import redis

from redisflow.backend.cluster import Cluster
from redisflow.backend.connect import read_url
from redisflow.backend.redis_backend import RedisBackend
from redisflow.backend.scripts import Scripts, load_scripts
from redisflow.errors import BackendUnavailable
from redisflow.testing import ServerOptions, start_server
from redisflow.testing.faults import call, open_proxy
from redisflow.worker.services import keep_going
from redisflow.worker.timers import watch_forever
from tests.backend.scripted import open_scripted
from tests.backend.waiting import until


async def test_while_writes_are_refused_reads_that_are_answered_end_no_outage(open_link, caplog):
    caplog.set_level(logging.INFO, "redisflow.backend")
    refused = 0

    def answer(command: list[bytes]) -> bytes:
        nonlocal refused
        if command[0] == b"SET" and refused < 5:
            refused += 1
            return b"-MISCONF Redis is configured to save RDB snapshots, but it is currently unable to persist\r\n"
        return b"+" + command[1] + b"\r\n"

    async with open_scripted(answer) as server, open_link(server.url) as link:
        write = link.send(("SET", "written"))
        reads = 0
        while not write.done():
            assert await link.send(("GET", "read")) == b"read"
            reads += 1
            await asyncio.sleep(0.005)  # reads go on while the write waits
        assert await write == b"written"
    assert reads > 10
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


@pytest.mark.parametrize("db", [0, 1])
async def test_a_server_with_no_room_for_connections_is_waited_for(open_link, db):
    with start_server(ServerOptions(appendonly=False)) as server, redis.Redis(port=server.port) as client:
        client.config_set("maxclients", 1)
        async with open_link(server.url.replace("/0", f"/{db}")) as link:
            calls = [link.send(("ECHO", f"{number}")) for number in range(5)]
            await until(lambda: client.info("stats")["rejected_connections"] >= 2)
            assert not any(one.done() for one in calls)
            client.config_set("maxclients", 100)
            assert await asyncio.gather(*calls) == [b"%d" % number for number in range(5)]


async def test_a_heartbeat_that_finds_no_room_may_be_tried_again(namespace):
    with start_server(ServerOptions(appendonly=False)) as server, redis.Redis(port=server.port) as client:
        backend = RedisBackend(server.url, namespace=namespace)
        await backend.open()
        heartbeat = backend.open_heartbeat()
        client.config_set("maxclients", 1)
        with pytest.raises(BackendUnavailable):
            await asyncio.to_thread(heartbeat.renew, 0, "w", 1_000, b"", [])
        client.config_set("maxclients", 100)
        await asyncio.to_thread(heartbeat.renew, 0, "w", 1_000, b"", [])
        heartbeat.close()
        await backend.close()


async def test_an_answer_that_nobody_asked_for_gives_the_connection_up(open_link, caplog):
    async with (
        open_scripted(lambda command: b"+" + command[1] + b"\r\n") as server,
        open_link(server.url) as link,
    ):
        assert await link.send(("ECHO", "1")) == b"1"
        server.push(b"+nobody asked\r\n")
        await asyncio.sleep(0.1)  # long enough to be read: nothing tells of it
        assert await link.send(("ECHO", "3")) == b"3"
        assert server.connections == 2
    assert caplog.records == []


async def test_calls_that_are_refused_in_several_pieces_are_sent_again_in_order(open_link):
    async with open_scripted(lambda _: None) as server, open_link(server.url, texts={"sha": "text"}) as link:
        calls = [link.send(("EVALSHA", "sha", "1", f"{number}")) for number in range(40)]
        await until(lambda: len(server.commands) == 40)
        for _ in range(4):
            server.push(b"-NOSCRIPT No matching script.\r\n" * 10)
            await asyncio.sleep(0.02)  # so that each is a piece of its own
        server.push(b":1\r\n" * 10)
        await until(calls[9].done)
        server.answer = lambda _: b":1\r\n"
        server.push(b":1\r\n" * (len(server.commands) - 50))
        await asyncio.gather(*calls)
    assert [command[3] for command in server.commands[40:]] == [b"%d" % number for number in range(40)]


async def test_subscriptions_that_are_refused_are_one_outage(valkey_url, namespace, caplog):
    caplog.set_level(logging.INFO, "redisflow.backend")
    async with open_proxy(valkey_url) as proxy:
        backend = RedisBackend(proxy.url, namespace=namespace)
        await backend.open()
        rule = proxy.on(call("SSUBSCRIBE")).answer("NOPERM No permissions to access a channel")
        async with backend.listen("w", lambda _: None, lambda _: None):
            await until(lambda: rule.fired >= 4)
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            proxy.forget(rule)
            await until(lambda: len(caplog.records) == 2)
        assert caplog.records[1].levelname == "INFO"
        await backend.close()


async def test_an_alarm_that_is_refused_makes_no_watcher_spin(valkey_url, namespace, caplog):
    async with open_proxy(valkey_url) as proxy:
        backend = RedisBackend(proxy.url, namespace=namespace)
        await backend.open()
        rule = proxy.on(call("BLPOP")).answer("NOPERM User has no permissions to run the 'blpop' command")
        watcher = asyncio.create_task(keep_going("timers-0", lambda: watch_forever(backend, 0, "w")))
        await until(lambda: rule.fired >= 3)
        looks = sum(seen.name == "wake_runs" for seen in proxy.calls)
        assert looks <= 2 * rule.fired
        assert [record.getMessage().partition(" is tried")[0] for record in caplog.records][:2] == [
            "timers-0 was refused by redis, and"
        ] * 2
        watcher.cancel()
        await asyncio.wait([watcher])
        await backend.close()


async def test_a_worker_that_stops_a_release_waits_for_a_server_that_is_away(valkey_url, namespace):
    async with open_proxy(valkey_url) as proxy:
        backend = RedisBackend(proxy.url, namespace=namespace, call_timeout_s=0.2)
        await backend.open()
        proxy.blackhole()
        stop = asyncio.ensure_future(backend.controls.stop(0, "w:order", "release"))
        done, _ = await asyncio.wait({stop}, timeout=0.6)
        assert not done
        proxy.heal()
        await asyncio.wait_for(stop, 30)
        await backend.close()


async def test_a_call_without_a_key_that_a_node_of_a_cluster_sends_elsewhere_is_answered():
    asked = 0

    def answer(command: list[bytes]) -> bytes:
        nonlocal asked
        if command[0] == b"CLUSTER":
            return b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % node.port
        asked += 1
        return b"-ASK 0 127.0.0.1:1\r\n" if asked == 1 else b"+info\r\n"

    async with open_scripted(answer) as node:
        cluster = Cluster(read_url(node.url.replace("redis://", "redis+cluster://")))
        await cluster.load(Scripts({"open_namespace": load_scripts().open_namespace}))
        asked = 0
        assert await asyncio.wait_for(cluster.send("rf:{x:0}:", ("INFO",)), 30) == b"info"
        await cluster.close()
