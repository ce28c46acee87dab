"""`Worker`: the life of one worker process, from its first claim to handing back what it holds.

Its parts are small services; this file starts them, keeps the list of held runs, and decides what happens at the end:
stop claiming, let runs go on for a while, hand back the rest. A second stop hands back at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import random
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from typing import Self

from redisflow.authoring.definition import DEFAULT_QUEUE, Registry
from redisflow.authoring.outside import Outside
from redisflow.contract import Answer, Backend, Claim, Hold, RunClock, Verdict
from redisflow.contract.observer import Observer, Vitals
from redisflow.durations import Duration, to_ms
from redisflow.engine.execution import Execution, Surroundings
from redisflow.errors import InvalidWorkflow, RedisflowError
from redisflow.fleet import place_of
from redisflow.words import counted
from redisflow.worker.about import describe_worker
from redisflow.worker.bodies import Bodies
from redisflow.worker.burst import Burst, Service
from redisflow.worker.claiming import claim_forever
from redisflow.worker.ends import FIRST_OFFER_MS, LAST_OFFER_MS, EndLog, fields_of, forget
from redisflow.worker.held_run import HeldRun
from redisflow.worker.leases import LeaseWatch
from redisflow.worker.options import WorkerOptions
from redisflow.worker.payload_sweep import sweep_forever
from redisflow.worker.retention import RetentionService
from redisflow.worker.schedules import ScheduleService, declare_all
from redisflow.worker.services import keep_going
from redisflow.worker.signals import on_signals
from redisflow.worker.stranded import StrandedAlarm
from redisflow.worker.suspects import Suspects
from redisflow.worker.telling import Telling
from redisflow.worker.timers import watch_forever
from redisflow.worker.upkeep import UpkeepService

SERVED_ELSEWHERE_MS = 500
"""How long a run waits that this worker has no code for and another one has: in a deploy, workers of two versions take
each other's runs. Longer where more than 500 wait: see shelve_run."""
GOOD_BYE_S = 2.0
"""For each of the last things that a worker waits for: its calls are answered, its bodies have cleaned up."""

_log = logging.getLogger("redisflow.worker")


class Worker:
    """Claims and runs the registered workflows until it is stopped. Use `run()`, or `async with worker:`."""

    backend: Backend
    """Known once it has started."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Backend]],
        registry: Registry,
        options: WorkerOptions,
        outside: Outside | None = None,
    ) -> None:
        """Made by `RedisFlow.new_worker`; `connect` opens the backend in the running loop, `outside` is its client."""
        self._connect = connect
        self.options = options
        self.name = f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(4)}"
        self.queues: Sequence[str] = options.queues or tuple(registry.queues()) or (DEFAULT_QUEUE,)
        self._registry = registry
        self._held: dict[str, HeldRun] = {}
        self._taken: list[HeldRun] = []
        """Those that start as soon as the loop is free."""
        self._count_taken = 0
        self._reserved = 0
        self._room = asyncio.Event()
        self._empty = asyncio.Event()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._is_asked = False
        self._claimers: list[asyncio.Task[None]] = []
        self._services: list[asyncio.Task[None]] = []
        self._finishing: asyncio.Task[None] | None = None
        self._exit = AsyncExitStack()
        self._executor = ThreadPoolExecutor(max_workers=options.concurrency, thread_name_prefix="redisflow-step")
        self.bodies = Bodies(
            limit=options.max_bodies, threads=options.concurrency, executor=self._executor, outside=outside
        )
        self._around = Surroundings(entropy=random.random, cpu_seconds=time.thread_time)
        # list() of a dict's values is one step under the interpreter's lock: the heartbeat's thread asks, too.
        self._leases = LeaseWatch(options, lambda: list(self._held.values()))
        self.ends = EndLog()
        self._telling = Telling()
        self._suspects = Suspects(options.lease_ms / 1000)
        self._grace_ms = options.grace_ms
        self._failure: BaseException | None = None
        self.is_drained = False
        """Whether it was told to drain, or its burst is over: who looks after it need not replace it."""
        self._refused: set[tuple[str, str | None]] = set()
        """Workflows and versions of which it has said that it has no code."""

    # -- life -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until SIGTERM, SIGINT or `stop()`; a second signal hands everything back at once."""
        with on_signals(self._ask_to_stop):
            try:
                await self.start()
                await self.wait()
            finally:
                self._stopping.set()
                await self._finished()

    async def start(self) -> None:
        """Begin to work. UnsuitableServer where this server would lose runs."""
        if not self._registry.names():
            msg = "no workflow is registered: define one with @flow.define_workflow before starting a worker"
            raise InvalidWorkflow(msg)
        try:
            await self._start()
        except BaseException:
            self._stopping.set()
            await self._finished()
            raise

    async def stop(self, *, grace: Duration | None = None) -> None:
        """Stop claiming, let held runs go on for `grace`, hand back the rest. Called twice, it hands back at once."""
        if grace is not None:
            self._grace_ms = to_ms(grace, what="grace")
        self._ask_to_stop()
        await self._finished()

    async def wait(self) -> None:
        """Wait until it has stopped, whoever asks for it; raises what made it stop by itself."""
        await self._stopping.wait()
        await self._finished()
        if self._failure is not None:
            raise self._failure

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    async def _start(self) -> None:
        self.backend = await self._connect()
        backend = self.backend
        self._around = dataclasses.replace(
            self._around,
            partitions=backend.partitions,
            payload_limit=backend.payload_limit,
            run_limit=max(self._around.run_limit, 32 * backend.payload_limit),
        )
        for warning in await self.backend.check_server():
            _log.warning(warning)
        if self.options.resources is not None:
            self.bodies.resources = await self._exit.enter_async_context(self.options.resources())
        await self._exit.enter_async_context(self.backend.listen(self.name, self._told_of_loss, self._told_of_mail))
        about = describe_worker(self._registry, self.queues, self.options)
        self._leases.begin(self.backend, self.name, about, self._told_to_drain)
        self._serve("watch", self._leases.run_forever)
        if self.backend.payloads.in_use:
            self._serve("payloads", partial(sweep_forever, self.backend, self.name))
        for workflow in self._registry.names():
            self._serve("wake-stuck", partial(self._wake_stuck, workflow))
        options, backend = self.options, self.backend
        self._telling.begin(self, self._serve)
        self._serve("stranded", StrandedAlarm(backend, self.name, options.upkeep_s).run_forever)
        self._serve("policies", partial(backend.retention.set_retention, self._registry.retention()))
        if declared := self._registry.schedules():
            self._serve("declare-schedules", partial(declare_all, backend, declared))
        burst: Burst | None = None
        if options.burst:
            held, taken = lambda: len(self._held), lambda: self._count_taken
            burst = Burst(backend, self.queues, count_held=held, count_taken=taken)
        for partition in range(backend.partitions):
            upkeep = UpkeepService(
                backend, partition, self.name, self.queues, options.lease_ms, options.crash_limit, options.upkeep_s
            )
            upkeep.reclaimed = self.observer.reclaimed
            self._serve(f"timers-{partition}", partial(watch_forever, backend, partition, self.name))
            retention = RetentionService(backend, partition, self.name, options.upkeep_s)
            keep_up: Service = upkeep.run_forever
            purge: Service = retention.run_forever
            if burst is not None:
                keep_up = burst.begin_with(upkeep.run_at_start, keep_up)
                purge = burst.begin_with(retention.run_once, purge)
            self._serve(f"upkeep-{partition}", keep_up)
            self._serve(f"retention-{partition}", purge)
            self._serve(f"schedules-{partition}", ScheduleService(backend, partition, self.name).run_forever)
            claim = partial(claim_forever, self, partition, self.queues)
            self._claimers.append(self._serve(f"claim-{partition}", claim))
        if burst is not None:
            self._serve("burst", partial(self._end_when_calm, burst))
        _log.info("worker %s started: queues %s", self.name, ", ".join(self.queues))

    async def _finished(self) -> None:
        await asyncio.shield(self._begin_to_finish())

    def _begin_to_finish(self) -> asyncio.Task[None]:
        if self._finishing is None:
            self._finishing = asyncio.create_task(self._finish(), name="finish")
        return self._finishing

    async def _finish(self) -> None:
        await _cancel(self._claimers)
        answers = [self._hand_back(held) for held in list(self._held.values()) if not held.started]
        if self._held:
            grace_s = self._grace_ms / 1000
            _log.info("worker %s stops: %d runs may go on for %.0f s", self.name, len(self._held), grace_s)
            self._empty.clear()
            ended = [asyncio.create_task(self._empty.wait()), asyncio.create_task(self._hurry.wait())]
            await asyncio.wait(ended, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
            await _cancel(ended)
        answers += [self._hand_back(held) for held in list(self._held.values())]
        if answers:
            await asyncio.wait([asyncio.ensure_future(answer) for answer in answers], timeout=GOOD_BYE_S)
        await _cancel(self._services)
        await self._telling.end(GOOD_BYE_S)
        await self._say_good_bye()
        # Before what `resources` gave them is closed.
        await self.bodies.wait_for_tasks(GOOD_BYE_S)
        await self._exit.aclose()
        self._executor.shutdown(wait=False, cancel_futures=True)
        _log.info("worker %s stopped", self.name)

    async def _say_good_bye(self) -> None:
        if not await self._leases.end():
            return
        # With the server away there is nobody to say good-bye to; upkeep of the others finds what is left.
        with contextlib.suppress(TimeoutError, RedisflowError):
            async with asyncio.timeout(GOOD_BYE_S):
                await self.backend.leave(self.name, self.queues)

    def _hand_back(self, held: HeldRun) -> Answer[Verdict]:
        held.drop()
        return self._release(held.claim.hold)

    def _release(self, hold: Hold) -> Answer[Verdict]:
        answer = self.backend.release_run(hold)
        answer.add_done_callback(forget)
        return answer

    def _ask_to_stop(self) -> None:
        """The second time it hands everything back at once; to be told to drain is no first time."""
        if self._is_asked:
            self._hurry.set()
        self._is_asked = True
        self._stopping.set()

    def _serve(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        task = asyncio.create_task(keep_going(name, work), name=name)
        task.add_done_callback(self._service_ended)
        self._services.append(task)
        return task

    def _service_ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.critical("worker %s: %s failed, the worker stops", self.name, task.get_name(), exc_info=error)
            self._failure = self._failure or error
            self._stopping.set()

    # -- what its parts need --------------------------------------------------------------------------------------

    @property
    def observer(self) -> Observer:
        """See `Host`."""
        return self._telling.observer

    def vitals(self) -> Vitals:
        """See `Teller`."""
        held = len(self._held)
        return Vitals(held, max(0, self.options.concurrency - held - self._reserved), *self._leases.ages_s())

    def is_ready(self) -> bool:
        """See `Teller`."""
        return bool(self._claimers) and not self._stopping.is_set()

    def reserve(self, most: int) -> int:
        """See `Taker`."""
        places = max(0, min(most, self.options.concurrency - len(self._held) - self._reserved))
        self._reserved += places
        return places

    def give_back(self, places: int) -> None:
        """See `Taker`."""
        self._reserved -= places
        if self._reserved + len(self._held) < self.options.concurrency:
            self._room.set()

    async def wait_for_room(self) -> None:
        """See `Taker`."""
        self._room.clear()
        await self._room.wait()

    def take(self, claim: Claim, clock: RunClock) -> None:
        """See `Taker`."""
        definition = self._registry.find(claim.workflow, claim.version)
        if definition is None or self._stopping.is_set():
            self._refuse(claim)
            return
        earlier = self._held.get(claim.hold.run_id)
        if earlier is not None:
            # Taken from us (a lease that ran out) and claimed again by us before we knew.
            earlier.drop()
        execution = Execution(definition, claim, self._around, clock.slack_ms)
        held = HeldRun(self, claim, clock, execution)
        self._held[claim.hold.run_id] = held
        self._count_taken += 1
        held.since_s = time.monotonic()
        if claim.opening is None:
            self._admit(held)
        else:
            claim.opening.add_done_callback(partial(self._opened, held))

    def hand_back(self, claim: Claim) -> None:
        """See `Taker`."""
        self._release(claim.hold)

    def _admit(self, held: HeldRun) -> None:
        if held.claim.crashes:
            self._suspects.admit(held)
        else:
            if not self._taken:
                loop = asyncio.get_running_loop()
                # Behind the next claim, if one is sent now.
                loop.call_soon(loop.call_soon, self._start_taken)
            self._taken.append(held)

    def _opened(self, held: HeldRun, opening: Answer[None]) -> None:
        if held.is_dropped:
            return
        if opening.cancelled():  # the connection was closed
            held.drop()
            return
        error = opening.exception()
        if error is None:
            self._admit(held)
        else:
            self.cannot_read(held, error)

    def _start_taken(self) -> None:
        taken, self._taken = self._taken, []
        for held in taken:
            held.start()

    def _refuse(self, claim: Claim) -> None:
        hold = claim.hold
        if self._stopping.is_set():
            self._release(hold)
            return
        workflow, version = claim.workflow, claim.version
        if (workflow, version) not in self._refused:
            # Once: of the rest, and of what becomes of them, the alarm tells.
            self._refused.add((workflow, version))
            text = (
                "run.stranded %s: this worker has no code for %s, and leaves it to others (flow.stranded() tells"
                " whether there are any); further runs of it are not logged here"
            )
            _log.warning(text, hold.run_id, place_of(workflow, version), extra=fields_of(claim))
        self._strand(claim, again_ms=SERVED_ELSEWHERE_MS)

    def _strand(self, claim: Claim, *, again_ms: int | None) -> None:
        answer = self.backend.shelve_run(
            claim.hold,
            reason="stranded",
            problem=b"",
            first_ms=FIRST_OFFER_MS,
            last_ms=LAST_OFFER_MS,
            again_ms=again_ms,
        )
        answer.add_done_callback(forget)

    def report_broken(self, partition: int, count: int) -> None:
        """See `Taker`."""
        _log.error(
            "%d runs of partition %d could not be read: what the server could not read is listed under `broken`, "
            "what is no run comes back when its lease ends",
            count,
            partition,
        )

    def is_lease_stale(self, held: HeldRun, now_s: float) -> bool:
        """See `Host`."""
        return self._leases.is_stale(held, now_s)

    def is_lease_over(self, held: HeldRun, now_s: float) -> bool:
        """See `Host`."""
        return self._leases.is_over(held, now_s)

    def has_recorded(self, held: HeldRun) -> None:
        """See `Host`."""
        self._suspects.clear(held)

    def cannot_read(self, held: HeldRun, error: BaseException) -> None:
        """See `Host`."""
        claim = held.claim
        held.drop()
        text = "run.stranded %s: what is stored for it cannot be read here: %s"
        _log.error(text, claim.hold.run_id, error, extra=fields_of(claim))
        # The run is fine, and a worker with another key, or with newer code, can go on with it. Of those who have its
        # workflow nobody knows who can: it is not offered again soon.
        self._strand(claim, again_ms=None)

    def dropped(self, held: HeldRun) -> None:
        """See `Host`."""
        self._suspects.clear(held)
        run_id = held.claim.hold.run_id
        if self._held.get(run_id) is held:
            del self._held[run_id]
            self._room.set()
            if not self._held:
                self._empty.set()

    # -- services -------------------------------------------------------------------------------------------------

    async def _wake_stuck(self, workflow: str) -> None:
        # Workers without its code may take them again, and put aside for long what they know nobody to serve.
        await self._leases.wait_for_presence()
        woken = await self.backend.wake_stuck(workflow)
        if woken:
            _log.info("%d runs of %s that waited for code are offered again", woken, workflow)

    def _told_of_loss(self, run_id: str) -> None:
        held = self._held.get(run_id)
        if held is not None:
            held.look()

    async def _end_when_calm(self, burst: Burst) -> None:
        elsewhere = await burst.wait_until_calm()
        left = f" (held by other workers: {counted(elsewhere, 'run')})" if elsewhere else ""
        self._drain(f"has nothing left to do{left}")

    def _told_to_drain(self) -> None:
        self._drain("is told to drain")

    def _drain(self, why: str) -> None:
        if not self._stopping.is_set():  # or else it would be a second signal
            _log.info("worker %s %s", self.name, why)
            self.is_drained = True
            self._stopping.set()
            # Nobody may be waiting for its end: it must not go on claiming runs, only to hand them back.
            self._begin_to_finish()

    def _told_of_mail(self, run_id: str) -> None:
        held = self._held.get(run_id)
        if held is not None:
            held.fetch_mail()


async def _cancel(tasks: Sequence[asyncio.Task[object]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
