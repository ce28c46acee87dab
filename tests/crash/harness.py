"""A backend between a worker and the real one, which stops the world at a chosen call, or loses its reply.

The world stops for one worker: from that moment on nothing it does reaches the server, and nothing that the server
answered reaches it. Then its leases are aged without waiting, and another worker finishes.
"""

from __future__ import annotations

import asyncio
import enum
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from redisflow.authoring.body import current_body
from redisflow.authoring.definition import Registry, WorkflowDefinition
from redisflow.backend.redis_backend import RedisBackend
from redisflow.backend.sealed_backend import SealedBackend
from redisflow.client.outside import ClientOutside
from redisflow.contract import (
    Answer,
    Backend,
    Beat,
    Claim,
    ClaimBatch,
    Extension,
    Heartbeat,
    Hold,
    PayloadCalls,
    ReadClock,
    Verdict,
)
from redisflow.contract.observer import Observer
from redisflow.errors import BackendUnavailable
from redisflow.records import Record, StepFailed, StepSucceeded, decode_record
from redisflow.run_views import numbered_live_records
from redisflow.sealing import Payloads
from redisflow.worker.options import WorkerOptions
from redisflow.worker.worker import Worker
from tests.keyspace import Raw

T = TypeVar("T")


class Fault(enum.Enum):
    """What happens at the chosen call."""

    BEFORE = "the world stops before the call is sent"
    AFTER = "the world stops when it was executed, before its reply is seen"
    REPEAT = "its reply is lost, and it is sent again"


@dataclass
class Journal:
    """What bodies did and what was recorded, in the order in which it happened, over all workers of a scenario."""

    records: dict[str, dict[int, Record]] = field(default_factory=dict)
    """By run: number and record, as acknowledged by the server."""
    starts: list[tuple[str, int]] = field(default_factory=list)
    """Idempotency key and attempt of each body that started."""
    problems: list[str] = field(default_factory=list)
    _rounds: dict[str, int] = field(default_factory=dict)
    """By run, how often it was continued as new at its last claim."""
    _anew: Counter[str] = field(default_factory=Counter)
    """By run, how often its record began anew: an answer that comes later than that is of another record."""

    def body_starts(self) -> int:
        """Called by each body first; returns its attempt."""
        body = current_body.get()
        assert body is not None
        self.starts.append((body.idempotency_key, body.attempt))
        for _, record in self.live(body.run_id):
            if isinstance(record, StepSucceeded | StepFailed) and record.call.key == body.key:
                self.problems.append(f"{body.idempotency_key} started after its result was recorded")
        return body.attempt

    def body_starts_unchecked(self) -> None:
        """The same where looking through the whole record each time would take too long."""
        body = current_body.get()
        assert body is not None
        self.starts.append((body.idempotency_key, body.attempt))

    def live(self, run_id: str) -> list[tuple[int, Record]]:
        """The records of a run that count, with their numbers."""
        known = self.records.get(run_id, {})
        if sorted(known) != list(range(len(known))):
            self.problems.append(f"{run_id}: the record has a gap: {sorted(known)}")
            return []
        return numbered_live_records([known[number] for number in range(len(known))])

    def claimed(self, claim: Claim) -> None:
        """What came with a claim is recorded, whoever heard of that: a late answer to a commit may be another."""
        if claim.opening is not None:
            return
        if self._rounds.setdefault(claim.hold.run_id, claim.continued) != claim.continued:
            self.begins_anew(claim.hold.run_id, self.beginnings(claim.hold.run_id))
            self._rounds[claim.hold.run_id] = claim.continued
        self._know(claim.hold.run_id, 0, claim.records)

    def beginnings(self, run_id: str) -> int:
        """Which record a call to this run is about, that is made now."""
        return self._anew[run_id]

    def begins_anew(self, run_id: str, beginning: int) -> None:
        """A call that was made when the run had this record has ended it."""
        if beginning == self._anew[run_id]:
            self._anew[run_id] += 1
            self.records.pop(run_id, None)

    def recorded(self, run_id: str, extension: Extension, beginning: int) -> None:
        """These records were acknowledged, to a call that was made when the run had this record."""
        if beginning == self._anew[run_id]:
            self._know(run_id, extension.before.records, extension.records)

    def _know(self, run_id: str, first: int, records: Sequence[bytes]) -> None:
        known = self.records.setdefault(run_id, {})
        for number, data in enumerate(records, first):
            record = decode_record(data, 0)
            if known.setdefault(number, record) != record:
                self.problems.append(f"{run_id}: record {number} was written twice, and differs")


class FaultyBackend:
    """The real backend, but for what happens at call number `at`."""

    def __init__(self, real: Backend, journal: Journal, *, fault: Fault | None = None, at: int = 0) -> None:
        self.real = real
        self.stopped = asyncio.Event()
        self.fired = False
        self.calls: list[str] = []
        self._unsettled: set[asyncio.Future[None]] = set()
        self._journal = journal
        self._fault = fault
        self._at = at

    @property
    def observer(self) -> Observer | None:
        return self.real.observer

    # -- what it does to calls ------------------------------------------------------------------------------------

    def _fault_of(self, name: str) -> Fault | None:
        self.calls.append(name)
        if len(self.calls) != self._at:
            return None
        self.fired = True
        if self._fault is Fault.BEFORE:
            self.stopped.set()
        return self._fault

    async def _call(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        if self.stopped.is_set():
            raise BackendUnavailable("the world has stopped")
        fault = self._fault_of(name)
        if self.stopped.is_set():
            raise BackendUnavailable("the world has stopped")
        inner = asyncio.ensure_future(call())
        stopped = asyncio.ensure_future(self.stopped.wait())
        try:
            await asyncio.wait({inner, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if fault is Fault.AFTER and not self.stopped.is_set():
                self.stopped.set()
            if self.stopped.is_set():
                raise BackendUnavailable("the world has stopped")
            return await call() if fault is Fault.REPEAT else inner.result()
        finally:
            stopped.cancel()
            inner.cancel()

    def _send(
        self, name: str, call: Callable[[], Answer[Any]], run_id: str, extension: Extension | None = None
    ) -> asyncio.Future[Any]:
        outer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.stopped.is_set():
            # Whoever waits for an answer while its worker is being cleared away is not to wait long.
            outer.set_exception(BackendUnavailable("the world has stopped"))
            return outer
        fault = self._fault_of(name)
        if self.stopped.is_set():
            return outer

        beginning = self._journal.beginnings(run_id)
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unsettled.add(settled)
        settled.add_done_callback(self._unsettled.discard)

        def answered(inner: Answer[Any], *, again: bool) -> None:
            if not settled.done():
                settled.set_result(None)
            if inner.cancelled():
                return
            if (error := inner.exception()) is not None:
                if not self.stopped.is_set() and not outer.done():
                    outer.set_exception(error)
                return
            if extension is not None and inner.result() in {Verdict.OK, Verdict.MAIL}:
                self._journal.recorded(run_id, extension, beginning)
            if fault is Fault.AFTER:
                self.stopped.set()
            if self.stopped.is_set() or outer.done():
                return
            if fault is Fault.REPEAT and not again:
                call().add_done_callback(lambda second: answered(second, again=True))
            else:
                outer.set_result(inner.result())

        call().add_done_callback(lambda inner: answered(inner, again=False))
        return outer

    # -- the contract ---------------------------------------------------------------------------------------------

    @property
    def namespace(self) -> str:
        return self.real.namespace

    @property
    def partitions(self) -> int:
        return self.real.partitions

    @property
    def payload_limit(self) -> int:
        return self.real.payload_limit

    @property
    def payloads(self) -> PayloadCalls:
        return self.real.payloads

    @property
    def read_clock(self) -> ReadClock:
        return self.real.read_clock

    async def open(self) -> None:
        await self.real.open()

    async def close(self) -> None:
        # What was sent before the world stopped arrives, and its outcome belongs into the journal.
        if self._unsettled:
            await asyncio.wait(self._unsettled, timeout=1)
        await self.real.close()

    def listen(self, worker: str, lost: Callable[[str], None], mail: Callable[[str], None]) -> Any:
        def unless_stopped(told: Callable[[str], None]) -> Callable[[str], None]:
            return lambda run_id: None if self.stopped.is_set() else told(run_id)

        return self.real.listen(worker, unless_stopped(lost), unless_stopped(mail))

    def open_heartbeat(self) -> Heartbeat:
        return _FaultyHeartbeat(self.real.open_heartbeat(), self.stopped)

    async def _claim_runs(self, *where: Any) -> ClaimBatch:
        batch: ClaimBatch = await self._call("claim_runs", lambda: self.real.claim_runs(*where))
        for claim in batch.claims:
            self._journal.claimed(claim)
        return batch

    def commit_run(self, hold: Hold, extension: Extension, **about: Any) -> Answer[Verdict]:
        return self._send("commit_run", lambda: self.real.commit_run(hold, extension, **about), hold.run_id, extension)

    def park_run(self, hold: Hold, extension: Extension, **about: Any) -> Answer[Verdict]:
        return self._send("park_run", lambda: self.real.park_run(hold, extension, **about), hold.run_id, extension)

    def finish_run(self, hold: Hold, extension: Extension, *, status: str, payload: bytes) -> Answer[Verdict]:
        def call() -> Answer[Verdict]:
            return self.real.finish_run(hold, extension, status=status, payload=payload)

        return self._send("finish_run", call, hold.run_id, extension)

    def continue_run(self, hold: Hold, extension: Extension, *, payload: bytes) -> Answer[Verdict]:
        beginning = self._journal.beginnings(hold.run_id)

        def begins_anew(answer: Answer[Verdict]) -> None:
            if not answer.cancelled() and answer.exception() is None and answer.result() is Verdict.OK:
                self._journal.begins_anew(hold.run_id, beginning)

        def call() -> Answer[Verdict]:
            answer = self.real.continue_run(hold, extension, payload=payload)
            answer.add_done_callback(begins_anew)
            return answer

        return self._send("continue_run", call, hold.run_id)

    def release_run(self, hold: Hold) -> Answer[Verdict]:
        return self._send("release_run", lambda: self.real.release_run(hold), hold.run_id)

    def shelve_run(self, hold: Hold, **about: Any) -> Answer[Verdict]:
        return self._send("shelve_run", lambda: self.real.shelve_run(hold, **about), hold.run_id)

    def note_progress(self, hold: Hold, progress: bytes) -> Answer[Verdict]:
        return self._send("note_progress", lambda: self.real.note_progress(hold, progress), hold.run_id)

    def __getattr__(self, name: str) -> Any:
        """The rest of the contract: calls that are awaited, and groups of such calls."""
        if name == "claim_runs":
            return self._claim_runs
        return self._awaited(self.real, name)

    def _awaited(self, holder: Any, name: str) -> Any:
        found = getattr(holder, name)
        if inspect.iscoroutinefunction(found):
            return lambda *args, **words: self._call(name, lambda: found(*args, **words))
        if callable(found):  # a call that answers later
            return lambda *args, **words: self._send(name, lambda: found(*args, **words), "")
        return _Group(self, found)


class _Group:
    """A group of the contract's calls, each of which may meet its fault."""

    def __init__(self, backend: FaultyBackend, real: Any) -> None:
        self._backend = backend
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return self._backend._awaited(self._real, name)


class _FaultyHeartbeat:
    def __init__(self, real: Heartbeat, stopped: asyncio.Event) -> None:
        self._real = real
        self._stopped = stopped

    def renew(
        self, partition: int, worker: str, presence_ms: int, about: bytes, holds: Sequence[Hold], serves: str = ""
    ) -> Beat:
        if self._stopped.is_set():
            raise BackendUnavailable("the world has stopped")
        return self._real.renew(partition, worker, presence_ms, about, holds, serves)

    def close(self) -> None:
        self._real.close()


@dataclass
class Crew:
    """The workers of a scenario, each with a backend of its own, as if each were a process."""

    url: str
    namespace: str
    raw: Raw
    journal: Journal = field(default_factory=Journal)
    registry: Registry = field(default_factory=Registry)
    backends: list[FaultyBackend] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    payloads: Payloads | None = None
    partitions: int = 1
    stall_s: float = 10.0
    prepare: Callable[[FaultyBackend], object] = lambda _: None
    """Called with the backend of each worker that is hired from now on."""

    def know(self, definition: WorkflowDefinition[Any, Any] | None) -> None:
        """Register a workflow with all workers to come."""
        assert definition is not None
        self.registry.add(definition)

    async def hire(self, *, fault: Fault | None = None, at: int = 0, **options: Any) -> tuple[Worker, FaultyBackend]:
        """Start a worker."""
        if self.payloads is None:
            real = RedisBackend(self.url, namespace=self.namespace, stall_s=self.stall_s)
        else:
            real = SealedBackend(self.url, namespace=self.namespace, payloads=self.payloads)
        backend = FaultyBackend(real, self.journal, fault=fault, at=at)
        self.prepare(backend)
        self.backends.append(backend)

        async def connect() -> Any:
            await backend.open()
            return backend

        given = WorkerOptions(**{"concurrency": 8, "lease": "30s", **options})
        worker = Worker(connect, self.registry, given, ClientOutside(connect))
        self.workers.append(worker)
        try:
            await worker.start()
        except BackendUnavailable:
            if not backend.stopped.is_set():
                raise
        return worker, backend

    async def dismiss(self, worker: Worker) -> None:
        """Stop it; one whose world has stopped says nothing to the server any more."""
        await worker.stop(grace=0)
        backend = self.backends[self.workers.index(worker)]
        await backend.close()

    def age(self, *, presence: bool = True) -> None:
        """Let every lease be over, and (as after a crash, but not after a pause) every worker's presence too."""
        for partition in range(self.partitions):
            self._age(f"rf:{{{self.namespace}:{partition}}}:", presence=presence)

    def _age(self, prefix: str, *, presence: bool) -> None:
        for key in self.raw("KEYS", f"{prefix}q:*"):
            if not self.raw("XINFO", "GROUPS", key):
                continue
            for entry, consumer, *_ in self.raw("XPENDING", key, "workers", "-", "+", 10_000):
                self.raw("XCLAIM", key, "workers", consumer, 0, entry, "IDLE", 10_000_000, "JUSTID")
        if presence:
            for name in self.raw("ZRANGE", f"{prefix}workers", 0, -1):
                self.raw("ZADD", f"{prefix}workers", 1, name)
        for key in self.raw("KEYS", f"{prefix}turn:*"):
            self.raw("DEL", key)

    async def reclaim(self, backend: Backend, *, crash_limit: int = 3) -> int:
        """What upkeep does with leases that are over; returns how many runs were given back."""
        given_back = 0
        for partition in range(self.partitions):
            done = False
            while not done:
                step = await backend.reclaim_runs(partition, "default", 30_000, crash_limit)
                given_back += step.reclaimed
                done = step.done
        return given_back

    async def close(self) -> None:
        """End what is left."""
        for worker in self.workers:
            await self.dismiss(worker)
