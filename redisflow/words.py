"""Numbers and names, as people write them."""

from __future__ import annotations

from collections.abc import Sequence


def counted(count: int, thing: str) -> str:
    """`1 run`, `2,000 runs`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def first_of(names: Sequence[str], most: int = 10) -> str:
    """The first of them, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")
