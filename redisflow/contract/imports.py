"""Storing runs that ended elsewhere: whole, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from redisflow.contract.events import StoredEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRun:
    """A run that has ended, with all that is kept of it."""

    run_id: str
    workflow: str
    status: Literal["succeeded", "failed", "canceled"]
    created_at_ms: int
    finished_at_ms: int
    queue: str
    tags: str
    """As they are stored; empty: none."""
    parent: str | None
    input: bytes
    outcome: bytes | None
    """Its output where it succeeded, else its failure; None where a verdict from outside ended it."""
    records: Sequence[bytes]
    fields: Mapping[str, str | int] = field(default_factory=dict[str, "str | int"])
    """Further fields of the run's hash, by their stored names."""
    events: Sequence[StoredEvent] = ()
    state: Mapping[str, bytes] = field(default_factory=dict[str, bytes])

    @property
    def end(self) -> KnownEnd:
        """By which it is told from another run of its id."""
        return KnownEnd(self.workflow, self.status, self.created_at_ms, self.finished_at_ms, len(self.records))


@dataclass(frozen=True, slots=True)
class KnownEnd:
    """What tells a stored run from another one of the same id."""

    workflow: str
    status: str
    created_at_ms: int
    finished_at_ms: int | None
    records: int


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of `import_run`."""

    word: Literal["imported", "existing", "ahead"]
    """`existing`: a run of this id is stored; `ahead`: it ended later than it is there now."""
    now_ms: int | None = None
    """By the clock that it is ahead of."""


class ImportCalls(Protocol):
    """Reached as `backend.imports`."""

    async def find_end(self, run_id: str) -> KnownEnd | None:
        """What is stored under this id; None: nothing."""
        ...

    async def import_run(self, run: EndedRun) -> Imported:
        """Store the run. Nothing of it is seen before all of it is; what a caller leaves half done goes by itself.

        Sent again under the same call it answers the same; called again, `existing`. RecordGone where the server keeps
        losing what was put aside.
        """
        ...
