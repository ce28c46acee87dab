"""The leak fixture's eyes: once every run of a namespace is purged, nothing of any run may be left.

It knows which keys are shared from the outside (ARCHITECTURE.md). Whoever adds a key per run and does not add it to
lua/lib/forget_run.lua fails the stories that use the fixture `no_key_left`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from redisflow.structure.places import is_shared
from tests.keyspace import key_names, prefix_of

if TYPE_CHECKING:
    from redisflow import RedisFlow
    from tests.keyspace import Raw


async def purge_all(flow: RedisFlow, raw: Raw) -> None:
    """Cancel what is unfinished, and purge everything as if its time were over."""
    backend = await flow.open()
    async for run in flow.list_runs(status=("pending", "running", "waiting")):
        await backend.cancel_run(run.id)
    names = {name.decode() for number in range(backend.partitions) for name in raw("SMEMBERS", _key(flow, number))}
    await backend.retention.set_retention(dict.fromkeys(names, "succeeded=0 failed=0 canceled=0"))
    for partition in range(backend.partitions):
        while not (await backend.retention.purge_runs(partition)).done:
            pass
    for partition in range(backend.partitions):
        while await backend.outbox.deliver(partition):
            pass
    await backend.retention.set_retention(dict.fromkeys(names, ""))


def leaks(raw: Raw, namespace: str, partitions: int = 1) -> list[str]:
    """What is left in a namespace and is not shared, or is shared and holds something of a run."""
    found: list[str] = []
    for partition in range(partitions):
        prefix = prefix_of(namespace, partition)
        for name in key_names(raw, prefix):
            if name.startswith("q:") or name == "outbox":
                length = raw("XLEN", prefix + name)
                found += [f"{name} has {length} entries"] if length else []
            elif not is_shared(name):
                found.append(f"{name} is left")
    return found


def _key(flow: RedisFlow, partition: int) -> str:
    return f"{prefix_of(flow.namespace, partition)}workflows"
