"""The transport to a cluster: each partition is found where it is, through whatever happens to its node."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
from typing import TYPE_CHECKING, Any

import pytest

from redisflow import RedisFlow
from redisflow.backend.cluster import Cluster
from redisflow.backend.connect import read_url
from redisflow.backend.redis_backend import RedisBackend
from redisflow.backend.slots import slot_of
from redisflow.contract import Beat, Created, Extension, NewRun, Verdict
from redisflow.errors import BackendError, BackendUnavailable, UnsuitableServer
from redisflow.names import partition_prefix
from redisflow.run_id import new_run_id, partition_for_key, partition_of
from redisflow.testing import ClusterOptions, start_cluster
from tests.cluster.conftest import whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from redisflow import Step, Workflow
    from redisflow.testing import Server, ServerCluster
    from tests.cluster.conftest import Open

PARTITIONS = 16


def new_run(partition: int) -> NewRun:
    return NewRun(run_id=new_run_id(partition), workflow="w", version=None, queue="default", input=b"\x01")


async def use(backend: RedisBackend, partition: int) -> None:
    """One run through every kind of connection."""
    run = new_run(partition)
    assert await backend.create_run(run) == Created(run.run_id, existing=False)
    async with asyncio.timeout(60):
        while not await backend.wait_bell(partition, ["default"], 5):
            pass  # a bell that has just moved
    (claim,) = (await backend.claim_runs(partition, "w", run.run_id, 1, ["default"])).claims
    heartbeat = backend.open_heartbeat()
    assert await asyncio.to_thread(heartbeat.renew, partition, "w", 1_000, b"", [claim.hold]) == Beat([], {})
    heartbeat.close()
    async with backend.watch_end(run.run_id) as ticks:
        assert await backend.get_end(run.run_id) is not None
        still = Extension(claim.mark, claim.mark, [])
        finish = backend.finish_run(claim.hold, still, status="succeeded", payload=b"\x02")
        assert await finish is Verdict.OK
        await asyncio.wait_for(anext(ticks), 10)


async def use_all(backend: RedisBackend) -> None:
    await asyncio.gather(*(use(backend, partition) for partition in range(backend.partitions)))


def stat(cluster: ServerCluster, section: str, name: str) -> int:
    """A counter of INFO, of all nodes together."""
    total = 0
    for node in cluster.nodes:
        try:
            found = re.search(
                rf"{re.escape(name)}[=:](?:calls=|count=)?(\d+)", cluster.call(node, "INFO", section).decode()
            )
        except BackendUnavailable:  # it was killed
            continue
        total += int(found[1]) if found else 0
    return total


async def test_a_cluster_of_one_node(namespace: str, cluster_provider: str, open_backend: Open):
    with start_cluster(ClusterOptions(primaries=1, replicas=0, provider=cluster_provider)) as cluster:
        async with open_backend(cluster) as backend:
            await use_all(backend)


async def test_partitions_spread_over_nodes_and_follow_their_slots(
    primaries_only: ServerCluster, namespace: str, open_backend: Open
):
    cluster = primaries_only
    async with open_backend(cluster) as backend:
        await use_all(backend)
        owners = [cluster.owner_of_partition(namespace, partition) for partition in range(PARTITIONS)]
        assert {owner.port for owner in owners} == {node.port for node in cluster.nodes}
        for partition, owner in enumerate(owners):
            heir = cluster.nodes[(cluster.nodes.index(owner) + 1) % 3]
            assert cluster.migrate_partition(namespace, partition, heir) > 0
        run = new_run(0)
        async with backend.watch_end(run.run_id) as ticks:
            assert await backend.create_run(run) == Created(run.run_id, existing=False)
            assert await backend.get_end(run.run_id) is not None
            # The subscription is moved as soon as the map is known; what happened until then is one tick.
            await backend.cancel_run(run.run_id)
            await asyncio.wait_for(anext(ticks), 10)
        await use_all(backend)


@whole
async def test_a_node_that_dies_and_comes_back_loses_no_call(primaries_only: ServerCluster, open_backend: Open):
    cluster = primaries_only
    async with open_backend(cluster) as backend:
        calls = [asyncio.create_task(backend.create_run(new_run(n % PARTITIONS))) for n in range(100)]
        await asyncio.to_thread(cluster.kill, cluster.nodes[1])
        calls += [asyncio.create_task(backend.create_run(new_run(n % PARTITIONS))) for n in range(100)]
        await asyncio.to_thread(cluster.restart, cluster.nodes[1])
        assert all(isinstance(answer, Created) for answer in await asyncio.gather(*calls))


async def test_a_server_that_is_no_cluster_is_told_apart(redis_url: str, namespace: str):
    backend = RedisBackend(redis_url.replace("redis://", "redis+cluster://"), namespace=namespace)
    with pytest.raises(BackendError, match="no cluster"):
        await asyncio.wait_for(backend.open(), 5)


@pytest.mark.parametrize(
    "how", [pytest.param("handed over", marks=whole), "killed", pytest.param("stopped", marks=whole)]
)
async def test_an_idle_worker_lives_on_when_a_primary_is_replaced(cluster: ServerCluster, namespace: str, how: str):
    lost = cluster.nodes[0]
    async with RedisFlow(cluster.url, namespace=namespace, partitions=PARTITIONS, call_timeout="60s") as flow:

        @flow.define_workflow("double")
        async def double(number: int, step: Step) -> int:
            return number * 2

        async with flow.new_worker():
            assert await (await double.run(1)).result(timeout="1m") == 2
            # It sleeps on the bells of all partitions now, of which some were the lost one's.
            match how:
                case "handed over":
                    await asyncio.to_thread(cluster.fail_over, lost)
                case "killed":
                    await asyncio.to_thread(cluster.kill, lost)
                case _:
                    os.kill(lost.pid, signal.SIGSTOP)  # its connections stay open, and say nothing
            await asyncio.to_thread(cluster.wait_for_failover, lost)
            handles = [await double.run(number) for number in range(60)]
            assert len({partition_of(handle.id) for handle in handles}) > PARTITIONS / 2
            async with asyncio.timeout(60):
                assert [await handle.result() for handle in handles] == [number * 2 for number in range(60)]
        if how == "stopped":
            os.kill(lost.pid, signal.SIGCONT)


async def test_a_heartbeat_finds_its_partitions_while_the_event_loop_stands_still(
    cluster: ServerCluster, namespace: str, open_backend: Open
):
    async with open_backend(cluster) as backend:
        heartbeat = backend.open_heartbeat()
        for partition in range(PARTITIONS):
            heartbeat.renew(partition, "w", 60_000, b"", [])
        # Nothing here gives the loop a turn: what the heartbeat knows of the new owners it has found out by itself.
        cluster.fail_over(cluster.nodes[0])
        cluster.wait_until_ready()
        owner = cluster.owner_of_partition(namespace, 1)
        cluster.migrate_partition(namespace, 1, next(node for node in cluster.primaries() if node is not owner))
        cluster.wait_until_ready()
        cluster.kill(cluster.nodes[1])
        cluster.wait_for_failover(cluster.nodes[1])
        for partition in range(PARTITIONS):
            assert heartbeat.renew(partition, "w", 60_000, b"", []) == Beat([], {})
        heartbeat.close()


@whole
async def test_a_node_that_says_nothing_costs_a_heartbeat_one_timeout_and_not_one_for_each_partition(
    primaries_only: ServerCluster, namespace: str, open_backend: Open
):
    silent = primaries_only.nodes[0]
    theirs = {n for n in range(PARTITIONS) if primaries_only.owner_of_partition(namespace, n) is silent}
    assert len(theirs) > 2
    async with open_backend(primaries_only) as backend:
        heartbeat = backend.open_heartbeat()
        for partition in range(PARTITIONS):
            heartbeat.renew(partition, "w", 60_000, b"", [])
        os.kill(silent.pid, signal.SIGSTOP)
        try:
            loop = asyncio.get_running_loop()
            began_s, failed = loop.time(), set[int]()
            for partition in range(PARTITIONS):
                try:
                    heartbeat.renew(partition, "w", 60_000, b"", [])
                except BackendUnavailable:
                    failed.add(partition)
            assert failed == theirs
            # 5 s for each call without an answer: twice that leaves room for a slow machine.
            assert loop.time() - began_s < 10
        finally:
            os.kill(silent.pid, signal.SIGCONT)
            heartbeat.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110  # a server has no event
            await asyncio.sleep(0.01)  # between two looks


def begin_migration(cluster: ServerCluster, slot: int, owner: Server, heir: Server) -> None:
    """As far as the first two commands: from now on the owner sends everybody to the heir, who has nothing yet."""
    ids = {node.port: cluster.call(node, "CLUSTER", "MYID") for node in (owner, heir)}
    cluster.call(heir, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[owner.port])
    cluster.call(owner, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[heir.port])


async def test_calls_wait_in_their_order_while_their_slot_is_being_moved(primaries_only: ServerCluster, namespace: str):
    cluster, prefix = primaries_only, partition_prefix(namespace, 0)
    transport = Cluster(read_url(cluster.url))
    push = f"{prefix}order"
    script = "return redis.call('RPUSH', KEYS[1] .. 'order', ARGV[1])"
    await transport._refresh()

    def send(number: int) -> asyncio.Future[Any]:
        return transport.send(prefix, ("EVAL", script, 1, prefix, number))

    assert await send(0) == 1
    owner = cluster.owner_of_partition(namespace, 0)
    heir = next(node for node in cluster.nodes if node is not owner)
    begin_migration(cluster, slot_of(prefix), owner, heir)
    asked = stat(cluster, "errorstats", "errorstat_ASK")
    calls = [send(number) for number in range(1, 501)]
    # They have been refused, and wait.
    await until(lambda: stat(cluster, "errorstats", "errorstat_ASK") >= asked + 510)
    calls += [send(number) for number in range(501, 1001)]
    assert cluster.call(owner, "LLEN", push) == 1
    # One of them is asked about again and again, not each.
    assert stat(cluster, "errorstats", "errorstat_ASK") < asked + 700
    assert "a migration is under way" in transport.trouble
    await asyncio.to_thread(cluster.migrate_slot, slot_of(prefix), heir)
    assert await asyncio.wait_for(asyncio.gather(*calls), 30) == list(range(2, 1002))
    assert cluster.call(heir, "LRANGE", push, 0, -1) == [b"%d" % number for number in range(1001)]
    assert transport.trouble == ""
    await transport.close()


async def test_calls_that_wait_for_a_slot_end_with_the_connection(primaries_only: ServerCluster, namespace: str):
    cluster, prefix = primaries_only, partition_prefix(namespace, 0)
    transport = Cluster(read_url(cluster.url))
    await transport._refresh()
    owner = cluster.owner_of_partition(namespace, 0)
    begin_migration(cluster, slot_of(prefix), owner, next(node for node in cluster.nodes if node is not owner))
    waiting = [transport.send(prefix, ("EVAL", "return 1", 1, prefix)) for _ in range(3)]
    await until(lambda: "a migration is under way" in transport.trouble)
    await transport.close()
    for call in [*waiting, transport.send(prefix, ("EVAL", "return 1", 1, prefix))]:
        with pytest.raises(BackendUnavailable, match="was closed"):
            await asyncio.wait_for(call, 30)


async def test_a_slot_that_nobody_owns_is_waited_for(cluster_provider: str, namespace: str, open_backend: Open):
    config = {"cluster-require-full-coverage": "no"}
    options = ClusterOptions(primaries=1, replicas=0, provider=cluster_provider, config=config)
    with start_cluster(options) as cluster:
        (node,) = cluster.nodes
        async with open_backend(cluster) as backend:
            await use_all(backend)
        slot = slot_of(partition_prefix(namespace, 3))
        cluster.call(node, "CLUSTER", "DELSLOTS", slot)
        async with open_backend(cluster) as backend:
            run = new_run(3)
            created = asyncio.ensure_future(backend.create_run(run))
            ended = asyncio.ensure_future(_wait_for_end(backend, run.run_id))
            bell = asyncio.ensure_future(backend.wait_bell(3, ["default"], 1))
            await asyncio.gather(*(use(backend, partition) for partition in range(PARTITIONS) if partition != 3))
            assert await bell is False
            assert not created.done()
            cluster.call(node, "CLUSTER", "ADDSLOTS", slot)
            assert await created == Created(run.run_id, existing=False)
            await backend.cancel_run(run.run_id)
            await asyncio.wait_for(ended, 30)


async def _wait_for_end(backend: RedisBackend, run_id: str) -> None:
    async with backend.watch_end(run_id) as ticks:
        async for _ in ticks:
            end = await backend.get_end(run_id)
            if end is not None and end.status == "canceled":
                return


async def test_one_node_is_away_and_the_others_go_on(primaries_only: ServerCluster, namespace: str, open_backend: Open):
    cluster = primaries_only
    async with open_backend(cluster) as backend:
        await use_all(backend)
    # Not that of partition 0, which says what the namespace is.
    lost = next(node for node in cluster.nodes if node is not cluster.owner_of_partition(namespace, 0))
    theirs = {n for n in range(PARTITIONS) if cluster.owner_of_partition(namespace, n) is lost}
    cluster.kill(lost)
    asked = stat(cluster, "commandstats", "cmdstat_cluster|slots")
    async with open_backend(cluster) as backend:
        waiting = [asyncio.ensure_future(use(backend, partition)) for partition in theirs]
        pops = [asyncio.ensure_future(backend.wait_bell(partition, ["default"], 3)) for partition in theirs]
        for _ in range(3):
            await asyncio.gather(*(use(backend, n) for n in range(PARTITIONS) if n not in theirs))
        await asyncio.gather(*pops)
        # Each reading of the map is a connection: those that fail all the time do not ask all the time.
        assert stat(cluster, "commandstats", "cmdstat_cluster|slots") < asked + 40
        assert not any(call.done() for call in waiting)
        await asyncio.to_thread(cluster.restart, lost)
        await asyncio.wait_for(asyncio.gather(*waiting), 60)


async def test_a_worker_starts_while_a_node_is_away_and_works_for_the_others(
    primaries_only: ServerCluster, namespace: str, open_backend: Open
):
    cluster = primaries_only
    async with open_backend(cluster):
        pass
    lost = next(node for node in cluster.nodes if node is not cluster.owner_of_partition(namespace, 0))
    theirs = {n for n in range(PARTITIONS) if cluster.owner_of_partition(namespace, n) is lost}
    cluster.kill(lost)
    async with RedisFlow(cluster.url, namespace=namespace, call_timeout="3s") as flow:

        @flow.define_workflow("double")
        async def double(number: int, step: Step) -> int:
            return number * 2

        async with flow.new_worker() as worker:
            assert not theirs & await _serve_all_but(double, theirs)
            # Whatever it has begun for the lost node may give up after `call_timeout`: it is to go on nevertheless.
            stopped = asyncio.ensure_future(worker.wait())
            done, _ = await asyncio.wait([stopped], timeout=6)
            assert not done
            await _serve_all_but(double, theirs)
            await asyncio.to_thread(cluster.restart, lost)
            await until(lambda: takes_writes(cluster, lost, partition_prefix(namespace, min(theirs))))
            handles = [await double.run(number) for number in range(60)]
            async with asyncio.timeout(60):
                assert [await handle.result() for handle in handles] == [number * 2 for number in range(60)]
            stopped.cancel()


def takes_writes(cluster: ServerCluster, node: Server, prefix: str) -> bool:
    """A primary that has just been started refuses them for a moment."""
    try:
        return bool(cluster.call(node, "DEL", f"{prefix}nothing") == 0)
    except BackendError:
        return False


async def _serve_all_but(double: Workflow[int, int], theirs: set[int]) -> set[int]:
    """Runs in every partition that is there; returns which these were."""
    keys = [f"key-{secrets.token_hex(4)}" for _ in range(200)]
    handles = [
        await double.run(1, idempotency_key=key)
        for key in keys
        if partition_for_key(f"double\0{key}", PARTITIONS) not in theirs
    ]
    async with asyncio.timeout(60):
        assert [await handle.result() for handle in handles] == [2] * len(handles)
    return {partition_of(handle.id) for handle in handles}


async def test_a_worker_refuses_a_cluster_of_which_one_node_evicts_runs(
    primaries_only: ServerCluster, namespace: str, open_backend: Open
):
    cluster = primaries_only
    evicting = next(node for node in cluster.nodes if node is not cluster.owner_of_partition(namespace, 0))
    cluster.call(evicting, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    async with open_backend(cluster) as backend:
        with pytest.raises(UnsuitableServer, match="allkeys-lru"):
            await backend.check_server()
        cluster.call(evicting, "CONFIG", "SET", "maxmemory-policy", "noeviction")
        # A server of an old version is warned of for that, too.
        assert [warning for warning in await backend.check_server() if "CVE" not in warning] == []
