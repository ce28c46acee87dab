"""Deadlines, delayed starts, idempotency keys and cancelling."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from examples import deadlines
from redisflow import (
    DeadlineExceeded,
    IdempotencyConflict,
    RedisFlow,
    RetryPolicy,
    Step,
    StepError,
    StepOptions,
    WorkflowCanceled,
)
from tests.stories.world import PUNCTUAL, WITHIN_S, adopt, at_best, eventually, until

pytestmark = pytest.mark.usefixtures("no_key_left")


class Body:
    """A body that runs until it is cancelled, and notes both."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self) -> str:
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return "never"


@pytest.fixture
async def body() -> Body:
    return Body()


def define_endless(flow: RedisFlow, body: Body):
    @flow.define_workflow("endless")
    async def endless(step: Step) -> str:
        try:
            return await step.run("endless", body)
        except StepError:
            return "caught"

    return endless


# -- deadlines --------------------------------------------------------------------------------------------------------


async def test_a_run_must_finish_in_an_hour(flow):
    workflow = adopt(flow, deadlines.render_film)
    async with flow.new_worker(lease="30s"):
        handle = await workflow.run(0.0, deadline_at="1h")
        assert await handle.result(timeout="1m") == "rendered for 0.0 s"
        run = await handle.get()
        assert run.deadline_at - run.created_at == timedelta(hours=1)
        instant = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
        other = await workflow.run(0.0, deadline_at=instant)
        assert (await other.get()).deadline_at == instant


async def test_a_deadline_ends_a_pending_run(flow):
    workflow = adopt(flow, deadlines.render_film)
    handle = await workflow.run(0.0, queue="nobody-serves-this", deadline_at="100ms")
    async with flow.new_worker(lease="30s"):
        with pytest.raises(DeadlineExceeded):
            await handle.result(timeout="1m")
    run = await handle.get()
    assert (run.status, run.claims) == ("failed", 0)


async def test_a_deadline_ends_a_sleeping_run(flow, clock):
    workflow = adopt(flow, deadlines.remind)
    async with flow.new_worker():
        handle = await workflow.run("water", deadline_at="1s")
        with pytest.raises(DeadlineExceeded):
            await handle.result(timeout="1m")
    run = await handle.get()
    assert run.steps[0].kind == "sleep", "it had begun"
    assert run.finished_at == run.deadline_at


async def test_a_deadline_ends_a_running_run_and_cancels_its_body(flow, body, clock):
    endless = define_endless(flow, body)
    # So long a lease that no heartbeat comes in time to tell the worker.
    async with flow.new_worker(lease="1h"):
        handle = await endless.run(deadline_at="30d")
        await body.began.wait()
        await clock.advance("30d", settle=False)
        with pytest.raises(DeadlineExceeded):
            await handle.result(timeout="1m")
        await asyncio.wait_for(body.cancelled.wait(), WITHIN_S)
    run = await handle.get()
    assert run.error is not None
    assert run.error.error_type == "DeadlineExceeded"
    assert run.finished_at == run.deadline_at


async def test_a_deadline_is_late_by_milliseconds(flow, body):
    endless = define_endless(flow, body)

    async def lateness():
        handle = await endless.run(deadline_at="200ms")
        with pytest.raises(DeadlineExceeded):
            await handle.result(timeout="1m")
        run = await handle.get()
        return run.finished_at - run.deadline_at

    async with flow.new_worker(lease="30s"):
        assert timedelta() <= await at_best(lateness, PUNCTUAL) < PUNCTUAL


async def test_a_deadline_ends_a_run_that_waits_for_a_retry(flow, clock):
    async def broken() -> None:
        raise ConnectionError

    @flow.define_workflow("retrying")
    async def retrying(step: Step) -> None:
        await step.run(StepOptions("broken", retry=RetryPolicy(initial_interval="1m")), broken)

    async with flow.new_worker():
        handle = await retrying.run(deadline_at="30s")
        with pytest.raises(DeadlineExceeded):
            await handle.result(timeout="1m")
    assert (await handle.get()).steps[0].attempt == 1, "it had begun"


# -- delayed start ----------------------------------------------------------------------------------------------------


async def test_a_delayed_run_starts_when_it_is_due_and_not_before(flow):
    workflow = adopt(flow, deadlines.render_film)
    tomorrow = await (await workflow.run(0.0, available_at="24h")).get()
    assert (tomorrow.status, tomorrow.waiting_for) == ("waiting", "start")
    assert tomorrow.available_at - tomorrow.created_at == timedelta(hours=24)

    async def lateness():
        handle = await workflow.run(0.0, available_at="300ms")
        await handle.result(timeout="1m")
        run = await handle.get()
        assert run.started_at >= run.available_at, "never early"
        return run.started_at - run.available_at

    async with flow.new_worker(lease="30s"):
        assert await at_best(lateness, PUNCTUAL) < PUNCTUAL
    assert (await flow.get_run(tomorrow.id)).status == "waiting"


async def test_a_run_that_was_due_in_the_past_starts_at_once(flow):
    workflow = adopt(flow, deadlines.render_film)
    async with flow.new_worker(lease="30s"):
        handle = await workflow.run(0.0, available_at=datetime.now(UTC) - timedelta(days=1))
        await handle.result(timeout="1m")


# -- idempotency keys -------------------------------------------------------------------------------------------------


async def test_the_same_key_gives_the_same_run_and_another_input_is_refused(flow):
    workflow = adopt(flow, deadlines.render_film)
    first = await workflow.run(0.0, idempotency_key="film-1 {any} text")
    again = await workflow.run(0.0, idempotency_key="film-1 {any} text")
    assert (first.id, first.workflow_run.existing) == (again.id, False)
    assert again.workflow_run.existing
    with pytest.raises(IdempotencyConflict, match=first.id) as conflict:
        await workflow.run(1.0, idempotency_key="film-1 {any} text")
    assert conflict.value.run_id == first.id
    async with flow.new_worker(lease="30s"):
        assert await again.result(timeout="1m") == await first.result(timeout="1m")
    assert (await workflow.run(0.0, idempotency_key="film-1 {any} text")).id == first.id, "after its end, too"


async def test_a_hundred_callers_with_one_key_start_one_run(flow):
    workflow = adopt(flow, deadlines.render_film)
    handles = await asyncio.gather(*(workflow.run(0.0, idempotency_key="once") for _ in range(100)))
    assert len({handle.id for handle in handles}) == 1
    assert sum(not handle.workflow_run.existing for handle in handles) == 1


async def test_a_key_is_free_again_when_its_time_is_over(flow):
    workflow = adopt(flow, deadlines.render_film)
    first = await workflow.run(0.0, idempotency_key="short", idempotency_ttl="50ms")

    async def freed() -> bool:
        again = await workflow.run(0.0, idempotency_key="short", idempotency_ttl="50ms")
        return bool(again.id != first.id)

    await eventually(freed)


# -- cancel -----------------------------------------------------------------------------------------------------------


async def test_cancel_a_pending_run(flow):
    workflow = adopt(flow, deadlines.render_film)
    handle = await workflow.run(0.0)
    assert await handle.cancel()
    async with flow.new_worker(lease="30s"):
        with pytest.raises(WorkflowCanceled):
            await handle.result(timeout="1m")
        assert await (await workflow.run(0.0)).result(timeout="1m")
    run = await handle.get()
    assert (run.status, run.steps) == ("canceled", ())


async def test_cancel_a_waiting_run(flow):
    workflow = adopt(flow, deadlines.remind)
    async with flow.new_worker(lease="30s"):
        handle = await workflow.run("water")
        await until(flow, handle.id, lambda run: run.waiting_for == "timer")
        assert await flow.cancel_workflow_run(handle.id)
        assert await flow.cancel_workflow_run(handle.id), "as often as one likes"
        with pytest.raises(WorkflowCanceled):
            await handle.result(timeout="1m")


async def test_cancel_a_running_run_and_its_body_is_cancelled_at_once(flow, body):
    endless = define_endless(flow, body)
    # So long a lease that no heartbeat comes in time to tell the worker.
    async with flow.new_worker(lease="1h"):
        handle = await endless.run()
        await body.began.wait()
        assert await handle.cancel()
        await asyncio.wait_for(body.cancelled.wait(), WITHIN_S)
    run = await handle.get()
    assert run.status == "canceled"
    assert all(each.status != "succeeded" for each in run.steps)


@pytest.mark.parametrize("end", ["cancel", "deadline"])
async def test_after_a_cancel_or_a_deadline_no_other_step_begins(flow, end):
    began: asyncio.Event = asyncio.Event()
    later: list[int] = []

    async def endless() -> None:
        began.set()
        await asyncio.Event().wait()

    @flow.define_workflow("persistent")
    async def workflow(step: Step) -> None:
        try:
            await step.run("endless", endless)
        finally:  # it wants to go on, whatever it was
            await step.run("later", later.append, 1)

    async with flow.new_worker(lease="30s"):
        handle = await workflow.run(deadline_at="500ms" if end == "deadline" else None)
        await began.wait()
        if end == "cancel":
            assert await handle.cancel()
        run = await until(flow, handle.id, lambda run: run.is_finished)
        # The worker has heard of it, and is at work for others.
        began.clear()
        other = await workflow.run()
        await began.wait()
        assert await other.cancel()  # else it would be given time to end when its worker stops
    assert run.status == ("canceled" if end == "cancel" else "failed")
    assert later == []


async def test_what_a_cancelled_body_returns_is_not_recorded(flow):
    began, ended = asyncio.Event(), asyncio.Event()

    async def stubborn() -> str:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.set()
            return "returned all the same"
        return "never"

    @flow.define_workflow("stubborn")
    async def workflow(step: Step) -> str:
        return await step.run("stubborn", stubborn)

    async with flow.new_worker(lease="30s"):
        handle = await workflow.run()
        await began.wait()
        assert await handle.cancel()
        await asyncio.wait_for(ended.wait(), WITHIN_S)
    run = await handle.get()
    assert (run.status, run.output) == ("canceled", None)
    assert all(each.output is None for each in run.steps)


async def test_the_caller_learns_who_won(flow):
    workflow = adopt(flow, deadlines.render_film)
    async with flow.new_worker(lease="30s"):
        handle = await workflow.run(0.0)
        await handle.result(timeout="1m")
    assert not await handle.cancel()
    assert (await handle.get()).status == "succeeded"


async def test_in_a_race_of_cancel_and_end_there_is_one_winner(flow):
    workflow = adopt(flow, deadlines.render_film)
    async with flow.new_worker(lease="30s"):
        handles = await workflow.run_many([0.0] * 60)
        won = await asyncio.gather(*(handle.cancel() for handle in handles))
        ends = await asyncio.gather(*(handle.result(timeout="1m") for handle in handles), return_exceptions=True)
    assert [isinstance(end, WorkflowCanceled) for end in ends] == won
