"""Traps of the worker: claims that come late or fail, the end of its life, and what must not stop it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from redisflow import RedisFlow, Step
from redisflow.backend.redis_backend import RedisBackend
from redisflow.contract import About, Backend, Beat, ClaimBatch, Heartbeat, Hold
from redisflow.engine.execution import Execution
from redisflow.errors import BackendError, BackendUnavailable, BackpressureError
from redisflow.worker.heartbeat import HeartbeatThread
from tests.crash.harness import Crew, Fault
from tests.keyspace import Raw

WITHIN_S = 10.0


def define_waiting(flow: RedisFlow, crew: Crew, name: str = "waiting") -> tuple[Any, asyncio.Event, list[str]]:
    """A workflow of one step, which lasts until the event; and the keys of its bodies as they start."""
    go_on = asyncio.Event()
    starts: list[str] = []

    async def wait() -> str:
        crew.journal.body_starts()
        starts.append(crew.journal.starts[-1][0])
        await go_on.wait()
        return "done"

    @flow.define_workflow(name)
    async def waiting(step: Step) -> str:
        return await step.run("wait", wait)

    crew.know(waiting.definition)
    return waiting, go_on, starts


async def until(holds: Callable[[], object], within_s: float = WITHIN_S) -> float:
    """Look again and again; returns how long it took."""
    began_s = time.monotonic()
    while not holds():
        assert time.monotonic() - began_s < within_s
        await asyncio.sleep(0.005)  # between two looks
    return time.monotonic() - began_s


async def test_a_stopping_worker_hands_back_at_once_and_no_crash_is_counted(flow: RedisFlow, crew: Crew) -> None:
    waiting, go_on, starts = define_waiting(flow, crew)
    first, _ = await crew.hire(concurrency=30)
    handles = [await waiting.run() for _ in range(30)]
    await until(lambda: len(starts) == 30)
    await crew.hire(concurrency=30)
    await first.stop(grace=0)
    assert await until(lambda: len(starts) == 60) < 1.0
    go_on.set()
    for handle in handles:
        assert await handle.result(timeout=WITHIN_S) == "done"
        run = await handle.get()
        assert (run.crashes, run.claims) == (0, 2)


async def test_a_stopping_worker_releases_what_its_last_claim_brings(flow: RedisFlow, crew: Crew) -> None:
    waiting, go_on, starts = define_waiting(flow, crew)
    go_on.set()
    first, backend = await crew.hire()
    under_way, stopping = asyncio.Event(), asyncio.Event()

    async def answered_late(*args: Any) -> ClaimBatch:
        batch = await backend.real.claim_runs(*args)
        if batch.claims:
            under_way.set()
            await stopping.wait()
        return batch

    backend.claim_runs = answered_late  # type: ignore[attr-defined]  # a proxy: its calls are found by name
    await asyncio.sleep(0)
    handle = await waiting.run()
    # The bell rings for the claim that waits on it, then for the one that is held up.
    async with asyncio.timeout(WITHIN_S):
        await under_way.wait()
    ended = asyncio.ensure_future(first.stop(grace=0))
    await asyncio.sleep(0)
    stopping.set()
    async with asyncio.timeout(WITHIN_S):
        await ended
    assert starts == []
    await crew.hire()
    assert await handle.result(timeout=1) == "done"
    run = await handle.get()
    assert (run.crashes, run.claims) == (0, 2)


async def test_a_stop_that_is_asked_for_twice_hands_back_at_once(flow: RedisFlow, crew: Crew) -> None:
    waiting, go_on, starts = define_waiting(flow, crew)
    worker, _ = await crew.hire()
    handle = await waiting.run()
    await until(lambda: starts)
    patient = asyncio.ensure_future(worker.stop(grace=60))
    await asyncio.sleep(0.05)  # long enough to end, were it not patient
    assert not patient.done()
    async with asyncio.timeout(5):
        await worker.stop()
        await patient
    assert (await handle.get()).status == "pending"
    go_on.set()
    await crew.hire()
    assert await handle.result(timeout=WITHIN_S) == "done"


async def test_a_worker_stops_although_the_server_is_away(flow: RedisFlow, crew: Crew) -> None:
    waiting, go_on, starts = define_waiting(flow, crew)
    worker, backend = await crew.hire()
    handle = await waiting.run()
    await until(lambda: starts)
    backend.stopped.set()
    async with asyncio.timeout(5):
        await worker.stop(grace=0)
    go_on.set()
    crew.age()
    _, other = await crew.hire()
    await crew.reclaim(other.real)
    assert await handle.result(timeout=WITHIN_S) == "done"


@pytest.mark.parametrize("error", [BackpressureError, BackendError], ids=["out-of-memory", "refused"])
async def test_refused_calls_are_tried_again_and_stop_no_part_of_a_worker(
    flow: RedisFlow, crew: Crew, error: type[Exception]
) -> None:
    waiting, go_on, _ = define_waiting(flow, crew)
    go_on.set()
    _, backend = await crew.hire(lease="500ms")
    refused: Counter[str] = Counter()

    def refuse_twice(name: str) -> None:
        real = getattr(backend.real, name)

        async def refuse(*args: Any) -> Any:
            refused[name] += 1
            if refused[name] <= 2:
                raise error(name)
            return await real(*args)

        setattr(backend, name, refuse)

    for name in ("claim_runs", "wait_bell", "take_turn", "wake_runs", "reclaim_runs", "sweep_workers"):
        refuse_twice(name)
    handle = await waiting.run()
    assert await handle.result(timeout=WITHIN_S) == "done"
    await until(lambda: refused["reclaim_runs"] > 2)
    assert refused["claim_runs"] > 2


async def test_a_run_on_which_the_engine_fails_is_suspended_and_stops_nothing_else(
    flow: RedisFlow, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, go_on, _ = define_waiting(flow, crew)
    go_on.set()
    worker, _ = await crew.hire()
    with monkeypatch.context() as patch:

        def broken(*_: Any, **__: Any) -> Any:
            raise ZeroDivisionError("a defect of the engine")

        patch.setattr(Execution, "body_ended", broken)
        handle = await waiting.run()
        run = await _until_suspended(handle)
    assert run.error is not None
    assert "a defect of the engine" in run.error.message
    assert worker.bodies.running == set()
    # A worker with other code offers it again, and it ends.
    await crew.hire()
    assert await handle.result(timeout=WITHIN_S) == "done"


async def _until_suspended(handle: Any) -> Any:
    for _ in range(int(WITHIN_S * 100)):
        run = await handle.get()
        if run.waiting_for == "suspended":
            return run
        await asyncio.sleep(0.01)
    pytest.fail(f"it is {run!r}")


class _BadHeartbeat:
    """Fails in ways that no backend promises."""

    def __init__(self, real: Heartbeat, errors: list[Exception]) -> None:
        self._real = real
        self._errors = errors

    def renew(
        self, partition: int, worker: str, presence_ms: int, about: bytes, holds: Sequence[Hold], serves: str
    ) -> Beat:
        if self._errors:
            raise self._errors.pop()
        return self._real.renew(partition, worker, presence_ms, about, holds, serves)

    def close(self) -> None:
        self._real.close()


async def test_a_heartbeat_survives_whatever_goes_wrong_in_it(flow: RedisFlow, crew: Crew) -> None:
    waiting, go_on, starts = define_waiting(flow, crew)
    errors: list[Exception] = [ValueError("odd"), BackendUnavailable("away"), OSError("odder")]
    real = RedisBackend(crew.url, namespace=crew.namespace)
    await real.open()
    crew.prepare = lambda backend: setattr(
        backend, "open_heartbeat", lambda: _BadHeartbeat(real.open_heartbeat(), errors)
    )
    await crew.hire(lease="2s")
    handle = await waiting.run()
    await until(lambda: starts)
    await asyncio.sleep(2.2)  # longer than a lease: without a heartbeat the run would have been dropped
    assert errors == []
    go_on.set()
    assert await handle.result(timeout=WITHIN_S) == "done"
    assert (await handle.get()).claims == 1
    await real.close()


async def test_a_partition_whose_server_is_away_costs_the_others_no_lease() -> None:
    renewed: Counter[int] = Counter()

    class Partly:
        partitions = 3

        def open_heartbeat(self) -> Any:
            return self

        def renew(self, partition: int, *_: Any) -> Beat:
            renewed[partition] += 1
            if partition == 0:
                raise BackendUnavailable("away")
            return Beat([], {})

        def close(self) -> None: ...

    backend: Any = Partly()
    about = About(b"", "")
    thread = HeartbeatThread(backend, "w", every_s=0.02, presence_ms=1, about=about, holds=list, lost=print, mail=print)
    began = dict(thread.renewed_s)
    thread.start()
    await until(lambda: renewed[0] >= 4)
    await asyncio.to_thread(thread.stop)
    assert thread.renewed_s[0] == began[0]
    assert thread.renewed_s[1] > began[1]
    assert thread.renewed_s[2] > began[2]


async def test_bodies_are_cancelled_before_a_lease_that_cannot_be_renewed_ends(flow: RedisFlow, crew: Crew) -> None:
    cancelled_s: list[float] = []
    started_s: list[float] = []

    async def work() -> None:
        started_s.append(time.monotonic())
        try:
            await asyncio.sleep(60)  # it is cancelled
        except asyncio.CancelledError:
            cancelled_s.append(time.monotonic())
            raise

    @flow.define_workflow("cannot-renew")
    async def cannot_renew(step: Step) -> None:
        await step.run("work", work)

    class Away:
        def renew(self, *_: Any) -> Beat:
            raise BackendUnavailable("blackholed")

        def close(self) -> None: ...

    crew.know(cannot_renew.definition)
    crew.prepare = lambda backend: setattr(backend, "open_heartbeat", Away)
    worker, _ = await crew.hire(lease="1s")
    handle = await cannot_renew.run()
    await until(lambda: cancelled_s)
    # The lease lasts from the claim, a moment before the body started.
    assert cancelled_s[0] - started_s[0] < 0.98
    await handle.cancel()
    await worker.stop(grace=0)


async def test_a_run_that_is_taken_and_claimed_again_by_the_same_worker_runs_once_at_a_time(
    flow: RedisFlow, crew: Crew
) -> None:
    waiting, go_on, starts = define_waiting(flow, crew)
    worker, backend = await crew.hire()
    handle = await waiting.run()
    await until(lambda: starts)
    crew.age(presence=False)
    assert await crew.reclaim(backend.real) == 1
    await until(lambda: len(starts) == 2)
    await until(lambda: len(worker.bodies.running) == 1)
    go_on.set()
    assert await handle.result(timeout=WITHIN_S) == "done"
    run = await handle.get()
    assert (run.crashes, run.claims) == (0, 2)


async def test_old_news_of_a_loss_do_not_drop_a_run_that_is_held(flow: RedisFlow, crew: Crew, raw: Raw) -> None:
    waiting, go_on, starts = define_waiting(flow, crew)
    worker, _ = await crew.hire()
    handle = await waiting.run()
    await until(lambda: starts)
    # As if it had been taken from this worker once, and the word of it came after it was claimed again.
    prefix = f"rf:{{{crew.namespace}:0}}:"
    assert raw("SPUBLISH", f"{prefix}worker:{worker.name}", handle.id) == 1
    await asyncio.sleep(0.1)  # what must not happen has time to
    assert len(worker.bodies.running) == 1
    go_on.set()
    assert await handle.result(timeout=WITHIN_S) == "done"
    assert (await handle.get()).claims == 1


async def test_runs_whose_worker_died_wait_for_each_other_no_longer_than_a_lease(
    flow: RedisFlow, crew: Crew, raw: Raw
) -> None:
    waiting, go_on, starts = define_waiting(flow, crew)
    handles = [await waiting.run() for _ in range(4)]
    for handle in handles:
        raw("HSET", f"rf:{{{flow.namespace}:0}}:run:{handle.id}", "x", 1)  # as if the worker that held them had crashed
    await crew.hire(lease="500ms")
    # None of them records anything before all have begun.
    await until(lambda: len(starts) == 4)
    go_on.set()
    for handle in handles:
        assert await handle.result(timeout=WITHIN_S) == "done"


async def test_runs_whose_worker_died_begin_one_after_the_other_and_only_those_that_began_are_blamed(
    flow: RedisFlow, crew: Crew, raw: Raw
) -> None:
    may_end: dict[str, asyncio.Event] = {}
    starts: list[str] = []

    async def work(name: str) -> None:
        starts.append(name)
        await may_end.setdefault(name, asyncio.Event()).wait()

    @flow.define_workflow("suspect")
    async def suspect(name: str, step: Step) -> None:
        await step.run("work", work, name)
        await step.run("more", work, f"{name} again")

    crew.know(suspect.definition)
    handles = {name: await suspect.run(name) for name in ("a", "b", "c")}
    keys = {name: f"rf:{{{flow.namespace}:0}}:run:{handle.id}" for name, handle in handles.items()}
    for key in keys.values():
        raw("HSET", key, "x", 1)  # as if the worker that held all of them had crashed
    first, backend = await crew.hire()
    await until(lambda: starts)
    await asyncio.sleep(0.1)  # the others would have begun by now
    assert len(starts) == 1
    blamed = starts[0]
    # It kills the worker.
    backend.stopped.set()
    await crew.dismiss(first)
    crew.age()
    assert await crew.reclaim(flow.backend) == 3
    crashes = {name: int(raw("HGET", key, "x")) for name, key in keys.items()}
    assert crashes == {name: 1 + (name == blamed) for name in keys}

    # Each is cleared by what it records, and the next one begins.
    def has_begun(number: int) -> bool:
        return len(starts_of_names(starts)) == number

    await crew.hire()
    for number in range(2, 5):
        await until(partial(has_begun, number))
        await asyncio.sleep(0.05)  # the others would have begun by now
        assert len(starts_of_names(starts)) == number
        may_end.setdefault(starts_of_names(starts)[-1], asyncio.Event()).set()
    for name in keys:
        may_end.setdefault(f"{name} again", asyncio.Event()).set()
    for handle in handles.values():
        await handle.result(timeout=WITHIN_S)
        assert (await handle.get()).crashes == 0


def starts_of_names(starts: list[str]) -> list[str]:
    return [name for name in starts if "again" not in name]


async def test_no_run_is_lost_while_workers_come_and_go(flow: RedisFlow, crew: Crew) -> None:
    async def work() -> int:
        crew.journal.body_starts()
        await asyncio.sleep(0.001)
        return 1

    @flow.define_workflow("flowing")
    async def flowing(step: Step) -> int:
        return sum(await step.gather(step.run("a", work), step.run("b", work))) + await step.run("c", work)

    crew.know(flowing.definition)
    first, _ = await crew.hire(concurrency=20)
    second, _ = await crew.hire(concurrency=20)
    handles = await asyncio.gather(*(flowing.run() for _ in range(500)))
    for _ in range(4):
        await asyncio.sleep(0.05)  # they work for a moment between two changes
        await first.stop(grace=0)
        first, _ = await crew.hire(concurrency=20)
        await second.stop(grace="20ms")
        second, _ = await crew.hire(concurrency=20)
    results = await asyncio.gather(*(handle.result(timeout=30) for handle in handles))
    assert results == [3] * 500
    # A hand-back repeats bodies that were running, and nothing else.
    assert len({key for key, _ in crew.journal.starts}) == 1500


async def test_consumers_do_not_pile_up(flow: RedisFlow, crew: Crew, raw: Raw) -> None:
    async def work() -> None:
        crew.journal.body_starts()

    @flow.define_workflow("short")
    async def short(step: Step) -> None:
        await step.run("work", work)

    crew.know(short.definition)

    async def live(number: int) -> None:
        handle = await short.run()
        # Every tenth is killed while it looks around, and says no good-bye.
        fault = {"fault": Fault.AFTER, "at": 15} if number % 10 == 0 else {}
        worker, backend = await crew.hire(**fault)  # type: ignore[arg-type]  # a dict of mixed options
        ended = asyncio.ensure_future(handle.result(timeout=20))
        stopped = asyncio.ensure_future(backend.stopped.wait())
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        await crew.dismiss(worker)
        ending.append(ended)

    ending: list[asyncio.Future[None]] = []
    for first in range(0, 200, 10):
        await asyncio.gather(*(live(number) for number in range(first, first + 10)))
    crew.age()
    _, last = await crew.hire()
    await crew.reclaim(last.real)
    await asyncio.gather(*ending)
    await last.real.sweep_workers(0, "default")
    for lane in "w0":
        key = f"rf:{{{crew.namespace}:0}}:q:default:{lane}"
        if raw("EXISTS", key):
            assert len(raw("XINFO", "CONSUMERS", key, "workers")) <= 1


async def test_eight_promoters_bring_each_due_run_back_once(flow: RedisFlow, raw: Raw, valkey_url: str) -> None:
    @flow.define_workflow("due")
    async def due(step: Step) -> None: ...

    await asyncio.gather(*(due.run(available_at="50ms") for _ in range(2000)))
    await asyncio.sleep(0.1)  # until all are due
    backends = [RedisBackend(valkey_url, namespace=flow.namespace) for _ in range(8)]
    await asyncio.gather(*(backend.open() for backend in backends))

    async def promote(backend: Backend) -> int:
        total = 0
        while (woken := (await backend.wake_runs(0, 50))[0]) > 0:
            total += woken
        return total

    assert sum(await asyncio.gather(*map(promote, backends))) == 2000
    assert raw("XLEN", f"rf:{{{flow.namespace}:0}}:q:default:0") == 2000
    await asyncio.gather(*(backend.close() for backend in backends))


async def test_two_thousand_timers_fire_once_each_under_four_watchers(flow: RedisFlow, crew: Crew) -> None:
    async def work() -> None:
        crew.journal.body_starts()

    @flow.define_workflow("timer")
    async def timer(step: Step) -> None:
        await step.sleep("nap", "600ms")
        await step.run("work", work)

    crew.know(timer.definition)
    for _ in range(4):
        await crew.hire(concurrency=100)
    handles = await asyncio.gather(*(timer.run() for _ in range(2000)))
    await asyncio.gather(*(handle.result(timeout=40) for handle in handles))
    starts = Counter(key for key, _ in crew.journal.starts)
    assert len(starts) == 2000
    assert set(starts.values()) == {1}


async def test_a_sleep_and_a_body_of_many_leases_are_one_execution_each(flow: RedisFlow, crew: Crew) -> None:
    async def long_body() -> None:
        crew.journal.body_starts()
        await asyncio.sleep(4)  # eight leases: the renewals are what is tested

    async def short_body() -> None:
        crew.journal.body_starts()

    @flow.define_workflow("many-leases")
    async def many_leases(step: Step) -> None:
        await step.sleep("nap", "5s")
        await step.run("after", short_body)

    @flow.define_workflow("long-body")
    async def only_body(step: Step) -> None:
        await step.run("long", long_body)

    crew.know(many_leases.definition)
    crew.know(only_body.definition)
    await crew.hire(lease="500ms")
    await crew.hire(lease="500ms")
    slept, worked = await many_leases.run(), await only_body.run()
    await slept.result(timeout=20)
    await worked.result(timeout=20)
    assert (await slept.get()).claims == 2
    assert (await worked.get()).claims == 1
    assert len(crew.journal.starts) == 2


async def test_a_history_of_ten_thousand_steps_survives_a_change_of_workers(flow: RedisFlow, crew: Crew) -> None:
    half = asyncio.Event()

    async def add(x: int) -> int:
        crew.journal.body_starts_unchecked()
        if len(crew.journal.starts) == 5000:
            half.set()
        return x + 1

    @flow.define_workflow("long")
    async def long(step: Step) -> int:
        total = 0
        for _ in range(10_000):
            total = await step.run("add", add, total)
        return total

    crew.know(long.definition)
    first, _ = await crew.hire()
    handle = await long.run()
    async with asyncio.timeout(60):
        await half.wait()
    await first.stop(grace=0)
    await crew.hire()
    assert await handle.result(timeout=60) == 10_000
    assert 10_000 <= len(crew.journal.starts) <= 10_001


async def test_a_full_claim_is_followed_by_the_next_before_its_runs_start(flow: RedisFlow, crew: Crew) -> None:
    @flow.define_workflow("short")
    async def short(number: int, step: Step) -> int:
        return number

    crew.know(short.definition)
    handles = await short.run_many(range(120))
    _, backend = await crew.hire(concurrency=100)
    assert [await handle.result(timeout=WITHIN_S) for handle in handles] == list(range(120))
    moves = [call for call in backend.calls if call in {"claim_runs", "finish_run"}]
    # 50 at a time, and a worker has 100 places: the third claim waits until runs have ended.
    assert moves[:3] == ["claim_runs", "claim_runs", "finish_run"]
    assert moves.count("finish_run") == 120
