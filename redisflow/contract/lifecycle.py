"""The calls about a run that exists: pause, resume, retry in place; and the record that a new one begins with.

Every call may be sent again: a repeat answers what the first one recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from redisflow.contract.values import Extension, Mark
    from redisflow.durations import When

RetryWord = Literal["retried", "already", "late", "changed", "busy", "taken"]


@dataclass(frozen=True, slots=True)
class Paused:
    """What a run is after `pause_run`: paused, or ended as `status` says."""

    is_paused: bool
    status: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """What a run is after `resume_run`: going on, or ended as `status` says."""

    goes_on: bool
    status: str


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of `retry_run`; `status` is what the run is where it had not failed."""

    word: RetryWord
    status: str = ""
    holder: str = ""
    """The run that has its unique key."""


class LifecycleCalls(Protocol):
    """See the module; each call answers None where the run is not stored."""

    async def pause_run(self, run_id: str) -> Paused | None:
        """Take the run from whoever holds it, and let it wait until it is resumed."""
        ...

    async def resume_run(self, run_id: str) -> Resumed | None:
        """Let a paused run go on; one that is not paused is left alone."""
        ...

    async def retry_run(
        self, run_id: str, extension: Extension, *, retry: int, deadline: When | None
    ) -> Retried | None:
        """Let a failed run go on in place, with these records appended; `retry` counts from 1."""
        ...

    async def read_fields(self, run_id: str) -> Mapping[bytes, bytes] | None:
        """Everything that is stored of the run, its record too."""
        ...

    async def stage_records(self, run_id: str, records: Sequence[bytes]) -> Mark:
        """Put the record of a run that is to be created with it aside, for an hour.

        Returns what the run is created with as its `h`: how many records there are, and their bytes as they are stored.
        """
        ...

    async def list_ids(
        self, partition: int, workflow: str, status: str | None, *, from_ms: float, to_ms: float, count: int
    ) -> list[tuple[str, float]]:
        """Runs of a listing between two instants, in order, with theirs; no status: those that have not ended."""
        ...

    async def newest_in(self, partition: int, workflow: str, status: str | None) -> float | None:
        """The instant of the last run of such a listing; None where it is empty."""
        ...
