"""The limits of a run, as its hash has them: the text of each, and where each is decided.

A limit is decided in one partition, its home. Where that is the run's own for all of its limits, nothing more is to be
said. Otherwise the partition of each follows it, and the run is lent a slot from there: see `lua/lib/permits.lua`.
"""

from __future__ import annotations

from collections.abc import Iterable

from redisflow.run_id import partition_for_key


def limit_text(hash_: str, count: int, period_ms: int) -> str:
    """One limit: `<hash>:<count>:<period ms>`."""
    return f"{hash_}:{count}:{period_ms}"


def write_limits(limits: Iterable[tuple[str, str]], partition: int, partitions: int) -> str:
    """The limits of a run that lives in `partition`: the text and the home of each."""
    return _write(((text, partition_for_key(home, partitions)) for text, home in limits), partition)


def move_limits(written: str, old: int, new: int) -> str:
    """What was written for a run in the partition `old`, for one in `new`."""
    pairs = (part.partition("@") for part in written.split())
    return _write(((text, int(home) if home else old) for text, _, home in pairs), new)


def _write(limits: Iterable[tuple[str, int]], partition: int) -> str:
    # Every run asks for them in this order, so that no two wait for each other.
    found = sorted(limits)
    if all(home == partition for _, home in found):
        return " ".join(text for text, _ in found)
    return " ".join(f"{text}@{home}" for text, home in found)
