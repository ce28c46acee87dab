"""The contract between the engine and where runs are kept: values down, outcomes up.

Every call may be sent again: a repeat answers what the first one recorded. The calls that a holder makes for a run
(commit, park, finish, release, shelve) are sent when they are called and answer later, so that what many runs commit at
the same time leaves as one batch. A backend knows no workflow code; user payloads are bytes to it.

Values are frozen, but for the four that are made for every run (Mark, Hold, Claim, Extension): freezing a dataclass
makes it several times as dear to make. Nobody changes them.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from redisflow.durations import When
    from redisflow.runs import WorkflowRun


T_co = TypeVar("T_co", covariant=True)


class Answer(Protocol[T_co]):
    """What will come of a call: to be awaited, or to be listened to, once. An asyncio.Future is one."""

    def __await__(self) -> Generator[Any, Any, T_co]:
        """Wait for it."""
        ...

    def add_done_callback(self, listener: Callable[[Any], object], /) -> None:
        """Call the listener with this answer once it is there, at once or soon; never inside a task."""
        ...

    def done(self) -> bool:
        """Whether it is there."""
        ...

    def cancelled(self) -> bool:
        """Whether nobody will ever know."""
        ...

    def exception(self) -> BaseException | None:
        """Why there is no result, once it is there."""
        ...

    def result(self) -> T_co:
        """The result, once it is there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """Within `keep_ms`, the same key with the same fingerprint names the same run; with another it is a conflict."""

    key_hash: str
    fingerprint: str
    keep_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """What a client asks to be run."""

    run_id: str
    workflow: str
    version: str | None
    queue: str
    input: bytes
    available: When | None = None
    deadline: When | None = None
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """The run that `create_run` leaves: the new one, or the one that holds the idempotency key."""

    run_id: str
    existing: bool


@dataclass(frozen=True, slots=True)
class Conflict:
    """The idempotency key belongs to a run with another input."""

    run_id: str


@dataclass(slots=True)
class Mark:
    """How long a run's record is: records, and bytes of its input and records together."""

    records: int
    bytes: int

    def __str__(self) -> str:
        """As it is stored."""
        return f"{self.records}:{self.bytes}"

    @classmethod
    def parse(cls, text: str) -> Mark:
        """From how it is stored."""
        records, _, size = text.partition(":")
        return cls(int(records), int(size))


@dataclass(slots=True)
class Hold:
    """What a holder shows with each call: which run, and the fence that shuts earlier holders out."""

    run_id: str
    queue: str
    fence: str
    entry: str


@dataclass(slots=True, kw_only=True)
class Claim:
    """A run that a worker has just been given, with all that is needed to go on with it."""

    hold: Hold
    workflow: str
    version: str | None
    input: bytes
    created_at_ms: int
    started_at_ms: int
    deadline_at_ms: int | None
    mark: Mark
    records: Sequence[bytes]
    crashes: int
    """Claims in a row that ended in a crash, with nothing recorded since."""


@dataclass(frozen=True, slots=True)
class ClaimBatch:
    """The answer to a claim; `now_ms` is the server's clock when it was given."""

    now_ms: int
    next_due_in_ms: int | None
    claims: list[Claim]
    broken: int
    """Runs whose hash could not be read; they are listed under `broken` and left alone."""


class Verdict(enum.Enum):
    """What became of a holder's call."""

    OK = "ok"
    FENCED = "fenced"
    """Another holder has the run, or nobody: drop it."""
    ENDED = "ended"
    """The run was ended from outside (canceled, deadline, poisoned): drop it."""
    BEHIND = "behind"
    """The record is not as long as the holder believes: load the run anew."""
    MISSING = "missing"
    """The run is no longer stored."""


@dataclass(slots=True)
class Extension:
    """What a holder appends: the mark it extends, the mark it leaves, and the records between them."""

    before: Mark
    after: Mark
    records: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What one bounded step of upkeep did."""

    done: bool
    """Nothing is left to look at for now."""
    reclaimed: int = 0
    poisoned: int = 0
    lost: int = 0
    """Entries without a readable run, or hints that were rebuilt."""


class Heartbeat(Protocol):
    """A worker's heartbeat, on a connection of its own: used by an OS thread, never by the event loop."""

    def renew(
        self, partition: int, worker: str, presence_ms: int, about: bytes, holds: Sequence[Hold]
    ) -> Sequence[str]:
        """Renew presence and leases; returns the ids of the runs that the worker no longer holds."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Backend(Protocol):
    """Where runs are kept. One object serves one namespace, from one event loop."""

    @property
    def namespace(self) -> str:
        """The namespace that it serves."""
        ...

    @property
    def partitions(self) -> int:
        """How many partitions the namespace has; known once it is open."""
        ...

    async def open(self) -> None:
        """Connect, load the scripts, read the namespace's layout. Safe to repeat."""
        ...

    async def close(self) -> None:
        """Close every connection; calls under way fail with BackendUnavailable."""
        ...

    async def check_server(self) -> list[str]:
        """What a worker should warn of; UnsuitableServer where runs would be lost (too old, evicts keys)."""
        ...

    # -- what clients call ----------------------------------------------------------------------------------------

    async def create_run(self, new: NewRun) -> Created | Conflict:
        """Store a run and make it available; BackpressureError where the server is out of memory."""
        ...

    async def get_workflow_run(self, run_id: str) -> WorkflowRun | None:
        """The run as it is now, with its steps; None where it is not stored."""
        ...

    async def get_end(self, run_id: str) -> RunEnd | None:
        """Only how it ended, or that it did not; None where it is not stored.

        Where it has not ended, this notes that somebody awaits it, so that its end is told to `watch_end`.
        """
        ...

    async def cancel_run(self, run_id: str) -> str | None:
        """Cancel it; returns the status that it has after the call, None where it is not stored."""
        ...

    def watch_end(self, run_id: str) -> AbstractAsyncContextManager[AsyncIterator[RunEnd | None]]:
        """A subscription that yields once each time the run may have ended (at least once after a lost connection).

        It yields how the run ended, where it was told, else None.

        Enter it, look with `get_end`, and wait for a tick: an end between any two of these is not missed.
        """
        ...

    # -- what a run's holder calls --------------------------------------------------------------------------------

    async def claim_runs(
        self, partition: int, worker: str, operation: str, limit: int, queues: Sequence[str]
    ) -> ClaimBatch:
        """Claim up to `limit` runs. Repeated with the same operation it gives the same runs."""
        ...

    def commit_run(
        self, hold: Hold, extension: Extension, *, renew_for: str | None, forget_crashes: bool
    ) -> Answer[Verdict]:
        """Append records and go on holding the run."""
        ...

    def park_run(self, hold: Hold, extension: Extension, *, reason: str, due_at_ms: int) -> Answer[Verdict]:
        """Append records and let the run wait until it is due."""
        ...

    def finish_run(self, hold: Hold, extension: Extension, *, status: str, payload: bytes) -> Answer[Verdict]:
        """Append records and end the run: `succeeded` with its output, or `failed` with its failure."""
        ...

    def release_run(self, hold: Hold) -> Answer[Verdict]:
        """Hand the run back for another worker, now."""
        ...

    def shelve_run(self, hold: Hold, *, reason: str, problem: bytes, first_ms: int, last_ms: int) -> Answer[Verdict]:
        """Let the run wait for code: `stranded` (tried again by itself) or `suspended`."""
        ...

    def note_progress(self, hold: Hold, progress: bytes) -> Answer[Verdict]:
        """Show what the holder is doing right now; empty, it has not begun, and a crash of it is not counted."""
        ...

    # -- what a worker calls --------------------------------------------------------------------------------------

    async def wait_bell(self, partition: int, queues: Sequence[str], timeout_s: float) -> bool:
        """Sleep until there may be work in one of the queues; False when the time is over."""
        ...

    async def wait_alarm(self, partition: int, timeout_s: float) -> bool:
        """Sleep until the first due time of the partition may have come earlier; False when the time is over."""
        ...

    def listen(self, worker: str, lost: Callable[[str], None]) -> AbstractAsyncContextManager[None]:
        """While it is open, `lost` is called with the id of each run that was taken from this worker."""
        ...

    def open_heartbeat(self) -> Heartbeat:
        """A heartbeat for this worker's OS thread."""
        ...

    async def leave(self, worker: str, queues: Sequence[str]) -> None:
        """The worker stops: its presence and its empty consumers go."""
        ...

    async def take_turn(self, partition: int, chore: str, worker: str, ms: int) -> bool:
        """Whether this worker has the turn to do a chore of the partition."""
        ...

    async def wake_runs(self, partition: int, limit: int) -> tuple[int, int | None]:
        """Bring due runs back to their streams; returns how many, and the ms until the next one is due."""
        ...

    async def wake_stuck(self, workflow: str) -> int:
        """Offer the runs of a workflow that waited for code again; returns how many."""
        ...

    async def reclaim_runs(self, partition: int, queue: str, lease_ms: int, crash_limit: int) -> Upkeep:
        """One bounded step of giving runs with an expired lease back."""
        ...

    async def reconcile_runs(self, partition: int) -> Upkeep:
        """One bounded step of rebuilding lost hints from the run hashes."""
        ...

    async def sweep_workers(self, partition: int, queue: str) -> int:
        """Delete the empty consumers of dead workers; returns how many."""
        ...


@dataclass(frozen=True, slots=True)
class RunEnd:
    """A run's workflow, status, and its output or failure once it has ended (bytes as stored)."""

    workflow: str
    status: str
    output: bytes | None
    error: bytes | None
    cause: str | None
    """`deadline`, `poisoned` or `canceled` where a verdict from outside ended it."""
