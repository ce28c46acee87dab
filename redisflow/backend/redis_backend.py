"""The backend contract on Redis: each call is one script or one read, sent to the partition that it is about.

A client's call gives up after a while; a holder's or a worker's waits for the server as long as it takes, because
what it says is already true. The hard thing is the hot path: a holder's call must cost a tuple, a future and nothing
else, so its command is built here in its script's own order, which is checked once, when the scripts are read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from redisflow.backend import access, replies
from redisflow.backend.acknowledgements import Acknowledgements
from redisflow.backend.advisories import known_flaws
from redisflow.backend.audit import AuditOnRedis
from redisflow.backend.broadcasts import Broadcasts
from redisflow.backend.connect import read_url
from redisflow.backend.controls import Controls
from redisflow.backend.durability import DurabilityOnRedis
from redisflow.backend.events import Events, effect_of, size_of
from redisflow.backend.fleet import Workforce
from redisflow.backend.heartbeat import ThreadHeartbeat
from redisflow.backend.histories import Histories, came_whole
from redisflow.backend.imports import ImportsOnRedis
from redisflow.backend.inspection import look_at_others, look_at_rights, look_at_server
from redisflow.backend.lifecycle import Lifecycle
from redisflow.backend.listening import listen, watch
from redisflow.backend.listings import ListingCalls
from redisflow.backend.mail import Mailboxes
from redisflow.backend.metrics import MetricsOnRedis
from redisflow.backend.outbox import Outbox
from redisflow.backend.patience import Patience
from redisflow.backend.payloads import NOTHING_STORED
from redisflow.backend.retention import RetentionOnRedis
from redisflow.backend.row_batches import RowBatches, unconfirmed
from redisflow.backend.rows import COLUMNS, row_of
from redisflow.backend.schedules import RedisSchedules
from redisflow.backend.scripts import Clock, load_scripts
from redisflow.backend.server_calls import ServersOnRedis
from redisflow.backend.servers import (
    MEMORY_PRODUCT,
    ServerReport,
    check_server,
    load_or_explain,
)
from redisflow.backend.starts import RuledStarts
from redisflow.backend.transports import make_transport
from redisflow.backend.upkeep import UpkeepCalls
from redisflow.backend.watched import WatchedTransport
from redisflow.contract import (
    Answer,
    BroadcastCalls,
    Claim,
    ClaimBatch,
    ClaimClock,
    Conflict,
    Created,
    EventCalls,
    Extension,
    Heartbeat,
    Hold,
    ImportCalls,
    MailCalls,
    NewRun,
    PayloadCalls,
    ReadClock,
    RunEnd,
    StartCalls,
    Upkeep,
    Verdict,
)
from redisflow.durability import AS_CONFIGURED, Durability
from redisflow.errors import (
    BackendError,
    BackendUnavailable,
    CannotDecode,
    NamespaceNotFound,
    RedisflowError,
    RunDamaged,
    UnsuitableServer,
)
from redisflow.names import check_name, partition_prefix
from redisflow.run_id import partition_of
from redisflow.run_views import view_run
from redisflow.runs import WorkflowRun
from redisflow.sealing import Payloads, Seals

if TYPE_CHECKING:
    from redisflow.backend.transport import Transport
    from redisflow.contract.observer import Observer

LAYOUT = 1
# What a claim brings of each run's history, and of all together; the rest is read after it, in pieces.
RUN_BYTES = 256 * 1024
ALL_BYTES = 1024 * 1024


class RedisBackend:
    """Runs of one namespace, kept in Redis or Valkey (or in this process: `memory://`)."""

    lifecycle: Lifecycle
    """Known once it is open."""
    controls: Controls
    """Known once it is open."""
    durability: DurabilityOnRedis
    """Known once it is open."""
    metrics: MetricsOnRedis
    """Known once it is open."""
    observer: Observer | None = None
    """Who is told what happens here; known once it is open."""
    layout: int
    """The form in which the namespace is stored; known once it is open."""

    def __init__(  # noqa: PLR0913  # keywords with defaults: `BackendOptions`
        self,
        url: str,
        *,
        namespace: str = "default",
        partitions: int | None = 1,
        clock: Clock = "server",
        read_clock: ReadClock = ClaimClock.of,
        call_timeout_s: float = 10.0,
        stall_s: float = 10.0,
        durability: Durability = AS_CONFIGURED,
        max_pending: int | None = None,
        observe: Callable[[], Observer | None] = lambda: None,
    ) -> None:
        """Connect later, with `open`.

        `partitions` counts for a namespace that is opened for the first time, None opens no such; `call_timeout_s` is
        how long a client's call waits for a server that is away; a connection that owes a reply for `stall_s` is given
        up. With `clock` "test" scripts go by the key `clock` of their partition, where it is set; `read_clock` is then
        what follows it. `max_pending` is how many runs may wait to be claimed, in all partitions, before a start is
        refused.
        """
        self._target = read_url(url)
        self.read_clock = read_clock
        self._namespace = check_name("namespace", namespace)
        self._wanted_partitions = partitions
        self._timeout_s = call_timeout_s
        self._stall_s = stall_s
        self._durability = durability
        self._most_pending = max_pending
        self._observe = observe
        self._max_pending: int | None = None
        """In a partition; known once it is open."""
        self.seals = Seals(Payloads(), namespace)
        self._may_write = True
        self._prefixes: tuple[str, ...] = ()
        self._transport: Transport | None = None
        scripts = self._scripts = load_scripts(clock, shebang=self._target.kind != "memory")
        self._create = scripts.create_run.head(*COLUMNS)
        self._commit = scripts.commit_run.head("run_id", "fence", "entry", "before", "after")
        self._park = scripts.park_run.head(
            "run_id", "fence", "entry", "before", "after", "reason", "due", "seen", "wants"
        )
        self._finish = scripts.finish_run.head("run_id", "fence", "entry", "before", "after", "status", "payload")

    def __repr__(self) -> str:
        """Without credentials."""
        return f"RedisBackend({self._target.masked!r}, namespace={self._namespace!r})"

    @property
    def namespace(self) -> str:
        """The namespace that it serves."""
        return self._namespace

    @property
    def audit(self) -> AuditOnRedis:
        """What looks at every key, and puts right what is wrong; once it is open."""
        self._server()
        return self._audit

    @property
    def broadcasts(self) -> BroadcastCalls:
        """Signals to all runs that wait for them; once it is open."""
        self._server()
        return self._broadcasts

    @property
    def mail(self) -> MailCalls:
        """The mailboxes of its runs; known once it is open."""
        self._server()
        return self._mailboxes

    @property
    def outbox(self) -> Outbox:
        """What is to be done across its partitions; known once it is open."""
        self._server()
        return self._outbox

    @property
    def events(self) -> EventCalls:
        """What its runs say; known once it is open."""
        self._server()
        return self._events

    @property
    def partitions(self) -> int:
        """How many partitions the namespace has; known once it is open."""
        self._server()
        return len(self._prefixes)

    @property
    def starts(self) -> StartCalls:
        """Starting runs under rules; once it is open."""
        self._server()
        return self._starts

    @property
    def listings(self) -> ListingCalls:
        """Finding runs."""
        self._server()
        return self._listings

    @property
    def fleet(self) -> Workforce:
        """Who works here, and what nobody serves."""
        self._server()
        return self._fleet

    @property
    def imports(self) -> ImportCalls:
        """Storing runs that ended elsewhere; once it is open."""
        self._server()
        return self._imports

    @property
    def retention(self) -> RetentionOnRedis:
        """Deleting finished runs."""
        self._server()
        return self._retention

    @property
    def payload_limit(self) -> int:
        """Bytes of the largest input, result or output that it takes."""
        return self.seals.payload_limit

    @property
    def payloads(self) -> PayloadCalls:
        """What runs have outside: nothing."""
        return NOTHING_STORED

    @property
    def may_write(self) -> bool:
        """Whether the server's user may do more than read here; known once it is open."""
        return self._may_write

    @property
    def server(self) -> ServersOnRedis:
        """The servers themselves; it need not be open for this."""
        return ServersOnRedis(self._target, self._timeout_s)

    @property
    def schedules(self) -> RedisSchedules:
        """Its schedules."""
        self._server()
        return self._schedules

    def _server(self) -> Transport:
        if self._transport is None:
            msg = "the backend is not open: await open() first"
            raise BackendError(msg)
        return self._transport

    def _prefix_of(self, run_id: str) -> str:
        prefixes = self._prefixes
        if len(prefixes) == 1:
            return prefixes[0]
        try:
            return prefixes[partition_of(run_id)]
        except IndexError:
            self._server()  # one that is not open knows no partitions, and says so
            msg = f"run {run_id} is of a partition that namespace {self._namespace!r} does not have"
            raise BackendError(msg) from None

    # -- opening and closing --------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect, load the scripts, read the namespace's layout. Safe to repeat."""
        if self._transport is not None:
            return
        acks = self._acknowledgements()
        transport = make_transport(self._target, stall_s=self._stall_s, acks=acks)
        self.observer = self._observe()
        if self.observer is not None and self.observer.wants_calls:
            transport = WatchedTransport(transport, self._scripts, self.observer)
        patience = Patience(transport, self._timeout_s)
        try:
            await load_or_explain(transport, self._scripts, patience, self._prefix(0))
            await self._look_at_rights(transport, patience, range(1))
            partitions = await self._read_layout(transport, patience)
            await self._look_at_rights(transport, patience, range(1, partitions))
        except BaseException:
            await transport.close()
            raise
        self._prefixes = tuple(self._prefix(number) for number in range(partitions))
        if self._most_pending is not None:
            self._max_pending = -(-self._most_pending // partitions)
        self._patience = patience
        self._histories = Histories(transport, self._scripts)
        self._batches = RowBatches(transport)
        self._mailboxes = Mailboxes(transport, self._scripts, patience, self._prefix_of)
        self._events = Events(transport, self._scripts, patience, self._prefix_of)
        self._broadcasts = Broadcasts(transport, self._scripts, patience, self._prefixes)
        self._outbox = Outbox(transport, self._scripts, self._prefixes, self._prefix_of, self._broadcasts)
        self._upkeep = UpkeepCalls(transport, self._scripts, self._prefixes)
        self._starts = RuledStarts(self._batches, self._patience, self._scripts, self._prefix_of, self._max_pending)
        parts = (transport, self._scripts, self._prefixes, patience, self._prefix_of)
        self._listings, self._retention = ListingCalls(*parts), RetentionOnRedis(*parts)
        self._imports = ImportsOnRedis(transport, self._scripts, patience, self._prefix_of)
        self._audit = AuditOnRedis(
            transport,
            self._scripts,
            patience,
            self._namespace,
            self._prefixes,
            is_cluster=self._target.kind == "cluster",
        )
        self._fleet = Workforce(*parts, self._listings)
        self._schedules = RedisSchedules(
            transport, self._scripts, patience, self._namespace, self._prefixes, self.seals
        )
        self.lifecycle = Lifecycle(
            transport, self._scripts, patience, self._prefix_of, self._prefixes, self.seals, self.read_run
        )
        self.controls = Controls(transport, self._scripts, patience, self._prefixes)
        self.metrics = MetricsOnRedis(transport, self._scripts, self._prefixes, patience)
        self.durability = DurabilityOnRedis(
            transport, self._scripts, patience, self._prefixes, self._prefix_of, self._durability, acks
        )
        self._transport = transport

    def _acknowledgements(self) -> Acknowledgements:
        level = self._durability.level
        if level != "redis" and self._target.kind == "memory":
            msg = f"{self._target.masked} keeps nothing beyond this process: it has no durability {level!r}"
            raise UnsuitableServer(msg)
        return Acknowledgements(self._scripts, self._target.masked, self._durability)

    async def _look_at_rights(self, transport: Transport, patience: Patience, partitions: range) -> None:
        if self._target.kind == "memory":  # it knows no users
            return
        is_optional = self._target.kind == "cluster" and 0 not in partitions
        prefixes = [self._prefix(number) for number in partitions]
        self._may_write &= await look_at_rights(
            transport, self._scripts, patience, prefixes, self._namespace, is_optional=is_optional
        )

    async def _read_layout(self, transport: Transport, patience: Patience) -> int:
        first = self._prefix(0)
        command = self._scripts.open_namespace.call(first, partitions=self._wanted_partitions or 0, layout=LAYOUT)
        word, *found = await patience.give(transport.send(first, command))
        if word == b"missing":
            msg = f"there is no namespace {self._namespace!r} on {self._target.masked}"
            raise NamespaceNotFound(msg)
        partitions, layout = found
        self.layout = int(layout)
        if int(layout) > LAYOUT:
            msg = (
                f"namespace {self._namespace!r} was written by a newer redisflow (layout {int(layout)}, this one knows"
                f" {LAYOUT}): upgrade redisflow here"
            )
            raise UnsuitableServer(msg)
        return int(partitions)

    def _prefix(self, partition: int) -> str:
        return partition_prefix(self._namespace, partition)

    async def close(self) -> None:
        """Close every connection; calls under way fail with BackendUnavailable."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()

    async def inspect_server(self) -> ServerReport:
        """Version, eviction policy and persistence of the server that has the first partition."""
        server = self._server()
        if self._target.kind == "memory":
            return ServerReport(
                version=(0, 0, 0), product=MEMORY_PRODUCT, eviction_policy="noeviction", persistent=False
            )
        return await look_at_server(server, self._patience, self._prefixes[0])

    async def check_server(self) -> list[str]:
        """What a worker should warn of; UnsuitableServer where it can do nothing, or runs would be lost."""
        if not self._may_write:
            raise UnsuitableServer(access.explain_reader(self._namespace))
        reports = [await self.inspect_server()]
        if self._target.kind == "cluster":
            reports += await look_at_others(self._server(), self._patience, self._prefixes[1:])
        warnings: dict[str, None] = {}
        for report in reports:
            warnings.update(dict.fromkeys([*check_server(report, self._durability), *known_flaws(report)]))
        return list(warnings)

    # -- what clients call ----------------------------------------------------------------------------------------

    async def create_run(self, new: NewRun) -> Created | Conflict:
        """Store a run and make it available; BackpressureError where the server is out of memory."""
        prefix = self._prefix_of(new.run_id)
        self._server()
        answer = self._batches.add(
            self._create, prefix, row_of(new, self._max_pending), len(new.input), replies.created
        )
        made: Created | Conflict | str = await self._patience.give(answer)
        if isinstance(made, str):
            made = Created(new.run_id, existing=False)
        return made if answer.is_confirmed else unconfirmed(made)

    async def get_workflow_run(self, run_id: str) -> WorkflowRun | None:
        """The run as it is now, with its steps; None where it is not stored, RunDamaged where its key is damaged."""
        with _told_as_damage(run_id):  # what opens sealed payloads looks at the fields, too
            fields = await self.read_run(run_id)
            return None if fields is None else view_run(run_id, fields)

    async def read_run(self, run_id: str) -> Mapping[bytes, bytes] | None:
        """The run's fields and records as they are stored; None where it is not stored, RunDamaged as above."""
        self._server()
        with _told_as_damage(run_id):
            return await self._patience.wait(self._histories.read(self._prefix_of(run_id), run_id))

    async def get_end(self, run_id: str) -> RunEnd | None:
        """Only how it ended, or that it did not; None where it is not stored."""
        prefix = self._prefix_of(run_id)
        command = self._scripts.await_run.call(prefix, run_id=run_id)
        end: RunEnd | None = await self._patience.give(self._server().send(prefix, command, replies.end))
        return end

    async def cancel_run(self, run_id: str) -> str | None:
        """Cancel it; returns the status that it has after the call, None where it is not stored."""
        prefix = self._prefix_of(run_id)
        command = self._scripts.cancel_run.call(prefix, run_id=run_id)
        status: str | None = await self._patience.give(self._server().send(prefix, command, replies.canceled))
        return status

    def watch_end(self, run_id: str) -> AbstractAsyncContextManager[AsyncIterator[RunEnd | None]]:
        """A subscription that yields once each time the run may have ended (at least once after a lost connection).

        Nothing is missed once it is entered; where the server is away for longer than a call waits, it is entered
        nevertheless, and yields as soon as the server is back.
        """
        prefix = self._prefix_of(run_id)
        return watch(self._server(), prefix, [f"{prefix}done:{run_id}"], self._timeout_s)

    # -- what a run's holder calls --------------------------------------------------------------------------------

    async def claim_runs(
        self, partition: int, worker: str, operation: str, limit: int, queues: Sequence[str]
    ) -> ClaimBatch:
        """Claim up to `limit` runs. Repeated with the same operation it gives the same runs."""
        server, prefix = self._server(), self._prefixes[partition]
        command = self._scripts.claim_runs.call(
            prefix,
            queues,
            worker=worker,
            operation=operation,
            limit=limit,
            run_bytes=RUN_BYTES,
            all_bytes=ALL_BYTES,
        )
        now_ms, due_in_ms, broken, *rows = replies.expect_ok(await server.send(prefix, command, bulk=True))
        given = replies.claimed(rows)
        if not all(came_whole(fields) for _, fields in given):
            await self._histories.complete_all(prefix, given)
        claims, unreadable = replies.claims_of(given, operation, now_ms, partition)
        await asyncio.gather(*(self._add_mail(claim) for claim in claims if claim.mail_count))
        return ClaimBatch(now_ms, replies.due_in(due_in_ms), claims, broken + unreadable)

    async def _add_mail(self, claim: Claim) -> None:
        try:
            claim.mail = await self._mailboxes.read_all(claim.hold.run_id)
        except BackendUnavailable:
            raise
        except (BackendError, CannotDecode) as error:
            # The others of the batch are claimed by now: they must reach their worker.
            claim.opening = replies.cannot_open(error)

    def commit_run(
        self,
        hold: Hold,
        extension: Extension,
        *,
        renew_for: str | None,
        forget_crashes: bool,
        seen: int | None = None,
    ) -> Answer[Verdict]:
        """Append records and go on holding the run."""
        terms: tuple[str | int, ...] = ()
        if seen is not None:
            terms = ("seen", seen)
        if renew_for is not None:
            terms = (*terms, "renew", renew_for)
        if forget_crashes:
            terms = (*terms, "forget")
        return self._add_row(self._commit, hold, extension, (), 0, terms)

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
        """Append records and let the run wait until it is due, or until mail comes that it wants."""
        rest = (reason, "" if due_at_ms is None else due_at_ms, "" if seen is None else seen, wants)
        return self._add_row(self._park, hold, extension, rest, len(wants))

    def finish_run(self, hold: Hold, extension: Extension, *, status: str, payload: bytes) -> Answer[Verdict]:
        """Append records and end the run: `succeeded` with its output, or `failed` with its failure."""
        return self._add_row(self._finish, hold, extension, (status, payload), len(payload))

    def _add_row(
        self,
        head: tuple[Any, ...],
        hold: Hold,
        extension: Extension,
        rest: tuple[Any, ...],
        size: int,
        terms: tuple[str | int, ...] = (),
    ) -> Answer[Verdict]:
        before, after = extension.before, extension.after
        records, effects, saying = extension.records, extension.effects, extension.saying
        size += after.bytes - before.bytes
        if effects:
            size += sum(len(word) for word in effects if not isinstance(word, int))
        if saying is not None:
            # First: nobody else (a parent, say) is told of a step that is refused because this cannot be written.
            effects = [*effect_of(saying), *effects]
            size += size_of(saying)
        if terms:
            effects = [*terms, *effects]
        row = (
            hold.run_id,
            hold.fence,
            hold.entry,
            f"{before.records}:{before.bytes}",
            f"{after.records}:{after.bytes}",
            *rest,
            len(records),
            *records,
            len(effects),
            *effects,
        )
        self._server()
        return self._batches.add(head, self._prefix_of(hold.run_id), row, size, replies.verdict_of_row)

    def continue_run(self, hold: Hold, extension: Extension, *, payload: bytes) -> Answer[Verdict]:
        """Begin the run anew with this input and an empty record; of the extension only its effects count."""
        about = {"entry": hold.entry, "before": str(extension.before), "input": payload}
        return self._call_about(hold, "continue_run", extension.effects, **about)

    def release_run(self, hold: Hold) -> Answer[Verdict]:
        """Hand the run back for another worker, now."""
        return self._call_about(hold, "release_run", entry=hold.entry)

    def shelve_run(
        self, hold: Hold, *, reason: str, problem: bytes, first_ms: int, last_ms: int, again_ms: int | None = None
    ) -> Answer[Verdict]:
        """Let the run wait for code: `stranded` (there is none here) or `suspended` (it is another)."""
        waits = {"first_ms": first_ms, "last_ms": last_ms, "again_ms": "" if again_ms is None else again_ms}
        return self._call_about(hold, "shelve_run", entry=hold.entry, reason=reason, problem=problem, **waits)

    def note_progress(self, hold: Hold, progress: bytes) -> Answer[Verdict]:
        """Show what the holder is doing right now."""
        return self._call_about(hold, "note_progress", progress=progress)

    def _call_about(self, hold: Hold, name: str, *tails: Sequence[Any], **arguments: Any) -> Answer[Verdict]:
        prefix = self._prefix_of(hold.run_id)
        script = self._scripts.by_name[name]
        command = script.call(prefix, *tails, run_id=hold.run_id, fence=hold.fence, **arguments)
        return self._server().send(prefix, command, replies.verdict)

    # -- what a worker calls --------------------------------------------------------------------------------------

    async def wait_bell(self, partition: int, queues: Sequence[str], timeout_s: float) -> bool:
        """Sleep until there may be work in one of the queues; False when the time is over."""
        prefix = self._prefixes[partition]
        return await self._server().pop(prefix, [f"{prefix}bell:{queue}" for queue in queues], timeout_s)

    async def wait_alarm(self, partition: int, timeout_s: float) -> bool:
        """Sleep until the first due time of the partition may have come earlier; False when the time is over."""
        prefix = self._prefixes[partition]
        return await self._server().pop(prefix, [f"{prefix}alarm"], timeout_s)

    def listen(
        self, worker: str, lost: Callable[[str], None], mail: Callable[[str], None]
    ) -> AbstractAsyncContextManager[None]:
        """While it is open, `lost` and `mail` are called with the ids of this worker's runs that there is news of."""
        return listen(self._server(), self._prefixes, worker, lost, mail)

    def open_heartbeat(self) -> Heartbeat:
        """A heartbeat for this worker's OS thread."""
        return ThreadHeartbeat(self._server().open_calls(), self._scripts, self._prefixes)

    async def leave(self, worker: str, queues: Sequence[str]) -> None:
        """The worker stops: its presence and its empty consumers go."""
        await self._upkeep.leave(worker, queues)

    async def take_turn(self, partition: int, chore: str, worker: str, ms: int) -> bool:
        """Whether this worker has the turn to do a chore of the partition."""
        return await self._upkeep.take_turn(partition, chore, worker, ms)

    async def wake_runs(self, partition: int, limit: int) -> tuple[int, int | None]:
        """Bring due runs back to their streams; returns how many, and the ms until the next one is due."""
        return await self._upkeep.wake_runs(partition, limit)

    async def wake_stuck(self, workflow: str) -> int:
        """Offer the runs of a workflow that waited for code again; returns how many."""
        return await self._upkeep.wake_stuck(workflow)

    async def reclaim_runs(self, partition: int, queue: str, lease_ms: int, crash_limit: int) -> Upkeep:
        """One bounded step of giving runs with an expired lease back."""
        return await self._upkeep.reclaim_runs(partition, queue, lease_ms, crash_limit)

    async def reconcile_runs(self, partition: int) -> Upkeep:
        """One bounded step of rebuilding lost hints from the run hashes."""
        return await self._upkeep.reconcile_runs(partition)

    async def sweep_workers(self, partition: int, queue: str) -> int:
        """Delete the empty consumers of dead workers; returns how many."""
        return await self._upkeep.sweep_workers(partition, queue)


@contextlib.contextmanager
def _told_as_damage(run_id: str) -> Generator[None]:
    """RunDamaged for what its reader meets that redisflow does not write: Redis is there, and this does not pass."""
    try:
        yield
    except RedisflowError as error:
        if isinstance(error, BackendError) and "WRONGTYPE" in str(error):
            raise RunDamaged(run_id, str(error)) from error
        raise
    except (ValueError, LookupError, TypeError) as error:
        raise RunDamaged(run_id, str(error)) from error
