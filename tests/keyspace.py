"""A whole partition, read past everything of ours but the script that an audit reads with, for the checker.

Of a namespace at rest, or between two scripts of a simulation: nothing may write between the two commands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis

from redisflow.backend.connect import read_url
from redisflow.backend.memory import store_named
from redisflow.backend.scripts import load_scripts
from redisflow.structure import Breach, Snapshot, check, snapshot_of
from tests.acl import past_users
from tests.cluster.raw import cluster_raw

Raw = Callable[..., Any]


def raw_calls(url: str) -> tuple[Raw, Callable[[], None]]:
    """Bare commands to a server, past everything of ours; and what ends them."""
    target = read_url(url)
    if target.kind == "memory":
        store = store_named(target.name)
        return (lambda *command: store.run(command)), (lambda: None)
    if target.kind == "cluster":
        return cluster_raw(target)
    client = redis.Redis.from_url(past_users(url), protocol=2)
    # No helpers that turn replies into something else: the same bytes from every kind of server.
    client.response_callbacks.clear()
    return client.execute_command, client.close


def prefix_of(namespace: str, partition: int = 0) -> str:
    """How the keys of a partition begin."""
    return f"rf:{{{namespace}:{partition}}}:"


def key_names(raw: Raw, prefix: str) -> list[str]:
    """Every key of a partition, without the prefix. Braces are plain in a pattern, brackets are not in our names."""
    return sorted(key.decode().removeprefix(prefix) for key in raw("KEYS", f"{prefix}*"))


def read_partition(raw: Raw, prefix: str) -> Snapshot:
    """All that is there now, by the clock of the test where it has one."""
    names = [part for name in key_names(raw, prefix) for part in (name, "0")]
    # A server inside this process does not know script flags; others do not need those of a script that only reads.
    script = load_scripts("test", shebang=False).inspect_keys
    reply = raw("EVAL", script.text, 1, prefix, 1_000_000_000, "lone", *names)
    space = snapshot_of(prefix, reply[1], reply[2:])
    assert not space.onward.keys() - {"outbox"}, f"not all was read of {space.onward}"
    return space


def breaches(raw: Raw, namespace: str, partitions: int = 1) -> list[Breach]:
    """What is wrong in a namespace."""
    return [
        breach
        for partition in range(partitions)
        for breach in check(read_partition(raw, prefix_of(namespace, partition)))
    ]
