"""Traps of schedules: workers that race, that die at any call, that are away; runs that wait for others to end."""

from __future__ import annotations

import asyncio
import random
import secrets
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise, takewhile
from typing import Any

import pytest

from redisflow import RedisFlow, Step
from redisflow.backend.redis_backend import RedisBackend
from redisflow.errors import BackendUnavailable
from redisflow.run_id import run_id_at
from redisflow.schedule import CatchUp, Overlap, ScheduleDefinition
from redisflow.ticks import Ticks
from redisflow.worker.schedules import ScheduleService
from tests.crash.audit import audit
from tests.crash.harness import Crew, Fault, FaultyBackend, Journal
from tests.keyspace import Raw

WITHIN_S = 20.0
MINUTE = 60_000
# Before the nights in which clocks change in Paris.
AUTUMN = round(datetime(2026, 10, 24, 22, tzinfo=UTC).timestamp() * 1000)
SPRING = round(datetime(2026, 3, 28, 22, tzinfo=UTC).timestamp() * 1000)
TIMINGS = (
    Ticks(cron="0 * * * *", timezone="Europe/Paris"),
    Ticks(cron="30 2 * * *", timezone="Europe/Paris"),
    Ticks(cron="*/7 * * * *", timezone="America/New_York"),
    Ticks(every_ms=5 * MINUTE),
    Ticks(cron="30 * * * * *"),
)


def define(name: str, ticks: Ticks, *, overlap: Overlap = "cancel_running", catch_up: CatchUp = "all"):
    # cancel_running: no run has to be worked on for the next to be created, and each is kept.
    return ScheduleDefinition(
        id=name,
        workflow=name,
        version=None,
        queue="default",
        input=b"\xc0",
        ticks=ticks,
        overlap=overlap,
        catch_up=catch_up,
    )


class Clock:
    def __init__(self, raw: Raw, namespace: str, begin_ms: int = SPRING) -> None:
        self._raw = raw
        self._prefix = f"rf:{{{namespace}:0}}:"
        self.at(begin_ms)

    def at(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self._raw("SET", f"{self._prefix}clock", now_ms)

    def runs(self, workflow: str) -> list[str]:
        """The ids of all runs of a workflow."""
        keys = [f"{self._prefix}{kind}" for kind in (f"runs:{workflow}", f"done:{workflow}:canceled")]
        return sorted(run_id.decode() for key in keys for run_id in self._raw("ZRANGE", key, 0, -1))

    def close(self) -> None:
        self._raw("DEL", f"{self._prefix}clock")


def ticks_of(ticks: Ticks, until_ms: int, begin_ms: int = SPRING) -> list[int]:
    return list(takewhile(lambda tick: tick <= until_ms, ticks.after(begin_ms)))


@pytest.mark.parametrize("begin_ms", [SPRING, AUTUMN])
async def test_eight_workers_that_race_and_restart_create_one_run_for_each_tick(
    begin_ms: int, valkey_url: str, namespace: str, raw: Raw
) -> None:
    chance = random.Random(begin_ms)
    clock = Clock(raw, namespace, begin_ms)
    backends = [RedisBackend(valkey_url, namespace=namespace, clock="test") for _ in range(8)]
    for backend in backends:
        await backend.open()
    definitions = [define(f"s{number}", ticks) for number, ticks in enumerate(TIMINGS)]
    # Nobody has the turn here: all of them fire all that is due.
    services = [ScheduleService(backend, 0, f"w{number}") for number, backend in enumerate(backends)]
    for definition in definitions:
        await backends[0].schedules.put(definition)
    while clock.now_ms < begin_ms + 30 * 60 * MINUTE:
        # Mostly a few minutes; sometimes nobody works for hours.
        clock.at(clock.now_ms + MINUTE * chance.choice((1, 2, 3, 5, 8, 13, 180)))
        rounds = [asyncio.ensure_future(service.run_once()) for service in services]
        for dying in chance.sample(rounds, 5):
            for _ in range(chance.randrange(40)):
                await asyncio.sleep(0)
            dying.cancel()
        # Declared again by a worker that starts.
        await backends[1].schedules.declare(chance.choice(definitions))
        await asyncio.gather(*rounds, return_exceptions=True)
    while await services[0].run_once() == 0:
        pass
    created = 0
    for definition in definitions:
        ticks = ticks_of(definition.ticks, clock.now_ms, begin_ms)
        assert clock.runs(definition.id) == sorted(run_id_at(tick, f"{namespace} {definition.id}", 0) for tick in ticks)
        created += len(ticks)
    assert created > 2000
    for backend in backends:
        await backend.close()
    clock.close()
    assert not audit(raw, namespace)


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
@pytest.mark.parametrize("overlap", ["skip", "queue", "cancel_running"])
async def test_a_worker_that_dies_at_any_call_leaves_no_tick_out_and_none_twice(
    fault: Fault, overlap: Overlap, valkey_url: str, raw: Raw
) -> None:
    at, fired = 0, True
    while fired:
        at += 1
        namespace = f"crash-{secrets.token_hex(6)}"
        clock = Clock(raw, namespace)
        real = RedisBackend(valkey_url, namespace=namespace, clock="test")
        await real.open()
        for number, ticks in enumerate(TIMINGS[2:4]):
            await real.schedules.put(define(f"s{number}", ticks, overlap=overlap))
        clock.at(SPRING + 15 * MINUTE)
        faulty = FaultyBackend(real, Journal(), fault=fault, at=at)
        await _watch_until_it_dies(faulty)
        fired = faulty.fired
        while await ScheduleService(real, 0, "w2").run_once() == 0:
            pass
        for number, ticks in enumerate(TIMINGS[2:4]):
            due = ticks_of(ticks, clock.now_ms)
            wanted = [run_id_at(tick, f"{namespace} s{number}", 0) for tick in due]
            assert clock.runs(f"s{number}") == (wanted[:1] if overlap == "skip" else wanted), f"call {at}"
        await real.close()
        clock.close()
        assert not audit(raw, namespace)
    assert at > 6


async def _watch_until_it_dies(backend: Any) -> None:
    try:
        while await ScheduleService(backend, 0, "w1").run_once() == 0:
            pass
    except BackendUnavailable:
        return


async def test_a_schedule_that_cannot_be_fired_stops_no_other_and_is_tried_again(
    valkey_url: str, namespace: str, raw: Raw, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(raw, namespace)
    backend = RedisBackend(valkey_url, namespace=namespace, clock="test")
    await backend.open()
    ticks = TIMINGS[3]
    for name in ("a-broken", "b-fine", "c-elsewhere"):
        await backend.schedules.put(replace(define(name, ticks), queue=name))
    prefix = f"rf:{{{namespace}:0}}:"
    raw("SET", f"{prefix}q:a-broken:0", "no stream")
    raw("HSET", f"{prefix}schedule:c-elsewhere", "tz", "Mars/Olympus", "cr", "0 * * * *", "ev", "")
    service = ScheduleService(backend, 0, "w1")
    clock.at(SPRING + 5 * MINUTE)
    await service.run_once()
    assert [len(clock.runs(name)) for name in ("b-fine", "c-elsewhere")] == [1, 0]
    assert await service.run_once() > 0, "what cannot be done is not tried without a rest"
    assert caplog.text.count("schedule.unreadable here") == 1
    assert caplog.text.count("schedule.failed a-broken") == 2
    raw("DEL", f"{prefix}q:a-broken:0")
    await service.run_once()
    wanted = ticks_of(ticks, clock.now_ms)
    assert clock.runs("a-broken") == [run_id_at(tick, f"{namespace} a-broken", 0) for tick in wanted]
    await backend.close()
    clock.close()
    assert not audit(raw, namespace)


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
async def test_queued_runs_follow_each_other_through_a_fault_at_any_call(fault: Fault, valkey_url: str, raw: Raw):
    for first in range(1, 200, 16):
        calls = range(first, first + 16)
        if not all(await asyncio.gather(*(_all_end(fault, at, valkey_url, raw) for at in calls))):
            return
    pytest.fail("the runs have not ended within 200 calls")


async def _all_end(fault: Fault, at: int, url: str, raw: Raw) -> bool:
    namespace = f"crash-{secrets.token_hex(6)}"
    async with RedisFlow(url, namespace=namespace) as flow:
        crew = Crew(url, namespace, raw)
        try:

            async def work() -> str:
                crew.journal.body_starts()
                return "done"

            @flow.define_workflow("report")
            async def report(step: Step) -> str:
                await step.run("work", work)
                await step.sleep("rest", "1ms")
                return "done"

            crew.know(report.definition)
            await flow.schedules.create("nightly", report, cron="0 0 1 1 *", overlap="queue")
            handles = [await flow.schedules.trigger("nightly") for _ in range(3)]
            ended = asyncio.gather(*(handle.result(timeout="1m") for handle in handles if handle is not None))
            waiting: set[asyncio.Future[Any]] = {ended}
            worker, backend = await crew.hire(fault=fault, at=at, lease="10m")
            stopped = asyncio.ensure_future(backend.stopped.wait())
            await asyncio.wait(waiting | {stopped}, timeout=WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            fired = backend.fired
            if backend.stopped.is_set():
                await crew.dismiss(worker)
                crew.age()
                _, helper = await crew.hire(lease="10m")
                await crew.reclaim(helper.real)
            async with asyncio.timeout(WITHIN_S):
                assert await ended == ["done"] * 3
        finally:
            await crew.close()
        runs = [await handle.get() for handle in handles if handle is not None]
        assert len(runs) == 3
        for before, after in pairwise(runs):
            assert after.started_at
            assert before.finished_at
            assert after.started_at >= before.finished_at, f"{fault.name} call {at}"
        assert not crew.journal.problems
        assert not audit(raw, namespace)
        return fired
