from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from redisflow import codec
from redisflow.durations import When
from redisflow.run_id import new_run_id
from redisflow.run_views import Progress, encode_progress
from tests.conformance.world import T0, World

SOON = When(10_000, relative=True)


async def _pending(world: World, **options: Any) -> str:
    return await world.create(**options)


async def _running(world: World, **options: Any) -> str:
    return (await world.running(**options)).hold.run_id


async def _start(world: World, **options: Any) -> str:
    return await world.create(available=When(60_000, relative=True), **options)


async def _timer(world: World, **options: Any) -> str:
    claim = await world.running(**options)
    await world.park(claim, due_at_ms=T0 + 60_000)
    return claim.hold.run_id


async def _retry(world: World, **options: Any) -> str:
    claim = await world.running(**options)
    await world.park(claim, due_at_ms=T0 + 60_000, reason="retry")
    return claim.hold.run_id


async def _stranded(world: World, **options: Any) -> str:
    claim = await world.running(**options)
    await world.strand(claim)
    return claim.hold.run_id


async def _suspended(world: World, **options: Any) -> str:
    claim = await world.running(**options)
    await world.suspend(claim)
    return claim.hold.run_id


Make = Callable[..., Awaitable[str]]
UNFINISHED: dict[str, Make] = {
    "pending": _pending,
    "running": _running,
    "start": _start,
    "timer": _timer,
    "retry": _retry,
    "stranded": _stranded,
    "suspended": _suspended,
}
every_state = pytest.mark.parametrize("state", UNFINISHED)


def nothing_is_left_of(world: World, run_id: str) -> None:
    """Only its hash and one listing know a run that has ended."""
    assert world.raw("ZCARD", f"{world.prefix}delayed") == 0
    assert world.raw("ZCARD", f"{world.prefix}runs:order") == 0
    assert world.raw("ZCARD", f"{world.prefix}stuck:order") == 0
    for lane in "0w":
        assert world.pending(world.stream(lane)) == []
        assert world.raw("XLEN", world.stream(lane)) == 0
    for name in ("e", "d", "p", "z"):
        assert world.field(run_id, name) is None, name


@every_state
async def test_cancel_ends_a_run_whatever_it_is_doing(world: World, state: str):
    world.at(T0)
    run_id = await UNFINISHED[state](world)
    assert await world.twice(lambda: world.backend.cancel_run(run_id)) == "canceled"
    end = await world.backend.get_end(run_id)
    assert end is not None
    assert (end.status, end.output, end.error, end.cause) == ("canceled", None, None, "canceled")
    nothing_is_left_of(world, run_id)
    assert (await world.batch()).claims == []


async def test_cancel_comes_too_late_for_a_finished_run(world: World):
    claim = await world.running()
    await world.finish(claim)
    assert await world.unchanged(lambda: world.backend.cancel_run(claim.hold.run_id)) == "succeeded"


async def test_what_is_not_stored_cannot_be_canceled_or_read(world: World):
    run_id = new_run_id(0)
    assert await world.backend.cancel_run(run_id) is None
    assert await world.backend.get_end(run_id) is None
    assert await world.backend.get_workflow_run(run_id) is None
    assert world.keys() == [f"{world.prefix}meta"]


@every_state
async def test_a_deadline_ends_a_run_whatever_it_is_doing(world: World, state: str):
    world.at(T0)
    run_id = await UNFINISHED[state](world, deadline=SOON)
    world.later(9_999)
    await world.backend.wake_runs(0, 100)
    assert (await world.status(run_id)) in {"pending", "running", "waiting"}
    world.later(1)
    assert (await world.backend.wake_runs(0, 100))[0] == 1
    run = await world.backend.get_workflow_run(run_id)
    assert run is not None
    assert run.error is not None
    assert (run.status, run.error.error_type) == ("failed", "DeadlineExceeded")
    nothing_is_left_of(world, run_id)


async def test_a_claim_ends_what_is_past_its_deadline(world: World):
    world.at(T0)
    run_id = await world.create(deadline=SOON)
    world.raw("DEL", f"{world.prefix}delayed")
    world.later(10_000)
    assert (await world.batch()).claims == []
    assert await world.status(run_id) == "failed"


async def test_whoever_awaits_a_result_hears_of_each_end(world: World):
    for status, payload in [("succeeded", b"\x07"), ("failed", b"\x90"), ("succeeded", b"large" * 10_000)]:
        claim = await world.running()
        run_id = claim.hold.run_id
        async with world.backend.watch_end(run_id) as ticks:
            assert await world.status(run_id) == "running"
            await world.finish(claim, status=status, payload=payload)
            told = await asyncio.wait_for(anext(ticks), 5)
            end = await world.backend.get_end(run_id)
            assert end is not None
            assert (end.status, end.output or end.error) == (status, payload)
            # What is large is read by whoever wants it.
            assert told == (end if len(payload) < 100 else None)


async def test_many_may_await_the_same_result(world: World):
    claim = await world.running()
    other = await world.create()
    run_id = claim.hold.run_id
    entered = asyncio.Semaphore(0)

    async def hear() -> None:
        async with world.backend.watch_end(run_id) as ticks:
            assert await world.status(run_id) == "running"
            entered.release()
            await anext(ticks)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group, world.backend.watch_end(other) as quiet:
        for _ in range(20):
            group.create_task(hear())
        for _ in range(20):
            await entered.acquire()
        silent = asyncio.ensure_future(anext(quiet))
        await world.backend.cancel_run(run_id)
        await asyncio.sleep(0)
        assert not silent.done()
        silent.cancel()


async def test_a_worker_hears_of_each_run_that_is_taken_from_it(world: World):
    lost: asyncio.Queue[str] = asyncio.Queue()
    claims = [await world.running("w1") for _ in range(2)]
    foreign = await world.running("w2")
    async with world.backend.listen("w1", lost.put_nowait, lost.put_nowait):
        await _listening(world, "w1")
        await world.backend.cancel_run(foreign.hold.run_id)
        for claim in claims:
            await world.backend.cancel_run(claim.hold.run_id)
        heard = [await asyncio.wait_for(lost.get(), 5) for _ in claims]
    assert heard == [claim.hold.run_id for claim in claims]
    assert lost.empty()


async def _listening(world: World, worker: str) -> None:
    channel = f"{world.prefix}worker:{worker}"
    await world.until(lambda: world.raw("PUBSUB", "SHARDNUMSUB", channel)[1] > 0)


async def test_a_run_is_shown_with_what_it_is_doing(world: World):
    world.at(T0)
    claim = await world.running(input=codec.encode({"id": 7}), version="v1", queue="mail")
    body = Progress("charge", 0, 2, T0, {"done": 1})
    await world.backend.note_progress(claim.hold, encode_progress([body]))
    run = await world.backend.get_workflow_run(claim.hold.run_id)
    assert run is not None
    assert (run.id, run.status, run.queue, run.version, run.claims) == (claim.hold.run_id, "running", "mail", "v1", 1)
    assert (run.input, run.output, run.error) == ({"id": 7}, None, None)
    assert [(step.key, step.status, step.attempt, step.progress) for step in run.steps] == [
        ("charge", "running", 2, {"done": 1})
    ]


async def test_a_run_with_a_long_history_is_shown_too(world: World):
    from redisflow.records import Call, StepSucceeded, encode_record

    claim = await world.running(input=codec.encode(1))
    payload = codec.encode(b"." * 3_000)
    records = [
        encode_record(
            StepSucceeded(Call(f"s#{n}", n, -1), 1, claim.started_at_ms, claim.started_at_ms, payload),
            claim.started_at_ms,
        )
        for n in range(200)
    ]
    await world.finish(claim, *records, payload=codec.encode("done"))
    run = await world.backend.get_workflow_run(claim.hold.run_id)
    assert run is not None
    assert (run.output, len(run.steps)) == ("done", 200)
    assert run.steps[199].output == b"." * 3_000
