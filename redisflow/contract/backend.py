"""The calls that cross the contract.

Every call may be sent again: a repeat answers what the first one recorded. The calls that a holder makes for a run
(commit, park, finish, release, shelve) are sent when they are called and answer later, so that what many runs commit at
the same time leaves as one batch. A backend knows no workflow code; user payloads are bytes to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

from redisflow.contract.audit import AuditCalls
from redisflow.contract.broadcasts import BroadcastCalls
from redisflow.contract.clock import ReadClock
from redisflow.contract.controls import ControlCalls
from redisflow.contract.durability import DurabilityCalls
from redisflow.contract.events import EventCalls
from redisflow.contract.fleet import FleetCalls
from redisflow.contract.imports import ImportCalls
from redisflow.contract.lifecycle import LifecycleCalls
from redisflow.contract.listings import Listings
from redisflow.contract.mail import MailCalls
from redisflow.contract.metrics import MetricCalls
from redisflow.contract.observer import Observer
from redisflow.contract.outbox import OutboxCalls
from redisflow.contract.payloads import PayloadCalls
from redisflow.contract.retention import RetentionCalls
from redisflow.contract.schedules import ScheduleCalls
from redisflow.contract.server import ServerCalls
from redisflow.contract.starts import StartCalls
from redisflow.contract.values import (
    Answer,
    Beat,
    ClaimBatch,
    Conflict,
    Created,
    Extension,
    Hold,
    NewRun,
    RunEnd,
    Upkeep,
    Verdict,
)

if TYPE_CHECKING:
    from redisflow.runs import WorkflowRun


class Heartbeat(Protocol):
    """A worker's heartbeat, on a connection of its own: used by an OS thread, never by the event loop."""

    def renew(
        self, partition: int, worker: str, presence_ms: int, about: bytes, holds: Sequence[Hold], serves: str = ""
    ) -> Beat:
        """Renew presence and leases; returns what is new of the runs that the worker holds.

        `about` is what the worker says of itself, `serves` what of that scripts look at (see `About`).
        """
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
    def audit(self) -> AuditCalls:
        """What looks at every key, and puts right what is wrong; once it is open."""
        ...

    @property
    def broadcasts(self) -> BroadcastCalls:
        """Signals to all runs that wait for them."""
        ...

    @property
    def mail(self) -> MailCalls:
        """The mailboxes of its runs."""
        ...

    @property
    def outbox(self) -> OutboxCalls:
        """What is to be done across its partitions."""
        ...

    @property
    def events(self) -> EventCalls:
        """What its runs say while they go on."""
        ...

    @property
    def partitions(self) -> int:
        """How many partitions the namespace has; known once it is open."""
        ...

    @property
    def starts(self) -> StartCalls:
        """Starting runs under rules; once it is open."""
        ...

    @property
    def listings(self) -> Listings:
        """Finding runs."""
        ...

    @property
    def fleet(self) -> FleetCalls:
        """Who works here, and what nobody serves."""
        ...

    @property
    def imports(self) -> ImportCalls:
        """Storing runs that ended elsewhere; once it is open."""
        ...

    @property
    def retention(self) -> RetentionCalls:
        """Deleting finished runs."""
        ...

    @property
    def payload_limit(self) -> int:
        """Bytes of the largest input, result or output that it takes."""
        ...

    @property
    def payloads(self) -> PayloadCalls:
        """What runs have outside: their large payloads in a store."""
        ...

    @property
    def server(self) -> ServerCalls:
        """The servers themselves; it need not be open for this."""
        ...

    @property
    def schedules(self) -> ScheduleCalls:
        """Its schedules."""
        ...

    @property
    def lifecycle(self) -> LifecycleCalls:
        """Pause, resume, retry in place; known once it is open."""
        ...

    @property
    def durability(self) -> DurabilityCalls:
        """Whether what was acknowledged is safe; known once it is open."""
        ...

    @property
    def controls(self) -> ControlCalls:
        """Queues and workflows as a whole; known once it is open."""
        ...

    @property
    def observer(self) -> Observer | None:
        """Who is told what happens here; None where nobody listens."""
        ...

    @property
    def metrics(self) -> MetricCalls:
        """What is counted by the minute; known once it is open."""
        ...

    @property
    def read_clock(self) -> ReadClock:
        """What makes the clock of the runs of a claim."""
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

    async def read_run(self, run_id: str) -> Mapping[bytes, bytes] | None:
        """The run's fields and records as they are stored; None where it is not stored."""
        ...

    async def get_end(self, run_id: str) -> RunEnd | None:
        """Only how it ended, or that it did not; None where it is not stored.

        Where it has not ended, this notes that somebody awaits it, so that its end is told to `watch_end`.
        """
        ...

    async def cancel_run(self, run_id: str) -> str | None:
        """Cancel it; returns the status that it has after the call, None where it is not stored.

        `canceling` where it has compensations, which run first.
        """
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
        self,
        hold: Hold,
        extension: Extension,
        *,
        renew_for: str | None,
        forget_crashes: bool,
        seen: int | None = None,
    ) -> Answer[Verdict]:
        """Append records and go on holding the run; `seen` as for `park_run`."""
        ...

    def park_run(
        self,
        hold: Hold,
        extension: Extension,
        *,
        reason: str,
        due_at_ms: int | None,
        seen: int | None = None,
        wants: str = "",
    ) -> Answer[Verdict]:
        """Append records and let the run wait until it is due, or until mail comes that it `wants`.

        `seen` is the number of the last mail that its holder knows: where there is more, the run is not parked.
        """
        ...

    def finish_run(self, hold: Hold, extension: Extension, *, status: str, payload: bytes) -> Answer[Verdict]:
        """Append records and end the run: `succeeded` with its output, or `failed` with its failure."""
        ...

    def continue_run(self, hold: Hold, extension: Extension, *, payload: bytes) -> Answer[Verdict]:
        """Begin the run anew with this input and an empty record; of the extension only its effects count."""
        ...

    def release_run(self, hold: Hold) -> Answer[Verdict]:
        """Hand the run back for another worker, now."""
        ...

    def shelve_run(
        self, hold: Hold, *, reason: str, problem: bytes, first_ms: int, last_ms: int, again_ms: int | None = None
    ) -> Answer[Verdict]:
        """Let the run wait for code: `stranded` (there is none here) or `suspended` (it is another).

        It is offered again after `first_ms`, doubled each time, up to `last_ms`; at 0 only when a worker starts that
        has code for it.
        With `again_ms` a stranded one waits so long where another worker has its code, longer where hundreds wait.
        """
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

    def listen(
        self, worker: str, lost: Callable[[str], None], mail: Callable[[str], None]
    ) -> AbstractAsyncContextManager[None]:
        """While it is open, `lost` is called with the id of each run that was taken from this worker.

        `mail` is called with the id of each run that it holds and that got some.
        """
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
