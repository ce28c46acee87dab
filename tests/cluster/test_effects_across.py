"""What a step causes in a partition on another node: carried out once, wherever whoever carries it out dies.

A worker's connection to the outbox stops at its n-th call, for every n: before the call is sent, after it was executed,
and with it sent twice. Another worker finishes. (That the world stops at each call of a worker as a whole, with its
partitions on several nodes, is tests/crash under `make cluster`.)
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redisflow import RedisFlow, Step, define_workflow_spec
from redisflow.backend.scripts import load_scripts
from redisflow.run_id import partition_of
from redisflow.testing import ClusterOptions, ServerCluster, start_cluster
from tests.cluster.conftest import raw_of, whole
from tests.crash import test_crash_points, test_crash_points_of_limits
from tests.crash.audit import audit, leftovers
from tests.crash.harness import Fault, FaultyBackend
from tests.crash.reference import ACROSS, Reference

CALLS_AT_MOST = 120
AT_ONCE = 6
FAULTS = pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())


@pytest.fixture(scope="module")
def calm(cluster_provider: str) -> Iterator[ServerCluster]:
    """Return three primaries to which nothing happens, who know every script."""
    with start_cluster(ClusterOptions(provider=cluster_provider, replicas=0, node_timeout_ms=60_000)) as made:
        for node in made.nodes:
            for script in load_scripts():
                made.call(node, "SCRIPT", "LOAD", script.text)
        yield made


def spread(cluster: ServerCluster) -> str:
    """A namespace whose first two partitions are on different nodes."""
    while True:
        namespace = f"across-{secrets.token_hex(6)}"
        if cluster.owner_of_partition(namespace, 0) is not cluster.owner_of_partition(namespace, 1):
            return namespace


class OutboxFault:
    """The connection of an outbox, but for what happens at its call number `at`; then the worker's world stops."""

    def __init__(self, fault: Fault, at: int) -> None:
        self._fault = fault
        self._at = at
        self._count = 0
        self.fired = False

    def cut(self, backend: FaultyBackend) -> None:
        """Put it between a worker's backend and its server."""
        self._backend = backend
        real: Any = backend.real
        opening = real.open

        async def open_cut() -> None:
            await opening()
            self._transport = real._transport
            real._outbox._transport = self
            real._outbox._broadcasts._transport = self

        real.open = open_cut

    def send(self, prefix: str, command: Any, parse: Any = None, *, bulk: bool = False) -> asyncio.Future[Any]:
        never: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        sent: asyncio.Future[Any]
        if self._backend.stopped.is_set():
            return never
        # Looking whether there is anything, and finding nothing, goes on all the time: that is no call to die at.
        if command[0] == "XRANGE":
            sent = self._transport.send(prefix, command, parse, bulk=bulk)
            return sent
        self._count += 1
        if self._count != self._at:
            sent = self._transport.send(prefix, command, parse, bulk=bulk)
            return sent
        self.fired = True
        if self._fault is Fault.BEFORE:
            self._backend.stopped.set()
            return never
        sent = self._transport.send(prefix, command, parse, bulk=bulk)
        if self._fault is Fault.REPEAT:
            sent = self._transport.send(prefix, command, parse, bulk=bulk)
            return sent
        sent.add_done_callback(lambda _: self._backend.stopped.set())
        return never

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


async def at_every_call(fault: Fault, scenario: Callable[[OutboxFault, int], Any]) -> int:
    """At call 1, 2, 3, ... until there is no such call any more; returns how many there were."""
    for first in range(1, CALLS_AT_MOST, AT_ONCE):
        faults = [OutboxFault(fault, at) for at in range(first, first + AT_ONCE)]
        await asyncio.gather(*(scenario(one, first + number) for number, one in enumerate(faults)))
        if not faults[-1].fired:
            return first - 1 + sum(one.fired for one in faults)
    pytest.fail(f"the outbox has not come to rest within {CALLS_AT_MOST} calls")


@whole
@pytest.mark.timeout(300)
@FAULTS
@pytest.mark.parametrize("reference", ACROSS, ids=str)
async def test_children_and_broadcasts_survive_a_fault_at_any_call_between_nodes(
    calm: ServerCluster, reference: Reference, fault: Fault
):
    async def scenario(cut: OutboxFault, at: int) -> None:
        await test_crash_points.survives(reference, fault, at, calm.url, None, namespace=spread(calm), sabotage=cut.cut)

    assert await at_every_call(fault, scenario) > 0


@whole
@pytest.mark.timeout(300)
@FAULTS
async def test_permits_of_limits_survive_a_fault_at_any_call_between_nodes(calm: ServerCluster, fault: Fault):
    async def scenario(cut: OutboxFault, at: int) -> None:
        await test_crash_points_of_limits.survives(fault, at, calm.url, 2, namespace=spread(calm), sabotage=cut.cut)

    assert await at_every_call(fault, scenario) > 0


async def test_an_idempotency_key_starts_one_run_wherever_its_starters_die(calm: ServerCluster):
    """The key and its run are in one partition: there is nothing between nodes, whichever the others are."""
    async with RedisFlow(calm.url, namespace=spread(calm), partitions=16) as flow:

        @flow.define_workflow("once")
        async def once(number: int, step: Step) -> int:
            return number

        spec = define_workflow_spec("once", input=int, output=int)

        async def start_and_die(key: str, at: int) -> None:
            async with RedisFlow(calm.url, namespace=flow.namespace) as other:
                call = asyncio.ensure_future(other.run_workflow(spec, at, idempotency_key=key))
                await asyncio.sleep(at / 2000)  # somewhere in its life
                call.cancel()
                await asyncio.wait({call})

        keys = [f"key-{number}" for number in range(20)]
        await asyncio.gather(*(start_and_die(key, number) for number, key in enumerate(keys)))
        ids = [{(await once.run(number, idempotency_key=key)).id for _ in range(3)} for number, key in enumerate(keys)]
        assert all(len(found) == 1 for found in ids)
        assert len({partition_of(run_id) for found in ids for run_id in found}) > 8
        async with flow.new_worker():
            async for run in flow.list_runs():
                await (await flow.get_handle(run.id, once)).result(timeout="1m")
        assert len([run async for run in flow.list_runs()]) == len(keys)


@pytest.mark.timeout(200)
async def test_effects_for_a_node_that_is_away_wait_and_all_others_go_on(primaries_only: ServerCluster, namespace: str):
    cluster = primaries_only
    while len({cluster.owner_of_partition(namespace, n).port for n in range(16)}) < 3:
        namespace += "+"
    here = cluster.owner_of_partition(namespace, 0)
    away = next(node for node in cluster.nodes if node is not here)
    there = {n for n in range(16) if cluster.owner_of_partition(namespace, n) is away}

    async with RedisFlow(cluster.url, namespace=namespace, partitions=16, call_timeout="60s") as flow:

        @flow.define_workflow("kid")
        async def kid(number: int, step: Step) -> int:
            return number

        @flow.define_workflow("listener")
        async def listener(step: Step) -> int | None:
            return await step.wait_for_signal("news", int, timeout="5m")

        @flow.define_workflow("parent")
        async def parent(step: Step) -> list[int]:
            return list(
                await step.gather(*(step.run_workflow(kid, n, name=f"kid-{n}", spread=True) for n in range(32)))
            )

        async def waiting() -> int:
            return len([run async for run in flow.list_runs(workflow="listener", status="waiting:signal")])

        async with flow.new_worker():
            listeners = [await listener.run() for _ in range(48)]
            parents = [await parent.run() for _ in range(8)]
            async with asyncio.timeout(60):
                while await waiting() < 48:  # noqa: ASYNC110  # a server has no event
                    await asyncio.sleep(0.05)  # between two looks
            cluster.kill(away)
            sent = asyncio.ensure_future(flow.send_signal("news", 7))
            alive = [handle for handle in listeners if partition_of(handle.id) not in there]
            assert len(alive) < len(listeners)
            async with asyncio.timeout(60):
                assert [await handle.result() for handle in alive] == [7] * len(alive)
            await asyncio.to_thread(cluster.restart, away)
            async with asyncio.timeout(100):
                await sent
                assert [await handle.result() for handle in listeners] == [7] * 48
                assert [await handle.result() for handle in parents] == [list(range(32))] * 8
    raw = raw_of(cluster)
    assert audit(raw, namespace, 16) == []
    assert leftovers(raw, namespace, 16) == []
    raw.close()
