"""One connection with group commit: what many coroutines send at the same time leaves as one write.

`Link.send` never blocks and never loses a call: on a lost connection everything unanswered is sent again, in order,
for as long as it takes; every call of the backend may be sent again. A batch that changes something ends with a seal
(acknowledgements.py), and its calls are answered when that is. The hard thing is cost. A commit is one call here, so
there is no task and no lock on its way, and a reply is turned into its value before the future that carries it is
resolved.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from redisflow.backend.acknowledgements import Acknowledgements, Written
from redisflow.backend.batch import Batch, Call, Parse, answer
from redisflow.backend.outage import Backoff, OutageLog
from redisflow.backend.wire import CONNECT_S, PASSING, Command, Endpoint, Refusal, Wire, open_wire, pack
from redisflow.errors import BackendError, BackendUnavailable, BackpressureError

if TYPE_CHECKING:
    from collections.abc import Iterable

STALL_S = 10.0
BATCH_BYTES = 256 * 1024
# While the server works on one batch the next is written: 0003-own-connection-for-batches.md has the measurement.
BATCHES_IN_FLIGHT = 2

_REDIRECTS = frozenset({"MOVED", "ASK"})
# Refusals after which it may be another server that serves.
_ELSEWHERE = frozenset({"MASTERDOWN", "CLUSTERDOWN"})


class Link:
    """A connection that is kept up until it is closed. It connects when it is first used."""

    def __init__(
        self,
        endpoint: Endpoint,
        outage: OutageLog,
        *,
        texts: Mapping[str, str] | None = None,
        stall_s: float = STALL_S,
        batches: int = BATCHES_IN_FLIGHT,
        acks: Acknowledgements | None = None,
        prove: Callable[[Wire], Awaitable[None]] | None = None,
    ) -> None:
        """Make it inside a running event loop.

        `texts` are the scripts by their SHA-1, for a server that has forgotten one. A connection that owes a reply
        and says nothing for `stall_s` is given up. `acks` seals what leaves; `prove` raises OSError where a new
        connection leads to a server that must not be used now.
        """
        self.on_redirect: Callable[[Call, str], None] | None = None
        """Called with each call that the server says belongs elsewhere; it may be handed to `adopt` there."""
        self.on_outage: Callable[[], None] | None = None
        """Called when the connection has been lost or could not be made, or where another server may serve by now."""
        self._endpoint = endpoint
        self._outage = outage
        self._texts: Mapping[str, str] = texts if texts is not None else {}
        self._stall_s = stall_s
        self._batches_at_most = batches
        self._acks = acks
        self._prove = prove
        self._loop = loop = asyncio.get_running_loop()
        self._new_future: Callable[[], asyncio.Future[Any]] = loop.create_future
        if acks is not None and acks.waits:
            self._new_future = lambda: Written(loop=loop)
        self._wire: Wire | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._backoff = Backoff()
        self._waiting: deque[Call] = deque()
        self._batches: deque[Batch] = deque()
        """Those in flight."""
        self._deferred: list[Call] = []
        self._came_back: set[asyncio.Future[Any]] = set()
        """Those that are to be sent again, as of the last time that there were any."""
        self._refused: set[asyncio.Future[Any]] = set()
        """Those that the server would not execute for now: while one waits, others that are answered end no outage."""
        self._heard_at_s = 0.0
        self._watchdog: asyncio.TimerHandle | None = None
        self._wakes = True
        """Whether the next `send` must schedule a flush: none is scheduled, and nothing holds one up."""
        self._troubled = False
        self._closed = False

    def send(self, command: Command, parse: Parse | None = None) -> asyncio.Future[Any]:
        """Send a command; the future holds its reply, as `parse` makes it. A future that is done is not waited for."""
        future = self._new_future()
        self._waiting.append((future, parse, pack(command), command))
        if self._wakes:
            self._wakes = False
            self._loop.call_soon(self._flush)
        return future

    def adopt(self, calls: Iterable[Call]) -> None:
        """Take over calls that another link could not get answered."""
        self._waiting.extend(calls)
        self._wakes = False
        self._loop.call_soon(self._flush)

    def leave(self, why: str) -> None:
        """Connect anew: another server may be the right one now."""
        self._lose(why, self._wire)

    def give_up(self) -> list[Call]:
        """Hand over every call that is unanswered, in order, for another link to adopt."""
        calls = [*self._unanswered(), *self._deferred, *self._waiting]
        if self._batches and self._wire is not None:
            self._wire.drop()  # or its replies would be taken for those of later calls
            self._wire = None
            if self._acks is not None:
                self._acks.connection_lost()
        for queue in (self._deferred, self._waiting, self._batches):
            queue.clear()
        self._came_back.clear()
        self._refused.clear()
        self._wakes = True
        return calls

    def _unanswered(self) -> list[Call]:
        """What is in flight; also what the server has answered, where the seal of its batch is not."""
        return [call for batch in self._batches for call in batch.calls if call is not None and not call[0].done()]

    @property
    def quiet_s(self) -> float:
        """How long the server has owed a reply and said nothing; 0 while it owes none."""
        return self._loop.time() - self._heard_at_s if self._batches else 0.0

    async def close(self) -> None:
        """Close the connection; what is unanswered fails with BackendUnavailable."""
        self._closed = True
        wire, connecting = self._wire, self._connecting
        _fail(self.give_up(), BackendUnavailable(f"the connection to {self._outage.masked_url} was closed"))
        self._wire = None
        self._outage.forget(self)
        if self._watchdog is not None:
            self._watchdog.cancel()
        if connecting is not None:
            connecting.cancel()
            await asyncio.wait([connecting])
        if wire is not None:
            await wire.close()

    def _flush(self) -> None:
        if self._wire is None or self._closed:
            self._flush_nowhere()
            return
        waiting, acks = self._waiting, self._acks
        while len(self._batches) < self._batches_at_most:
            chunks: list[bytes] = []
            calls: list[Call | None] = []
            size = 0
            while waiting:
                call = waiting[0]
                packed = call[2]
                if size and size + len(packed) > BATCH_BYTES:
                    break
                waiting.popleft()
                if not call[0].done():
                    chunks.append(packed)
                    calls.append(call)
                    size += len(packed)
            if not chunks:
                self._wakes = True
                return
            seal = None if acks is None else acks.seal(calls)
            if seal is not None:
                chunks += seal.packed
            if not self._batches:
                self._heard_at_s = self._loop.time()
                if self._watchdog is None:
                    self._watchdog = self._loop.call_later(self._stall_s, self._watch)
            self._batches.append(Batch(calls, seal))
            self._wire.write(b"".join(chunks))

    def _flush_nowhere(self) -> None:
        if self._closed:
            _fail(self.give_up(), BackendUnavailable(f"the connection to {self._outage.masked_url} was closed"))
            self._wakes = True
        elif self._connecting is None and self._waiting:
            self._connecting = self._loop.create_task(self._connect(delayed=False), name="redisflow connect")

    def _receive(self, replies: list[Any]) -> None:
        self._heard_at_s = self._loop.time()
        batches = self._batches
        if len(replies) > sum(batch.owed - batch.answered for batch in batches):
            self._lose("it says what nobody has asked for", self._wire)
            return
        again: list[Call] = []
        told: set[str] = set()
        is_served = has_ended = False
        for reply in replies:
            batch = batches[0]
            if type(reply) is not Refusal:
                is_served = True
            elif batch.is_demotion(reply):
                # It was the primary and is no longer, or has no room: its address may now lead to another server.
                self._turned_away(batch, reply, again)
                return
            elif (call := batch.give_away()) is not None:
                self._take_refusal(call, reply, again, told)
            if batch.take(reply):
                has_ended = True
                batches.popleft()
                self._open_seal(batch)
        if self._troubled and is_served:
            self._end_trouble()
        if has_ended:
            # Behind the callbacks of the futures above: what they send next joins this batch.
            if self._waiting and not self._wakes:
                self._loop.call_soon(self._flush)
            else:
                self._wakes = True
        self._again(again)

    def _turned_away(self, batch: Batch, refusal: Refusal, again: list[Call]) -> None:
        if (call := batch.next_call()) is not None:
            self._refused.add(call[0])
        self._lose(refusal.words, self._wire)
        self._again(again)

    def _open_seal(self, batch: Batch) -> None:
        """Its calls are answered now; those of a partition that has left meanwhile are asked where it is."""
        acks, seal, redirect = self._acks, batch.seal, self.on_redirect
        if acks is None or seal is None:
            return
        sealed = batch.replies[len(batch.calls) :]
        is_confirmed = acks.open(seal, sealed)
        moved = {} if redirect is None else acks.moved(seal, sealed)
        for place, call in enumerate(batch.calls):
            if call is None:
                continue
            if moved and redirect is not None and not call[0].done() and call[3][0] == "EVALSHA":
                words = moved.get(call[3][3])
                if words is not None:
                    redirect(call, words)
                    continue
            if not is_confirmed and isinstance(call[0], Written):
                call[0].is_confirmed = False
            answer(call, batch.replies[place])

    def _take_refusal(self, call: Call, refusal: Refusal, again: list[Call], told: set[str]) -> None:
        future, parse, _, command = call
        code = refusal.code
        if future.done():
            return
        if code == "NOSCRIPT" and command[1] in self._texts:
            # The text goes along once: the calls behind this one, refused with it, find it there.
            sha = command[1]
            if sha not in told:
                told.add(sha)
                call = (future, parse, pack(("EVAL", self._texts[sha], *command[2:])), command)
            again.append(call)
        elif code in PASSING:
            self._refused.add(future)
            self._trouble(refusal.words, is_elsewhere=code in _ELSEWHERE)
            if not self._deferred:
                self._loop.call_later(self._backoff.next_s(), self._resume)
            self._deferred.append(call)
        elif code in _REDIRECTS and self.on_redirect is not None:
            self.on_redirect(call, str(refusal))
        elif code == "OOM":
            future.set_exception(BackpressureError(f"{self._outage.masked_url} is out of memory: {refusal.words}"))
        else:
            future.set_exception(BackendError(f"{self._outage.masked_url} refused: {refusal.words}"))

    def _again(self, calls: list[Call]) -> None:
        """Send these before whatever was never sent, and behind those that came back before them."""
        if not calls:
            return
        waiting = self._waiting
        before = list(itertools.takewhile(self._came_back.__contains__, (call[0] for call in waiting)))
        waiting.rotate(-len(before))
        waiting.extendleft(reversed(calls))
        waiting.rotate(len(before))
        self._came_back = {*before, *(call[0] for call in calls)}
        self._wakes = False
        self._loop.call_soon(self._flush)

    def _resume(self) -> None:
        deferred, self._deferred = self._deferred, []
        self._again(deferred)

    def _watch(self) -> None:
        self._watchdog = None
        if not self._batches:
            return
        quiet_s = self._loop.time() - self._heard_at_s
        if quiet_s >= self._stall_s:
            self._lose(f"no reply for {self._stall_s:g} s", self._wire)
        else:
            self._watchdog = self._loop.call_later(self._stall_s - quiet_s, self._watch)

    def _lose(self, why: str, wire: Wire | None) -> None:
        """Take back what is unanswered, and connect anew. `wire` is the one that failed: another may serve by now."""
        if wire is None or wire is not self._wire or self._closed:
            return
        wire.drop()
        self._wire = None
        if self._acks is not None:
            self._acks.connection_lost()
        self._waiting.extendleft(reversed(self._unanswered()))
        self._batches.clear()
        if not self._waiting and not self._deferred:
            # Some servers close what is idle for long: no outage, and the next call connects anew.
            self._wakes = True
            return
        self._trouble(why)
        if self._connecting is None:
            self._connecting = self._loop.create_task(self._connect(delayed=True), name="redisflow connect")

    async def _connect(self, *, delayed: bool) -> None:
        try:
            while True:
                if delayed:
                    await asyncio.sleep(self._backoff.next_s())
                delayed = True
                try:
                    wire = await self._open_wire()
                except OSError as error:
                    self._trouble(str(error) or type(error).__name__)
                except BackendError as error:
                    self._trouble(str(error))
                    self._wakes = True
                    _fail(self.give_up(), BackendError(f"{self._outage.masked_url}: {error}"))
                    return
                except Exception as error:  # noqa: BLE001  # whatever it is, calls wait for this to go on
                    self._trouble(repr(error))
                else:
                    break
        finally:
            self._connecting = None
        self._wire = wire
        wire.own(self._receive, lambda why: self._lose(why, wire))
        if self._wire is wire:
            self._flush()
            if self._troubled and not self._batches:
                self._end_trouble()

    async def _open_wire(self) -> Wire:
        wire = await open_wire(self._endpoint)
        if self._prove is not None:
            try:
                async with asyncio.timeout(CONNECT_S):
                    await self._prove(wire)
            except BaseException:
                wire.drop()
                raise
        return wire

    def _trouble(self, why: str, *, is_elsewhere: bool = True) -> None:
        self._troubled = True
        self._outage.begin(self, why)
        if is_elsewhere and self.on_outage is not None:
            self.on_outage()

    def _end_trouble(self) -> None:
        self._refused = {future for future in self._refused if not future.done()}
        if not self._refused:
            self._recovered()

    def _recovered(self) -> None:
        self._troubled = False
        self._backoff.reset()
        self._outage.end(self)


def _fail(calls: Iterable[Call], error: BackendError) -> None:
    for future, *_ in calls:
        if not future.done():
            future.set_exception(error)
            future.exception()  # nobody may be waiting any more; then it is not worth a line in the log
