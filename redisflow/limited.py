"""The limits of a run as its hash has them, and the partition in which each of them is decided: its home.

A run with one limit lives at its home, as a rule, and nothing more is to be said. Otherwise the home of each stands
behind it, and the run is lent a slot from there: `lua/lib/permits.lua`. In a namespace of several partitions runs with
several limits always are, also where they live at the home of one: those that want all slots at once would wait for
ever behind those that take one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable

from redisflow.run_id import partition_for_key


def limit_text(hash_: str, count: int, period_ms: int) -> str:
    """One limit: `<hash>:<count>:<period ms>`."""
    return f"{hash_}:{count}:{period_ms}"


def join_limits(texts: Iterable[str]) -> str:
    """Several, sorted by their hashes: every run asks for them in this order, so that no two wait for each other."""
    return " ".join(sorted(texts))


def home_of(limits: str, partitions: int) -> int:
    """Where a run with these limits lives, where nothing else says that: at the home of the first."""
    return partition_for_key(limits.partition(":")[0], partitions)


def place_limits(limits: str, partition: int, partitions: int) -> str:
    """The limits of a run that lives in `partition`; those of a run that lived elsewhere will do."""
    texts = [part.partition("@")[0] for part in limits.split()]
    if partitions == 1 or (len(texts) == 1 and home_of(texts[0], partitions) == partition):
        return " ".join(texts)
    return " ".join(f"{text}@{home_of(text, partitions)}" for text in texts)
