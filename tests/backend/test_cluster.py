from __future__ import annotations

import asyncio
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
import redis

from redisflow.backend.redis_backend import RedisBackend
from redisflow.contract import Beat, Created, Extension, NewRun, Verdict
from redisflow.errors import BackendError
from redisflow.run_id import new_run_id
from redisflow.testing import ServerOptions, start_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redisflow.testing import Server

SLOTS = 16_384


@contextmanager
def cluster(size: int) -> Iterator[list[Server]]:
    """Primaries with the slots shared out evenly."""
    options = ServerOptions(appendonly=False, config={"cluster-enabled": "yes", "cluster-node-timeout": "2000"})
    with ExitStack() as stack:
        nodes = [stack.enter_context(start_server(options)) for _ in range(size)]
        clients = [stack.enter_context(redis.Redis(port=node.port)) for node in nodes]
        for number, client in enumerate(clients):
            first, last = SLOTS * number // size, SLOTS * (number + 1) // size - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number:
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        while not all(_is_ready(client, size) for client in clients):
            pass  # some 100 ms of gossip
        yield nodes


def _is_ready(client: redis.Redis, size: int) -> bool:
    info = client.execute_command("CLUSTER", "INFO")
    text = info.decode() if isinstance(info, bytes) else str(info)
    known = len(client.execute_command("CLUSTER", "SLOTS")) == size
    return known and "cluster_state" in text and ("ok" in text.split("cluster_state", 1)[1][:8])


def new_run(partition: int) -> NewRun:
    return NewRun(run_id=new_run_id(partition), workflow="w", version=None, queue="default", input=b"\x01")


async def use(backend: RedisBackend, partition: int) -> None:
    """One run through every kind of connection."""
    run = new_run(partition)
    assert await backend.create_run(run) == Created(run.run_id, existing=False)
    assert await backend.wait_bell(partition, ["default"], 5) is True
    (claim,) = (await backend.claim_runs(partition, "w", run.run_id, 1, ["default"])).claims
    heartbeat = backend.open_heartbeat()
    assert await asyncio.to_thread(heartbeat.renew, partition, "w", 1_000, b"", [claim.hold]) == Beat([], {})
    heartbeat.close()
    async with backend.watch_end(run.run_id) as ticks:
        assert await backend.get_end(run.run_id) is not None
        still = Extension(claim.mark, claim.mark, [])
        finish = backend.finish_run(claim.hold, still, status="succeeded", payload=b"\x02")
        assert await finish is Verdict.OK
        await asyncio.wait_for(anext(ticks), 5)


async def test_a_cluster_of_one_node(namespace: str):
    with cluster(1) as (node,):
        backend = RedisBackend(f"redis+cluster://127.0.0.1:{node.port}", namespace=namespace, partitions=4)
        await backend.open()
        await asyncio.gather(*(use(backend, partition) for partition in range(4)))
        await backend.close()


async def test_partitions_spread_over_nodes_and_follow_their_slots(namespace: str):
    with cluster(3) as nodes:
        url = f"redis+cluster://127.0.0.1:1,127.0.0.1:{nodes[0].port}"
        backend = RedisBackend(url, namespace=namespace, partitions=16, stall_s=2)
        await backend.open()
        await asyncio.gather(*(use(backend, partition) for partition in range(16)))
        with ExitStack() as stack:
            clients = [stack.enter_context(redis.Redis(port=node.port)) for node in nodes]
            held = [client.dbsize() for client in clients]
            assert all(held), held
            moved = _move_slot_of(f"rf:{{{namespace}:0}}:", clients)
        assert moved
        run = new_run(0)
        async with backend.watch_end(run.run_id) as ticks:
            assert await backend.create_run(run) == Created(run.run_id, existing=False)
            assert await backend.get_end(run.run_id) is not None
            # The subscription is moved as soon as the map is known; what happened until then is one tick.
            await backend.cancel_run(run.run_id)
            await asyncio.wait_for(anext(ticks), 10)
        await use(backend, 0)
        await backend.close()


def _move_slot_of(key: str, clients: list[redis.Redis]) -> int:
    """Migrate a slot with all its keys to another node."""
    slot = clients[0].execute_command("CLUSTER", "KEYSLOT", key)
    ids = [_text(client.execute_command("CLUSTER", "MYID")) for client in clients]
    owner = next(n for n, client in enumerate(clients) if client.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot))
    heir = (owner + 1) % len(clients)
    clients[heir].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[owner])
    clients[owner].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[heir])
    port = clients[heir].connection_pool.connection_kwargs["port"]
    count = 0
    while keys := clients[owner].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
        clients[owner].execute_command("MIGRATE", "127.0.0.1", port, "", 0, 5_000, "KEYS", *keys)
        count += len(keys)
    for client in (clients[heir], clients[owner], *clients):
        client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[heir])
    return count


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


async def test_a_node_that_dies_and_comes_back_loses_no_call(namespace: str):
    with cluster(1) as (node,):
        backend = RedisBackend(f"redis+cluster://127.0.0.1:{node.port}", namespace=namespace, call_timeout_s=30)
        await backend.open()
        calls = [asyncio.create_task(backend.create_run(new_run(0))) for _ in range(50)]
        await asyncio.to_thread(node.kill)
        calls += [asyncio.create_task(backend.create_run(new_run(0))) for _ in range(50)]
        await asyncio.to_thread(node.restart)
        answers = await asyncio.gather(*calls)
        assert all(isinstance(answer, Created) for answer in answers)
        await backend.close()


async def test_a_server_that_is_no_cluster_is_told_apart(valkey_url: str, namespace: str):
    backend = RedisBackend(valkey_url.replace("redis://", "redis+cluster://"), namespace=namespace)
    with pytest.raises(BackendError, match="no cluster"):
        await asyncio.wait_for(backend.open(), 5)
