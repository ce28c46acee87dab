"""What must hold in a namespace at rest, and what must not be left in it once every run has ended."""

from __future__ import annotations

from tests.keyspace import Raw, breaches, key_names, prefix_of


def audit(raw: Raw, namespace: str, partitions: int = 1) -> list[str]:
    """What is wrong in a namespace."""
    return [str(breach) for breach in breaches(raw, namespace, partitions)]


def leftovers(raw: Raw, namespace: str, partitions: int = 1) -> list[str]:
    """What must not be left once every run has ended: entries, pending entries, timers."""
    found: list[str] = []
    for partition in range(partitions):
        prefix = prefix_of(namespace, partition)
        for name in key_names(raw, prefix):
            key = prefix + name
            if name.startswith("q:"):
                if raw("XLEN", key):
                    found.append(f"{key} has {raw('XLEN', key)} entries")
                if raw("XINFO", "GROUPS", key) and raw("XPENDING", key, "workers")[0]:
                    found.append(f"{key} has pending entries")
            elif name.startswith(("blocked:", "fair:")):
                found.append(f"{key} has members")
            elif name == "outbox":
                found.append(f"{key} has {raw('XLEN', key)} entries")
            elif name == "delayed":
                found.append(f"{key} has {raw('ZCARD', key)} members")
    return found
