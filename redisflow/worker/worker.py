"""`Worker`: the life of one worker process, from its first claim to handing back what it holds.

Its parts are small services in one task group; this file starts them, keeps the list of held runs, and decides what
happens at the end: stop claiming, let runs go on for a while, hand back the rest. A second stop hands back at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

from redisflow import codec
from redisflow.authoring.definition import DEFAULT_QUEUE, Registry
from redisflow.contract import Backend, Claim, Hold
from redisflow.durations import Duration, to_ms
from redisflow.engine.execution import Execution, Surroundings
from redisflow.errors import InvalidWorkflow, UnsuitableServer
from redisflow.worker.bodies import Bodies
from redisflow.worker.claiming import claim_forever
from redisflow.worker.clock import ClaimClock
from redisflow.worker.heartbeat import HeartbeatThread
from redisflow.worker.held_run import HeldRun
from redisflow.worker.options import WorkerOptions
from redisflow.worker.timers import watch_forever
from redisflow.worker.upkeep import UpkeepService

STRANDED_FIRST_MS = 5_000
STRANDED_LAST_MS = 300_000
LAG_S = 1.0
"""A loop that stood still for longer is worth a warning: something in it blocks."""

_log = logging.getLogger("redisflow.worker")
_AROUND = Surroundings(entropy=random.random, cpu_seconds=time.thread_time)


class Worker:
    """Claims and runs the registered workflows until it is stopped. Use `run()`, or `async with worker:`."""

    backend: Backend
    """Known once it has started."""

    def __init__(
        self, connect: Callable[[], Awaitable[Backend]], registry: Registry, options: WorkerOptions
    ) -> None:
        """Made by `RedisFlow.new_worker`; `connect` opens the backend in the running loop."""
        self._connect = connect
        self.options = options
        self.name = f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(4)}"
        self.queues: Sequence[str] = options.queues or tuple(registry.queues()) or (DEFAULT_QUEUE,)
        self._registry = registry
        self._held: dict[str, HeldRun] = {}
        self._reserved = 0
        self._room = asyncio.Event()
        self._empty = asyncio.Event()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._claimers: list[asyncio.Task[None]] = []
        self._services: list[asyncio.Task[None]] = []
        self._exit = AsyncExitStack()
        executor = ThreadPoolExecutor(max_workers=options.concurrency, thread_name_prefix="redisflow-step")
        self._executor = executor
        self.bodies = Bodies(limit=options.max_bodies, executor=executor)
        self._heartbeat: HeartbeatThread | None = None
        self._failure: BaseException | None = None

    # -- life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until SIGTERM, SIGINT or `stop()`; a second signal hands everything back at once."""
        with self._signals():
            await self.start()
            try:
                await self._stopping.wait()
            finally:
                await self._finish()
        if self._failure is not None:
            raise self._failure

    async def start(self) -> None:
        """Begin to work. UnsuitableServer where this server would lose runs."""
        if not self._registry.names():
            msg = "no workflow is registered: define one with @flow.define_workflow before starting a worker"
            raise InvalidWorkflow(msg)
        self.backend = await self._connect()
        await self._check_server()
        if self.options.lifespan is not None:
            self.bodies.resources = await self._exit.enter_async_context(self.options.lifespan())
        await self._exit.enter_async_context(self.backend.listen(self.name, self._lost_soon))
        self._start_heartbeat()
        for workflow in self._registry.names():
            self._serve(self._wake_stuck(workflow), "wake-stuck")
        for partition in range(self.backend.partitions):
            upkeep = UpkeepService(
                self.backend,
                partition,
                self.name,
                self.queues,
                self.options.lease_ms,
                self.options.crash_limit,
                self.options.upkeep_s,
            )
            self._claimers.append(self._serve(claim_forever(self, partition, self.queues), f"claim-{partition}"))
            self._serve(watch_forever(self.backend, partition, self.name), f"timers-{partition}")
            self._serve(upkeep.run_forever(), f"upkeep-{partition}")
        self._serve(self._watch_over(), "watch")
        _log.info("worker %s started: queues %s", self.name, ", ".join(self.queues))

    async def stop(self, *, grace: Duration | None = None) -> None:
        """Stop claiming, let held runs go on for `grace`, hand back the rest. Called twice, it hands back at once."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()
        await self._finish(None if grace is None else to_ms(grace, what="grace"))

    async def __aenter__(self) -> Worker:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    async def _finish(self, grace_ms: int | None = None) -> None:
        await _cancel(self._claimers)
        for held in [held for held in self._held.values() if not held.started]:
            self._hand_back(held)
        if self._held:
            grace_s = (self.options.grace_ms if grace_ms is None else grace_ms) / 1000
            _log.info("worker %s stops: %d runs may go on for %.0f s", self.name, len(self._held), grace_s)
            self._empty.clear()
            ended = [asyncio.create_task(self._empty.wait()), asyncio.create_task(self._hurry.wait())]
            await asyncio.wait(ended, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
            await _cancel(ended)
        released = [self._hand_back(held) for held in list(self._held.values())]
        if released:
            await asyncio.wait(released, timeout=5.0)
        await _cancel(self._services)
        if self._heartbeat is not None:
            await asyncio.to_thread(self._heartbeat.stop)
            self._heartbeat = None
            # With Redis away there is nobody to say good-bye to; upkeep of the others finds what is left.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.backend.leave(self.name, self.queues), 2.0)
        await self._exit.aclose()
        self._executor.shutdown(wait=False, cancel_futures=True)
        _log.info("worker %s stopped", self.name)

    def _hand_back(self, held: HeldRun) -> asyncio.Future[object]:
        held.drop()
        return self.backend.release_run(held.claim.hold)  # type: ignore[return-value]  # only waited for

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            if self._stopping.is_set():
                self._hurry.set()
            self._stopping.set()

        installed: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            # Not in the main thread, or not on this platform: then `stop()` is the only way.
            with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
                loop.add_signal_handler(number, stop)
                installed.append(number)
        try:
            yield
        finally:
            for number in installed:
                loop.remove_signal_handler(number)

    def _serve(self, coroutine: object, name: str) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(coroutine, name=name)  # type: ignore[arg-type]  # a coroutine
        task.add_done_callback(self._service_ended)
        self._services.append(task)
        return task

    def _service_ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # A worker that lives on without one of its parts would look alive and do nothing.
            _log.critical("worker %s: %s failed, the worker stops", self.name, task.get_name(), exc_info=error)
            self._failure = self._failure or error
            self._stopping.set()

    # -- what its parts need --------------------------------------------------------------------------------------

    def reserve(self, most: int) -> int:
        """See `Taker`."""
        places = max(0, min(most, self.options.concurrency - len(self._held) - self._reserved))
        self._reserved += places
        return places

    def give_back(self, places: int) -> None:
        """See `Taker`."""
        self._reserved -= places
        if places:
            self._room.set()

    async def wait_for_room(self) -> None:
        """See `Taker`."""
        self._room.clear()
        await self._room.wait()

    def take(self, claim: Claim, clock: ClaimClock) -> None:
        """See `Taker`."""
        self._reserved -= 1
        definition = self._registry.find(claim.workflow, claim.version)
        if definition is None or self._stopping.is_set():
            self._refuse(claim)
            return
        earlier = self._held.get(claim.hold.run_id)
        if earlier is not None:
            # Taken from us (a lease that ran out) and claimed again by us before we knew.
            earlier.drop()
        execution = Execution(definition, claim, _AROUND, slack_ms=clock.slack_ms)
        held = HeldRun(self, claim, clock, execution)
        self._held[claim.hold.run_id] = held
        asyncio.get_running_loop().call_soon(held.start)

    def _refuse(self, claim: Claim) -> None:
        self._reserved += 1
        if self._stopping.is_set():
            self.backend.release_run(claim.hold)
        else:
            _log.warning(
                "run.stranded %s: no worker here has workflow %s version %s",
                claim.hold.run_id,
                claim.workflow,
                claim.version,
            )
            self.backend.shelve_run(
                claim.hold, reason="stranded", problem=b"", first_ms=STRANDED_FIRST_MS, last_ms=STRANDED_LAST_MS
            )
        self.give_back(1)

    def report_broken(self, partition: int, count: int) -> None:
        """See `Taker`."""
        _log.error("%d runs of partition %d could not be read; they are listed under `broken`", count, partition)

    def is_lease_stale(self, held: HeldRun) -> bool:
        """See `Host`."""
        return time.monotonic() - self._lease_from_s(held) > self.options.beat_s * 2

    def dropped(self, held: HeldRun) -> None:
        """See `Host`."""
        run_id = held.claim.hold.run_id
        if self._held.get(run_id) is held:
            del self._held[run_id]
            self._room.set()
            if not self._held:
                self._empty.set()

    # -- services -------------------------------------------------------------------------------------------------

    def _lease_from_s(self, held: HeldRun) -> float:
        renewed_s = self._heartbeat.renewed_s if self._heartbeat is not None else 0.0
        return max(renewed_s, held.clock.seen_s - held.clock.slack_ms / 1000)

    async def _watch_over(self) -> None:
        """Each second: progress for people, a look at the leases, and at the loop's own lag."""
        expected_s = time.monotonic()
        while True:
            now_s = time.monotonic()
            if now_s - expected_s > LAG_S:
                _log.warning("the worker's event loop stood still for %.1f s: a step blocks it", now_s - expected_s)
            if self._heartbeat is not None:
                self._heartbeat.loop_seen_s = now_s
            for held in list(self._held.values()):
                if now_s - self._lease_from_s(held) > self.options.give_up_s:
                    _log.warning("run.lease_lost %s: it could not be renewed", held.claim.hold.run_id)
                    held.drop()
                else:
                    held.note_progress(now_s)
            every_s = min(1.0, self.options.beat_s)
            expected_s = time.monotonic() + every_s
            await asyncio.sleep(every_s)

    async def _wake_stuck(self, workflow: str) -> None:
        woken = await self.backend.wake_stuck(workflow)
        if woken:
            _log.info("%d runs of %s that waited for code are offered again", woken, workflow)

    def _start_heartbeat(self) -> None:
        loop = asyncio.get_running_loop()

        def lost(run_ids: Sequence[str]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nothing is held any more
                loop.call_soon_threadsafe(self._lost, run_ids)

        about = codec.encode(
            {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "queues": list(self.queues),
                "workflows": [list(place) for place in self._registry.served()],
                "concurrency": self.options.concurrency,
                "python": sys.version.split()[0],
            }
        )
        self._heartbeat = HeartbeatThread(
            self.backend,
            self.name,
            every_s=self.options.beat_s,
            presence_ms=self.options.lease_ms,
            about=about,
            holds=self._holds,
            lost=lost,
        )
        self._heartbeat.start()

    def _holds(self) -> list[Hold]:
        # Called in the heartbeat's thread: list() of a dict's values is one step under the interpreter's lock.
        return [held.claim.hold for held in list(self._held.values())]

    def _lost_soon(self, run_id: str) -> None:
        self._lost([run_id])

    def _lost(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            held = self._held.get(run_id)
            if held is not None:
                asyncio.get_running_loop().call_soon(held.drop)

    async def _check_server(self) -> None:
        report = await self.backend.inspect_server()
        if report.eviction_policy not in {"", "noeviction"}:
            msg = (
                f"the server's maxmemory-policy is {report.eviction_policy!r}: it would delete runs when memory is "
                "short. Set it to `noeviction`"
            )
            raise UnsuitableServer(msg)
        if not report.persistent:
            _log.warning("the server keeps nothing on disk: runs are lost when it stops (set `appendonly yes`)")


async def _cancel(tasks: Sequence[asyncio.Task[object]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
