"""Runs go on through failovers, killed primaries and moving slots; at the end each has ended once.

How many, and how often things happen, is set by REDISFLOW_CLUSTER_RUNS: 240 in `make test`, more in `make cluster`.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from redisflow import RedisFlow
from redisflow.testing import ServerCluster, ServerOptions, start_server
from tests.cluster.conftest import whole
from tests.cluster.load import PARTITIONS, Load, records_of
from tests.keyspace import raw_calls

RUNS = int(os.environ.get("REDISFLOW_CLUSTER_RUNS", "240"))
"""Of the load through failovers and migrations; half of it through killed primaries."""
IS_WHOLE = RUNS > 240
FAILOVERS = 5 if IS_WHOLE else 1
KILLS = 2 if IS_WHOLE else 1
EVERY_S = 0.01
LEASE_S = 10.0
"""Longer than a failover takes: what waits for one is not given to another worker meanwhile."""


@contextmanager
def load_on(cluster: ServerCluster, namespace: str, folder: Path) -> Iterator[Load]:
    """A load of its own seed."""
    seed = int(os.environ.get("CLUSTER_SEED") or secrets.randbits(32))
    print(f"CLUSTER_SEED={seed}")
    load = Load(cluster, namespace, folder, random.Random(seed))
    try:
        yield load
    finally:
        load.end()


@pytest.mark.timeout(900)
async def test_runs_go_on_through_failovers_and_moving_slots(
    calm_cluster: ServerCluster, namespace: str, tmp_path: Path
):
    cluster = calm_cluster
    with load_on(cluster, namespace, tmp_path) as load:
        done = threading.Event()

        def break_things() -> None:
            for number in range(FAILOVERS):
                for partition in range(PARTITIONS):
                    load.migrate(partition)
                if number < FAILOVERS:
                    load.fail_over()
            while not done.is_set():
                load.migrate(load.chance.randrange(PARTITIONS))

        async with RedisFlow(cluster.url, namespace=namespace, partitions=PARTITIONS, call_timeout="60s") as flow:
            await flow.open()
            load.hire(2, lease_s=LEASE_S)
            breaking = asyncio.ensure_future(asyncio.to_thread(break_things))
            try:
                await load.start(flow, RUNS, every_s=EVERY_S)
            finally:
                done.set()
                await breaking
            runs = await load.wait_for_all(flow)
        await asyncio.to_thread(load.end)
        print(load.summary(runs))
        assert load.happened["failovers"] == FAILOVERS
        assert load.happened["migrations"] >= PARTITIONS * FAILOVERS
        assert load.problems(runs) == []


@pytest.mark.timeout(900)
async def test_runs_go_on_when_primaries_are_killed(cluster: ServerCluster, namespace: str, tmp_path: Path):
    """What a primary acknowledged and its replica did not have is lost: such runs go on from an earlier state."""
    with load_on(cluster, namespace, tmp_path) as load:
        async with RedisFlow(cluster.url, namespace=namespace, partitions=PARTITIONS, call_timeout="60s") as flow:
            await flow.open()
            load.hire(2, lease_s=LEASE_S)
            starting = asyncio.ensure_future(load.start(flow, RUNS // 2, every_s=EVERY_S * 4))
            for _ in range(KILLS):
                await load.wait_for_bodies(20)
                await asyncio.to_thread(load.kill_primary)
            if IS_WHOLE:
                await load.wait_for_bodies(20)
                await asyncio.to_thread(load.freeze_primary)
            await starting
            load.happened["lost starts"] = await load.start_what_was_lost(flow)
            runs = await load.wait_for_all(flow)
        await asyncio.to_thread(load.end)
        print(load.summary(runs))
        assert load.happened["kills"] == KILLS
        assert load.problems(runs) == []


@whole
@pytest.mark.timeout(600)
async def test_after_a_failover_that_lost_writes_each_run_is_an_earlier_state_of_itself(
    cluster: ServerCluster, cluster_provider: str, namespace: str, tmp_path: Path
):
    with load_on(cluster, namespace, tmp_path) as load:
        async with RedisFlow(cluster.url, namespace=namespace, partitions=PARTITIONS, call_timeout="60s") as flow:
            await flow.open()
            load.hire(2, lease_s=LEASE_S)
            await load.start(flow, 60, every_s=0.0)
            lost = cluster.owner_of_partition(namespace, 0)
            theirs = [n for n in range(PARTITIONS) if cluster.owner_of_partition(namespace, n) is lost]
            # From now on nothing reaches its replica, which is not asked: everything is still acknowledged.
            cluster.call(lost, "ACL", "SETUSER", "default", "-psync", "-sync")
            cluster.call(lost, "CLIENT", "KILL", "TYPE", "REPLICA")
            await load.start(flow, 60, every_s=0.0)
            await load.wait_for_bodies(100)
            # Nobody goes on meanwhile, or what is found after the failover would be newer than what was lost.
            load.tell(signal.SIGSTOP)
            cluster.kill(lost)
            before = _read_dead(lost.data_dir, cluster_provider, namespace, theirs)
            await asyncio.to_thread(cluster.wait_for_failover, lost)
            raw, close = raw_calls(cluster.url)
            after = records_of(raw, namespace, theirs)
            close()
            torn = [run_id for run_id, now in after.items() if now != before.get(run_id, [])[: len(now)]]
            assert torn == []
            shorter = [run_id for run_id, then in before.items() if len(after.get(run_id, [])) < len(then)]
            assert shorter, "nothing was lost: this has shown nothing"
            load.happened["runs set back"] = len(shorter)
            load.tell(signal.SIGCONT)
            await asyncio.to_thread(cluster.restart, lost)
            await asyncio.to_thread(cluster.wait_until_ready)
            load.happened["lost starts"] = await load.start_what_was_lost(flow)
            runs = await load.wait_for_all(flow)
        await asyncio.to_thread(load.end)
        print(load.summary(runs))
        assert load.problems(runs) == []


def _read_dead(data: Path, provider: str, namespace: str, partitions: list[int]) -> dict[str, list[bytes]]:
    """What the killed server had acknowledged: its append-only file, read by a server that is in no cluster."""
    copy = data.with_name(f"{data.name}-copy")
    shutil.copytree(data, copy)
    (copy / "server.lock").unlink()
    try:
        with start_server(ServerOptions(provider=provider, data_dir=copy)) as server:
            raw, close = raw_calls(server.url)
            found = records_of(raw, namespace, partitions)
            close()
            return found
    finally:
        shutil.rmtree(copy)
