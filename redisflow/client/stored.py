"""The runs of a namespace, whoever has their code: finding, reading and changing them, and what is around them.

It is the part of `RedisFlow` that knows no workflow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Unpack

from redisflow.authoring.outside import Broadcast
from redisflow.client.audit import AuditProgress, audit_namespace
from redisflow.client.buffered import BufferedSignal, list_buffered
from redisflow.client.bulk import Bulk
from redisflow.client.controls import Controls
from redisflow.client.export import export_fields, export_said
from redisflow.client.finding import PAGE_SIZE, FindOptions, RunQuery, list_page, list_runs
from redisflow.client.handle import cancel_run, delete_run
from redisflow.client.importing import ImportedRun, import_run
from redisflow.client.lifecycle import not_found
from redisflow.client.notes import note_action
from redisflow.client.queues import list_queues
from redisflow.client.signals import send_signal, signal_run
from redisflow.contract import Backend
from redisflow.durability import Loss
from redisflow.durations import Duration, to_ms
from redisflow.fleet import HeldRun, QueueInfo, StrandedReport, WorkerInfo
from redisflow.mail import BufferedNames
from redisflow.minutes import Minute
from redisflow.run_history import HistoryEntry, view_history
from redisflow.run_id import check_run_id
from redisflow.runs import WorkflowRun
from redisflow.server_info import ServerInfo
from redisflow.structure import AuditReport
from redisflow.summaries import RunCounts, RunPage, RunSummary

HELD_AT_MOST = 1_000


class StoredRuns(ABC):
    """See the module. Its methods are those of `RedisFlow`."""

    @property
    @abstractmethod
    def namespace(self) -> str:
        """Its namespace."""

    @property
    @abstractmethod
    def backend(self) -> Backend:
        """That of this event loop, open or not."""

    @abstractmethod
    async def open(self) -> Backend:
        """Connect in this event loop. Every call does it when needed; call it at start-up to fail early."""

    @property
    def controls(self) -> Controls:
        """Queues and workflows as a whole: pause, resume, let go slowly."""
        return Controls(self.open)

    @property
    def bulk(self) -> Bulk:
        """What is done to many runs."""
        return Bulk(self.open)

    # -- runs ------------------------------------------------------------------------------------------------------

    async def get_run(self, run_id: str) -> WorkflowRun:
        """The run as it is now, with its steps. RunNotFound where it is not stored."""
        backend = await self.open()
        run = await backend.get_workflow_run(check_run_id(run_id))
        if run is None:
            raise not_found(run_id, backend)
        return run

    async def get_history(self, run_id: str) -> Sequence[HistoryEntry]:
        """What was recorded of the run, entry by entry, without results. RunNotFound where it is not stored."""
        backend = await self.open()
        fields = await backend.read_run(check_run_id(run_id))
        if fields is None:
            raise not_found(run_id, backend)
        return view_history(run_id, fields)

    async def buffered_signals(self, run_id: str, *, most: int = 100) -> Sequence[BufferedSignal]:
        """Signals that lie in the run's mailbox and that its code has not taken, the oldest first: some 1 MiB of data.

        A signal is there until a wait for its name takes it: one of another name than the run waits for is often a
        misspelt one. What a run that has ended did not take is kept with it. Empty where the run is not stored.
        """
        return await list_buffered(await self.open(), check_run_id(run_id), most)

    async def buffered_names(self, run_ids: Iterable[str]) -> Mapping[str, BufferedNames]:
        """By run, the names of the signals that lie in its mailbox, without their data; runs without mail are left out.

        Of each run the first 20 items are looked at, unless they are large: `unread` says how many were not.
        """
        found = await (await self.open()).mail.list_buffered([check_run_id(run_id) for run_id in run_ids])
        return {each.run_id: each for each in found}

    async def find_holder(self, run_id: str) -> HeldRun | None:
        """The worker that holds the run now, and for how long it has not renewed the run's lease.

        None where nobody holds it: it waits for a worker or something else, has ended, or is not stored.
        """
        return await (await self.open()).fleet.find_holder(check_run_id(run_id))

    async def held_runs(self, *, most: int = 10) -> list[HeldRun]:
        """Some of the runs that workers hold, at most `most` of each worker: by worker, in the order of their creation.

        Of more than that, those that were woken or released come before those that were started. How many each holds
        is in `workers()`. ValueError where `most` is not from 1 to 1,000.
        """
        if not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= HELD_AT_MOST:
            msg = f"most is a whole number from 1 to {HELD_AT_MOST:,}, not {most!r}"
            raise ValueError(msg)
        return await (await self.open()).fleet.list_held(most)

    async def export_run(self, run_id: str, *, events: bool = True) -> dict[str, Any]:
        """The run as one document for `json.dumps`, with its whole record, its payloads, events and state. RunNotFound.

        `redisflow.testing.assert_replays` plays it to the code that is here, without its `events`; `import_run` stores
        it elsewhere.
        """
        backend = await self.open()
        fields = await backend.read_run(check_run_id(run_id))
        if fields is None:
            raise not_found(run_id, backend)
        document = export_fields(check_run_id(run_id), self.namespace, fields)
        return document | (await export_said(backend, check_run_id(run_id)) if events else {})

    async def import_run(
        self, document: Mapping[str, Any], *, new_id: bool = False, dry_run: bool = False
    ) -> ImportedRun:
        """Store a run that ended elsewhere, as `export_run` gave it: to be looked at, replayed, retried or forked here.

        It is stored whole or not at all, under its own id, or with `new_id` under another one, which is the same each
        time. Safe to repeat: a run that is stored already is left as it is. It is kept as long as if it had ended now.
        With `dry_run` everything is looked at, and nothing stored.

        InvalidExport where the document is damaged, of another format, or of a partition that is not here;
        RunStateConflict where the run had not ended; RunExists where another run has its id.
        """
        return await import_run(await self.open(), document, new_id=new_id, dry_run=dry_run)

    async def cancel_workflow_run(self, run_id: str) -> bool:
        """Cancel a run; True where it is canceled now, False where it had ended in another way. Safe to repeat."""
        return await cancel_run(await self.open(), check_run_id(run_id))

    async def signal(
        self,
        run_id: str,
        name: str,
        data: Any = None,
        *,
        idempotency_key: str | None = None,
        idempotency_ttl: Duration = "24h",
    ) -> None:
        """Send a run a signal: see `WorkflowHandle.signal`."""
        backend = await self.open()
        await signal_run(
            backend,
            check_run_id(run_id),
            name,
            data,
            idempotency_key=idempotency_key,
            idempotency_ttl=idempotency_ttl,
        )

    async def delete_run(self, run_id: str) -> None:
        """Delete a run with all that is kept of it, now. Safe to repeat. RunNotFinished where it goes on."""
        await delete_run(await self.open(), check_run_id(run_id))

    def list_runs(self, *, page_size: int = PAGE_SIZE, **query: Unpack[RunQuery]) -> AsyncIterator[RunSummary]:
        """The runs that match, as they are read: `async for run in flow.list_runs(status="failed", tags={...})`.

        The unfinished ones come first, newest first, then the finished ones, latest end first; with tags, all by
        creation. A run that is stored all the time is listed once, whatever happens to it meanwhile.
        """
        return list_runs(self.open, FindOptions(**query).filter(), page_size)

    async def list_page(
        self, *, cursor: str | None = None, page_size: int = PAGE_SIZE, **query: Unpack[RunQuery]
    ) -> RunPage:
        """Some of these runs, and the cursor for the next page; the query is the same for each.

        A page may hold fewer runs than asked for, where many had to be looked at; the last one has no cursor.
        InvalidCursor where the cursor is none, or that of another query.
        """
        return await list_page(await self.open(), FindOptions(**query).filter(), page_size, cursor)

    async def count_runs(self, *, detailed: bool = False) -> RunCounts:
        """How many runs there are, by status and workflow, from sizes alone.

        With `detailed` the unfinished runs of each workflow are looked at, about 100,000 in a second, to tell how many
        are pending, running or waiting there.
        """
        return await (await self.open()).listings.count_runs(detailed=detailed)

    async def list_losses(self) -> Sequence[Loss]:
        """Acknowledged writes that the server lost, as the processes that had made them found out; the latest first.

        Up to 100 are kept of each partition. What was lost before the first write of a process, it cannot find out.
        """
        return await (await self.open()).durability.list_losses()

    async def minutes(self, since: Duration = "24h") -> list[Minute]:
        """What happened in each minute from so long ago until now, oldest first; a day and an hour are kept at most.

        Workers add what they have counted every few seconds: the last ones of a worker that crashed are not in here.
        """
        return list(await (await self.open()).metrics.read(to_ms(since, what="since")))

    async def audit(self, *, repair: bool = False, progress: AuditProgress | None = None) -> AuditReport:
        """Look at every key of the namespace, while it is in use, and report what is not as it must be.

        With `repair`, what can be derived from run hashes is rebuilt, and what belongs to no run is removed; what
        cannot be derived (a damaged hash, a gap in a record) is reported and left alone. Safe to repeat, and while
        workers run. It walks all keys of the server (SCAN), a few ms at a time; `progress` is called with the report
        after each piece.
        """
        return await audit_namespace(await self.open(), repair=repair, progress=progress)

    async def server(self) -> ServerInfo:
        """What the servers behind it say of themselves now: version, memory, persistence, replicas, clock.

        It asks on a connection of its own, and opens no namespace. BackendUnavailable where none of them answers.
        """
        return await self.backend.server.describe()

    async def stranded(self, *, detailed: bool = False) -> StrandedReport:
        """What no live worker serves, and why: runs put aside for want of code, workflows and queues without a worker.

        With `detailed` the unfinished runs of each workflow of which only some versions are served are looked at, about
        100,000 in a second. Print it for people.
        """
        return await (await self.open()).fleet.find_stranded(detailed=detailed, look_at=None)

    async def queues(self) -> list[QueueInfo]:
        """Each queue that was ever used: what lies in it, and whether it is paused."""
        return await list_queues(self.open)

    async def count_delayed(self) -> int:
        """How many runs have something to come by the clock: a due time, a deadline, or a start-by time."""
        return (await (await self.open()).metrics.count_delayed())[1]

    async def note(self, run_id: str, action: str, by: str) -> None:
        """Keep among a run's events that somebody did something to it: an event of kind `audit` with both.

        For tools through which people act on runs. RunNotFound where it is not stored; repeated, it is noted twice.
        """
        await note_action(await self.open(), check_run_id(run_id), action, by)

    async def send_signal(
        self,
        name: str,
        data: Any = None,
        *,
        retain: Duration | None = None,
        idempotency_key: str | None = None,
        idempotency_ttl: Duration = "24h",
    ) -> Broadcast:
        """Broadcast a signal to every run that waits for its name now, in all partitions; returns which these are.

        Each gets it once, as if it had been sent to it alone. With `retain` each run that starts to wait for the name
        within that time gets it as well, once. With an `idempotency_key` another call within `idempotency_ttl` (24 h)
        sends nothing more and answers the same. Once begun it is completed by workers, should the caller die.

        Raises InvalidInput (data that cannot be stored), MailboxFull (100 broadcasts of the name are retained).
        """
        return await send_signal(
            await self.open(),
            name,
            data,
            retain=retain,
            idempotency_key=idempotency_key,
            idempotency_ttl=idempotency_ttl,
        )

    async def workers(self, *, gone: bool = False) -> list[WorkerInfo]:
        """The live workers: what they serve and how many runs each holds, sorted by name.

        With `gone`, those of the last hour as well that ended without a word (`is_alive` is false).
        """
        found = await (await self.open()).fleet.list_workers()
        return [worker for worker in found if gone or worker.is_alive]

    async def drain_worker(self, name: str) -> bool:
        """Tell a worker to claim nothing more, and to stop as on SIGTERM; whether one of this name is alive.

        It hears of it with its next heartbeat, within a quarter of its lease. Its runs may go on for its grace; what is
        left is handed to other workers. A process of several workers does not replace it. Safe to repeat.
        """
        return await (await self.open()).fleet.drain_worker(name)
