"""A partition that stands still for longer than a lease: its runs are taken up again, and nobody has crashed."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from redisflow import RedisFlow, Step
from redisflow.backend.slots import slot_of
from redisflow.names import partition_prefix
from tests.cluster.conftest import whole
from tests.cluster.test_transport import begin_migration, until

if TYPE_CHECKING:
    from redisflow.testing import ServerCluster

LEASE_S = 6.0
STANDSTILLS = 4
"""One more than the crashes in a row that make a run poisoned."""


@whole
async def test_standing_still_for_longer_than_a_lease_is_no_crash(primaries_only: ServerCluster, namespace: str):
    cluster, prefix = primaries_only, partition_prefix(namespace, 0)
    starts: list[int] = []
    may_end = asyncio.Event()

    def has_started(times: int) -> bool:
        return len(starts) == times

    async def work() -> str:
        starts.append(len(starts))
        await may_end.wait()
        return "done"

    async with RedisFlow(cluster.url, namespace=namespace, call_timeout="60s") as flow:

        @flow.define_workflow("long")
        async def long(step: Step) -> str:
            return await step.run("work", work)

        async with flow.new_worker(lease=LEASE_S), flow.new_worker(lease=LEASE_S):
            handle = await long.run()
            for number in range(1, STANDSTILLS + 1):
                await until(partial(has_started, number))
                owner = cluster.owner_of_partition(namespace, 0)
                heir = next(node for node in cluster.nodes if node is not owner)
                begin_migration(cluster, slot_of(prefix), owner, heir)
                await asyncio.sleep(LEASE_S * 1.5)  # the fault itself
                await asyncio.to_thread(cluster.migrate_slot, slot_of(prefix), heir)
            await until(partial(has_started, STANDSTILLS + 1))
            may_end.set()
            assert await handle.result(timeout="30s") == "done"
