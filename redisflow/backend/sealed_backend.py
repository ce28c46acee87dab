"""The backend of a namespace whose payloads are sealed: it seals on the way in and opens on the way out.

Engine, client and worker stay unaware; scripts see lengths. What is small is sealed inside the call, which then leaves
at once. Where a store has to be written first, the call leaves when that is done, and all that its run's holder says
later stands behind it. The hard thing is the mark: the engine counts what it encoded, the hash counts what is stored,
so each holder's call is translated from one to the other.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Unpack

from redisflow.backend import replies
from redisflow.backend.options import BackendOptions
from redisflow.backend.payloads import NOTHING_STORED, StoredPayloads, folder_of
from redisflow.backend.redis_backend import RedisBackend
from redisflow.backend.sealed_events import SealedEvents, seal_saying
from redisflow.backend.sealed_imports import SealedImports
from redisflow.backend.sealed_mail import SealedBroadcasts, SealedMail
from redisflow.backend.sealed_starts import SealedStarts, with_fingerprints
from redisflow.contract import (
    Answer,
    BroadcastCalls,
    Claim,
    ClaimBatch,
    Conflict,
    Created,
    EventCalls,
    Extension,
    Hold,
    ImportCalls,
    MailCalls,
    Mark,
    NewRun,
    PayloadCalls,
    RunEnd,
    StartCalls,
    Verdict,
)
from redisflow.errors import BackendError, CannotUnseal
from redisflow.runs import TERMINAL
from redisflow.sealing import Part, Payloads, Seals, Stored, check_store, numbered, object_limit
from redisflow.sealing.envelope import is_stored

OPEN_S = 10.0
"""How long a claimed run waits for the store before it is given back; its lease is renewed meanwhile."""
HAND_BACK_S = 1.0
"""How long a run that is given back waits for what is being written; a stopping worker waits for twice as long."""


@dataclass(slots=True)
class SealedHold(Hold):
    """A hold that knows what its holder's marks are in the hash: around the last commit that it sent."""

    before: Mark
    after: Mark

    @property
    def stored_bytes(self) -> int:
        """What is in the hash; values in the store are not."""
        return self.after.bytes


class SealedBackend(RedisBackend):
    """Runs of one namespace, sealed as `Payloads` says; plain ones that were stored before are read as well."""

    def __init__(self, url: str, *, payloads: Payloads, **options: Unpack[BackendOptions]) -> None:
        """`options` are those of `RedisBackend`. MissingExtra where a library is not installed."""
        super().__init__(url, **options)
        self._payloads = payloads
        self.seals = Seals(payloads, self._namespace)
        self._stored_payloads: PayloadCalls = NOTHING_STORED
        self._under_way: dict[tuple[str, str], asyncio.Task[Any]] = {}
        """By run and fence: the last call that has not left yet."""
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def payloads(self) -> PayloadCalls:
        """What runs have in the store."""
        return self._stored_payloads

    @property
    def broadcasts(self) -> BroadcastCalls:
        """Signals to all runs that wait for them."""
        return SealedBroadcasts(super().broadcasts, self.seals)

    @property
    def mail(self) -> MailCalls:
        """The mailboxes of its runs."""
        return self._sealed_mail(self._timeout_s)

    @property
    def events(self) -> EventCalls:
        """What its runs say."""
        return SealedEvents(super().events, self.seals)

    @property
    def imports(self) -> ImportCalls:
        """Storing runs that ended elsewhere."""
        return SealedImports(super().imports, self.seals, self._timeout_s)

    def _sealed_mail(self, within_s: float) -> SealedMail:
        return SealedMail(super().mail, self.seals, self._keep, within_s)

    async def open(self) -> None:
        """Connect; PayloadStoreUnavailable where the store cannot be used. Safe to repeat."""
        await super().open()
        store = self._payloads.store
        if store is None or self._stored_payloads is not NOTHING_STORED:
            return
        try:
            await check_store(store, self._timeout_s)
            name = await self._name_of_store()
        except BaseException:
            await self.close()
            raise
        stored = Stored(store, folder_of(self._namespace, name), object_limit(self._payloads))
        self.seals.use_store(stored)
        self._stored_payloads = StoredPayloads(stored, self._server(), self._prefixes)

    async def _name_of_store(self) -> str:
        prefix = self._prefixes[0]
        command = self._scripts.name_store.call(prefix, name=secrets.token_hex(8))
        _, name = await self._patience.give(self._server().send(prefix, command))
        return str(name.decode())

    async def close(self) -> None:
        """Close every connection; calls under way fail with BackendUnavailable."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._stored_payloads = NOTHING_STORED
        await super().close()

    # -- what clients call ----------------------------------------------------------------------------------------

    async def create_run(self, new: NewRun) -> Created | Conflict:
        """Store a run and make it available; PayloadStoreUnavailable where its input cannot be stored."""
        sealed = await self.seals.seal(new.input, new.run_id, "input", within_s=self._timeout_s)
        new = replace(new, input=sealed)
        made = await with_fingerprints(self.seals, new, super().create_run)
        self._tidy(new, made.run_id)
        return made

    def _tidy(self, new: NewRun, made: str) -> None:
        """What a start that came to nothing has in the store goes."""
        if made != new.run_id and (is_stored(new.input) or "h" in new.fields):
            self._keep(asyncio.create_task(self.payloads.delete_run_payloads(new.run_id)))

    @property
    def starts(self) -> StartCalls:
        """Starting runs under rules."""
        return SealedStarts(super().starts, self.seals, self._tidy, self._timeout_s)

    async def read_run(self, run_id: str) -> Mapping[bytes, bytes] | None:
        """The whole hash of a run, opened."""
        fields = await super().read_run(run_id)
        if fields is None:
            return None
        status = fields[b"s"].decode()
        names = {b"i": "input", b"o": "output", b"p": "progress", b"er": "error" if status in TERMINAL else "problem"}
        for number in range(Mark.parse(fields[b"h"].decode()).records):
            names[b"%d" % number] = f"record {number}"
        kept = [(name, field) for name, field in names.items() if name in fields]
        parts = [(field, fields[name]) for name, field in kept]
        opened = await self.seals.open_all(parts, run_id, within_s=self._timeout_s)
        return {**fields, **{name: data for (name, _), data in zip(kept, opened, strict=True)}}

    async def get_end(self, run_id: str) -> RunEnd | None:
        """Only how it ended, or that it did not; None where it is not stored."""
        end = await super().get_end(run_id)
        return None if end is None else await self._open_end(run_id, end)

    @asynccontextmanager
    async def watch_end(self, run_id: str) -> AsyncGenerator[AsyncIterator[RunEnd | None]]:
        """A subscription that yields once each time the run may have ended."""
        async with super().watch_end(run_id) as ticks:
            yield _OpenedTicks(ticks, partial(self._open_end, run_id))

    async def _open_end(self, run_id: str, end: RunEnd) -> RunEnd:
        wait_s = self._timeout_s
        if end.output is not None:
            return replace(end, output=await self.seals.open(end.output, run_id, "output", within_s=wait_s))
        if end.error is not None:
            return replace(end, error=await self.seals.open(end.error, run_id, "error", within_s=wait_s))
        return end

    # -- what a run's holder calls --------------------------------------------------------------------------------

    async def claim_runs(
        self, partition: int, worker: str, operation: str, limit: int, queues: Sequence[str]
    ) -> ClaimBatch:
        """Claim up to `limit` runs. What takes time to be read, or cannot be, is told by each claim's `opening`."""
        batch = await super().claim_runs(partition, worker, operation, limit, queues)
        for claim in batch.claims:
            self._open_claim(claim)
        return batch

    def _open_claim(self, claim: Claim) -> None:
        hold = claim.hold
        run_id = hold.run_id
        claim.hold = SealedHold(run_id, hold.queue, hold.fence, hold.entry, claim.mark, claim.mark)
        if claim.opening is not None:  # it cannot be read
            return
        parts = [("input", claim.input), *numbered(0, claim.records)]
        if claim.mail or not all(self.seals.opens_now(data) for _, data in parts):
            claim.opening = self._keep(asyncio.create_task(self._open_later(claim, parts)))
            return
        try:
            opened = [self.seals.open_now(data, run_id, field) for field, data in parts]
        except CannotUnseal as error:
            claim.opening = replies.cannot_open(error)
        else:
            claim.input, claim.records = opened[0], opened[1:]

    async def _open_later(self, claim: Claim, parts: list[Part]) -> None:
        claim.input, *records = await self.seals.open_all(parts, claim.hold.run_id, within_s=OPEN_S)
        claim.records = records
        claim.mail = await self._sealed_mail(OPEN_S).open_all(claim.hold.run_id, claim.mail)

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
        call = partial(super().commit_run, hold, renew_for=renew_for, forget_crashes=forget_crashes, seen=seen)
        return self._send(hold, extension, (), lambda sealed, _: call(sealed))

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
        call = partial(super().park_run, hold, reason=reason, due_at_ms=due_at_ms, seen=seen, wants=wants)
        return self._send(hold, extension, (), lambda sealed, _: call(sealed))

    def finish_run(self, hold: Hold, extension: Extension, *, status: str, payload: bytes) -> Answer[Verdict]:
        """Append records and end the run: `succeeded` with its output, or `failed` with its failure."""
        call = partial(super().finish_run, hold, status=status)
        closing = ("output" if status == "succeeded" else "error", payload)
        return self._send(hold, extension, (closing,), lambda sealed, rest: call(sealed, payload=rest[0]))

    def continue_run(self, hold: Hold, extension: Extension, *, payload: bytes) -> Answer[Verdict]:
        """Begin the run anew with this input and an empty record; of the extension only its effects count."""
        call = partial(super().continue_run, hold)
        return self._send(hold, extension, (("input", payload),), lambda sealed, rest: call(sealed, payload=rest[0]))

    def release_run(self, hold: Hold) -> Answer[Verdict]:
        """Hand the run back for another worker, now."""
        return self._after(hold, partial(super().release_run, hold))

    def shelve_run(
        self, hold: Hold, *, reason: str, problem: bytes, first_ms: int, last_ms: int, again_ms: int | None = None
    ) -> Answer[Verdict]:
        """Let the run wait for code: `stranded` (there is none here) or `suspended` (it is another)."""
        sealed = self.seals.seal_now(problem, hold.run_id, "problem")
        call = partial(super().shelve_run, hold, reason=reason, problem=sealed, first_ms=first_ms, last_ms=last_ms)
        return self._after(hold, partial(call, again_ms=again_ms))

    def note_progress(self, hold: Hold, progress: bytes) -> Answer[Verdict]:
        """Show what the holder is doing right now."""
        return super().note_progress(hold, self.seals.seal_now(progress, hold.run_id, "progress"))

    # -- calls that leave sealed ----------------------------------------------------------------------------------

    def _send(
        self,
        hold: Hold,
        extension: Extension,
        closing: Sequence[Part],
        call: Callable[[Extension, list[bytes]], Answer[Verdict]],
    ) -> Answer[Verdict]:
        seals, run_id = self.seals, hold.run_id
        parts = [*numbered(extension.before.records, extension.records), *closing]

        def leave(sealed: list[bytes]) -> Answer[Verdict]:
            count = len(extension.records)
            translated = _translate(hold, extension, sealed[:count])
            if extension.saying is not None:
                translated = replace(translated, saying=seal_saying(seals, run_id, extension.saying))
            return call(translated, sealed[count:])

        before = self._under_way.get((run_id, hold.fence))
        if before is None and all(seals.is_quick(data) for _, data in parts):
            return leave([seals.seal_now(data, run_id, field) for field, data in parts])

        async def seal_and_leave() -> Verdict:
            if before is not None:
                await asyncio.wait([before])
            return await leave([await seals.seal(data, run_id, field) for field, data in parts])

        return self._later(hold, seal_and_leave())

    def _after(self, hold: Hold, call: Callable[[], Answer[Verdict]]) -> Answer[Verdict]:
        before = self._under_way.get((hold.run_id, hold.fence))
        if before is None:
            return call()

        async def leave() -> Verdict:
            await asyncio.wait([before], timeout=HAND_BACK_S)
            before.cancel()
            return await call()

        return self._later(hold, leave())

    def _later(self, hold: Hold, work: Coroutine[Any, Any, Verdict]) -> Answer[Verdict]:
        place = (hold.run_id, hold.fence)
        task = self._under_way[place] = self._keep(asyncio.create_task(work))

        def over(_: asyncio.Task[Any]) -> None:
            if self._under_way.get(place) is task:
                del self._under_way[place]

        task.add_done_callback(over)
        return task

    def _keep(self, task: asyncio.Task[Any]) -> asyncio.Task[Any]:
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it is told to whoever listens, and nobody has to


class _OpenedTicks:
    """Ticks whose ends are opened."""

    def __init__(
        self, ticks: AsyncIterator[RunEnd | None], open_end: Callable[[RunEnd], Coroutine[Any, Any, RunEnd]]
    ) -> None:
        self._ticks = ticks
        self._open_end = open_end

    def __aiter__(self) -> AsyncIterator[RunEnd | None]:
        return self

    async def __anext__(self) -> RunEnd | None:
        told = await anext(self._ticks)
        return None if told is None else await self._open_end(told)


def _translate(hold: Hold, extension: Extension, sealed: list[bytes]) -> Extension:
    """The extension in the hash's own marks. Made twice for one commit, it says the same twice."""
    if not isinstance(hold, SealedHold):
        msg = f"run {hold.run_id} was not claimed through this backend"
        raise BackendError(msg)
    before = hold.after if extension.before.records == hold.after.records else hold.before
    after = Mark(extension.after.records, before.bytes + sum(map(len, sealed)))
    hold.before, hold.after = before, after
    return replace(extension, before=before, after=after, records=sealed)
