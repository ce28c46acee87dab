"""A verdict on a run that has something to undo: fixed at once, given with the next claim, carried out by its end."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from redisflow import codec
from redisflow.contract import Claim, Verdict
from redisflow.durations import When
from redisflow.failure import Failure
from redisflow.runs import Ending
from tests.conformance.world import T0, World, extend


async def compensable(world: World, **options: Any) -> Claim:
    """A run that is held and has something to undo."""
    world.at(T0)
    claim = await world.running(input=codec.encode(None), **options)
    extension = extend(claim.mark)
    extension.effects = ["compensable"]
    assert await world.backend.commit_run(claim.hold, extension, renew_for=None, forget_crashes=False) is Verdict.OK
    return claim


async def test_cancel_gives_the_run_back_with_its_verdict_and_a_second_one_changes_nothing(world: World):
    claim = await compensable(world, deadline=When(10_000, relative=True))
    run_id = claim.hold.run_id
    assert await world.twice(lambda: world.backend.cancel_run(run_id)) == "canceling"
    assert await world.commit(claim) is Verdict.FENCED
    world.later(20_000)
    later = await world.claim("w2")
    assert later.ending == Ending("canceled", "canceled", T0 + 10_000)
    assert later.deadline_at_ms == T0 + 10_000
    run = await world.backend.get_workflow_run(run_id)
    assert run is not None
    assert (run.status, run.ending) == ("running", "canceled")
    assert await world.unchanged(lambda: world.backend.cancel_run(run_id)) == "canceling"


@pytest.mark.parametrize("failure", [None, Failure("Canceled", "not undone", "")])
@pytest.mark.parametrize(("status", "cause"), [("canceled", "canceled"), ("failed", "deadline")])
async def test_its_end_is_the_verdict(world: World, status: str, cause: str, failure: Failure | None):
    claim = await compensable(world, deadline=When(10_000, relative=True))
    run_id = claim.hold.run_id
    if cause == "deadline":
        world.later(10_000)
        await world.backend.wake_runs(0, 100)
        assert await world.unchanged(lambda: world.backend.cancel_run(run_id)) == "failed"
    else:
        await world.backend.cancel_run(run_id)
    later = await world.claim("w2")
    extension = dataclasses.replace(extend(later.mark), effects=["verdict", cause])
    payload = b"" if failure is None else codec.encode(failure.to_wire())

    async def finish() -> Verdict:
        return await world.backend.finish_run(later.hold, extension, status=status, payload=payload)

    async with world.backend.watch_end(run_id) as ticks:
        assert await world.status(run_id) == "running"
        assert await world.twice(finish) is Verdict.OK
        assert await anext(ticks) is None
    end = await world.backend.get_end(run_id)
    assert end is not None
    assert (end.status, end.cause, end.error) == (status, cause, payload)
    run = await world.backend.get_workflow_run(run_id)
    assert run is not None
    told = None if run.error is None else run.error.error_type
    assert told == (failure.error_type if failure else "DeadlineExceeded" if cause == "deadline" else None)
    assert world.raw("ZCARD", f"{world.prefix}delayed") == 0
