"""Worker processes whose wall clock is wrong, or jumps: what is due follows the server's clock."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import pytest

from redisflow import DeadlineExceeded, RedisFlow, define_workflow_spec
from tests.crash.processes import WITHIN_S, Processes, until

HOUR_S = 3600
SOON = timedelta(seconds=WITHIN_S)
"""Late by no more than a busy machine is; a clock that was believed would be wrong by an hour."""

CLOCKED = define_workflow_spec("clocked", output=tuple[list[float], list[float], list[float]])
JUMPING = define_workflow_spec("jumping", input=list[int], output=float)


def soon_after(instant: datetime | None, due: datetime | None) -> bool:
    """Not early, and late by far less than the wall clock is wrong."""
    assert instant is not None
    assert due is not None
    return timedelta() <= instant - due < SOON


@pytest.mark.parametrize("wrong_s", [HOUR_S, -HOUR_S])
async def test_a_worker_whose_wall_clock_is_an_hour_wrong_is_on_time(
    flow: RedisFlow, processes: Processes, wrong_s: int
) -> None:
    delayed = await flow.run_workflow(CLOCKED, available_at="1s")
    endless = await flow.run_workflow(define_workflow_spec("endless"), deadline_at="3s")
    processes.hire(1, wall_clock_s=wrong_s)
    (began_s, slept_s, tried_again_s), seen_s, wall_s = await delayed.result(timeout=WITHIN_S)
    assert all(abs(read_s - wrong_s - time.time()) < WITHIN_S for read_s in wall_s), "it is wrong there"
    run = await delayed.get()
    assert soon_after(run.started_at, run.available_at)
    assert run.claims == 3, "once for the sleep and once for the retry it was woken when it was due"
    assert 0.4 <= slept_s - began_s < WITHIN_S
    assert 0.4 <= tried_again_s - slept_s < WITHIN_S
    assert run.started_at is not None
    assert run.finished_at is not None
    for second in seen_s:
        assert run.started_at.timestamp() - 0.001 <= second <= run.finished_at.timestamp()
    for step in run.steps:
        assert step.finished_at is not None
        assert run.started_at <= step.finished_at <= run.finished_at
    with pytest.raises(DeadlineExceeded):
        await endless.result(timeout=WITHIN_S)
    ended = await endless.get()
    assert soon_after(ended.finished_at, ended.deadline_at)


async def test_a_dead_worker_of_another_hour_is_succeeded_after_its_lease_and_not_before(
    flow: RedisFlow, processes: Processes
) -> None:
    handle = await flow.run_workflow(define_workflow_spec("stopped", output=list[str]))
    processes.hire(1, wall_clock_s=HOUR_S)
    await until(lambda: processes.starts("hold-on"))
    (first,) = processes.workers
    processes.hire(1, wall_clock_s=-HOUR_S)
    first.kill()
    first.wait(10)
    assert await handle.result(timeout=WITHIN_S) == ["held on", "short", "short"]
    run = await handle.get()
    assert (run.claims, len(processes.starts("hold-on"))) == (2, 2)


@pytest.mark.parametrize("offsets_s", [[600, -600, 1], [-600, 600, 1]], ids=["forwards", "backwards"])
async def test_a_wall_clock_that_jumps_in_the_middle_of_a_lease_loses_no_run(
    flow: RedisFlow, processes: Processes, offsets_s: list[int]
) -> None:
    processes.hire(2, wall_clock_s=1)
    handle = await flow.run_workflow(JUMPING, offsets_s)
    jumped_s = await handle.result(timeout=WITHIN_S)
    assert abs(jumped_s - time.time()) < WITHIN_S, "the last jump was to the time of here, or nearly"
    run = await handle.get()
    assert (run.claims, run.crashes, len(processes.starts("jump"))) == (2, 0, 1), "once, and after the sleep"
    assert run.finished_at is not None
    assert run.finished_at - run.created_at < SOON
