"""Broadcasts: a signal for every run that waits for its name, in all partitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

RUNS_AT_MOST = 10_000
"""Runs that are named of those that a broadcast reached; all of them are counted."""


@dataclass(frozen=True, slots=True)
class Reached:
    """The runs that a broadcast reached; of those that start to wait later, none."""

    run_ids: Sequence[str]
    """The first RUNS_AT_MOST of them."""
    count: int


class BroadcastCalls(Protocol):
    """See the module."""

    async def send(
        self, name: str, payload: bytes, *, once: str, keep_ms: int, retain_ms: int | None
    ) -> Reached | None:
        """Give a signal to all runs that wait for it, and for `retain_ms` to each that starts to.

        None, and nothing was done, where too many are kept for that already.
        Once within `keep_ms` for each `once` (a hash): then it is answered as before. A caller that dies in between
        leaves the rest to the workers.
        """
        ...
