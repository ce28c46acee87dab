"""Deleting finished runs: when their time is over, and now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Purged:
    """What one bounded step of purging did."""

    done: bool
    """Nothing is left that has been kept for long enough."""
    runs: int
    run_ids: Sequence[str] = ()
    """Which they were, where that was asked for."""


class RetentionCalls(Protocol):
    """How long runs are kept, and what deletes them."""

    async def set_retention(self, policies: Mapping[str, str]) -> None:
        """Say how long runs of these workflows are kept (as `encode_policy` says it); empty: the defaults."""
        ...

    async def purge_runs(self, partition: int, *, tell_ids: bool = False) -> Purged:
        """Delete finished runs of the partition whose time is over: one bounded step."""
        ...

    async def delete_run(self, run_id: str) -> str | None:
        """Delete a finished run now; None where it is gone after the call, else the status that keeps it."""
        ...
