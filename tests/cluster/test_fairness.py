"""Workers spread their claims over the partitions: a busy one keeps no other waiting."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest

from redisflow import RedisFlow, Step
from redisflow.run_id import partition_for_key, partition_of
from tests.cluster.conftest import whole

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTITIONS = 16
BUSY = 600
FEW = 4


def keys_of(workflow: str, partition: int, count: int) -> Iterator[str]:
    """Idempotency keys of one partition: a run lives where its key says."""
    keys = (f"key-{number}" for number in itertools.count())
    theirs = (key for key in keys if partition_for_key(f"{workflow}\0{key}", PARTITIONS) == partition)
    return itertools.islice(theirs, count)


@pytest.mark.parametrize("concurrency", [pytest.param(2, marks=whole), 20])
async def test_a_few_runs_in_each_partition_do_not_wait_for_many_in_one(
    cluster_url: str, namespace: str, concurrency: int
):
    served: list[int] = []

    async def note(partition: int) -> None:
        served.append(partition)
        await asyncio.sleep(0.001)  # the work itself

    async with RedisFlow(cluster_url, namespace=namespace, partitions=PARTITIONS) as flow:

        @flow.define_workflow("noted")
        async def noted(partition: int, step: Step) -> None:
            await step.run("note", note, partition)

        many = [await noted.run(0, idempotency_key=key) for key in keys_of("noted", 0, BUSY)]
        few = [
            await noted.run(partition, idempotency_key=key)
            for partition in range(1, PARTITIONS)
            for key in keys_of("noted", partition, FEW)
        ]
        assert {partition_of(handle.id) for handle in many} == {0}
        assert sorted({partition_of(handle.id) for handle in few}) == list(range(1, PARTITIONS))
        async with flow.new_worker(concurrency=concurrency):
            await asyncio.gather(*(handle.result(timeout="1m") for handle in few))
            # All partitions have their turn: the busy one gets as many as each other, as long as these have any.
            assert served.count(0) < BUSY // 3
            await asyncio.gather(*(handle.result(timeout="1m") for handle in many))
    assert [served.count(partition) for partition in range(PARTITIONS)] == [BUSY, *[FEW] * (PARTITIONS - 1)]


@whole
async def test_new_runs_of_a_busy_partition_do_not_come_before_the_waiting_ones_of_others(
    cluster_url: str, namespace: str
):
    async with RedisFlow(cluster_url, namespace=namespace, partitions=PARTITIONS) as flow:
        refills = keys_of("busy", 0, 100_000)
        is_over = False

        async def work() -> None:
            await asyncio.sleep(0.001)  # the work itself

        @flow.define_workflow("busy")
        async def busy(step: Step) -> None:
            await step.run("work", work)

        @flow.define_workflow("rare")
        async def rare(step: Step) -> None:
            await step.run("work", work)

        async def keep_busy() -> None:
            """More work than the worker can do, at every moment."""
            while not is_over:
                handles = [await busy.run(idempotency_key=next(refills)) for _ in range(20)]
                await asyncio.wait([asyncio.ensure_future(handle.result()) for handle in handles[:1]])

        for _ in range(100):
            await busy.run(idempotency_key=next(refills))
        async with flow.new_worker(concurrency=4):
            refilling = asyncio.ensure_future(keep_busy())
            for partition in range(1, PARTITIONS):
                for key in keys_of("rare", partition, 2):
                    await (await rare.run(idempotency_key=key)).result(timeout="30s")
            is_over = True
            await refilling
