"""Retries: a step is tried again under its policy before its error reaches the workflow."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta

import pytest

from examples import failures
from redisflow import (
    NonRetryableError,
    RetryAfter,
    RetryPolicy,
    Step,
    StepError,
    StepOptions,
    StepTimeout,
    WorkflowFailed,
)
from tests.stories.world import QUICK, adopt, until


async def test_a_resilient_api_call(flow):
    workflow = adopt(flow, failures.convert)
    async with flow.new_worker(lease="30s"):
        handle = await workflow.run("USD")
        assert await handle.result(timeout="1m") == 125.0
        run = await handle.get()
        assert run.steps[0].attempt == 3
        with pytest.raises(WorkflowFailed, match="no such currency"):
            await (await workflow.run("DBL")).result(timeout="1m")


async def test_completed_steps_answer_from_the_record_while_a_later_one_is_retried(flow):
    bodies: list[str] = []

    async def steady() -> str:
        bodies.append("steady")
        return "steady"

    async def flaky(step: Step) -> str:
        bodies.append(f"flaky {step.attempt}")
        if step.attempt < 3:
            raise ConnectionError
        return "flaky"

    @flow.define_workflow("again")
    async def again(step: Step) -> str:
        first = await step.run("steady", steady)
        return first + await step.run(StepOptions("flaky", retry=QUICK), flaky, step)

    async with flow.new_worker(lease="30s"):
        assert await (await again.run()).result(timeout="1m") == "steadyflaky"
    assert bodies == ["steady", "flaky 1", "flaky 2", "flaky 3"]


async def test_another_worker_continues_a_retry_and_its_next_time_is_visible(flow, clock):
    attempts: list[int] = []

    async def flaky(step: Step) -> str:
        attempts.append(step.attempt)
        if step.attempt == 1:
            raise ConnectionError("no route")
        return "ok"

    @flow.define_workflow("handed-over")
    async def handed_over(step: Step) -> str:
        options = StepOptions("flaky", retry=RetryPolicy(initial_interval="90s", jitter=0))
        return await step.run(options, flaky, step)

    async with flow.new_worker():
        handle = await handed_over.run()
        await clock.advance("1m")
        run = await handle.get()
    step = run.steps[0]
    assert (run.status, step.status, step.attempt) == ("waiting", "waiting", 1)
    assert step.error is not None
    assert (step.error.error_type, step.error.message) == ("ConnectionError", "no route")
    assert step.next_attempt_at is not None
    assert step.next_attempt_at == run.started_at + timedelta(seconds=90)

    async with flow.new_worker():
        assert await handle.result(timeout="1m") == "ok"
    done = (await handle.get()).steps[0]
    assert attempts == [1, 2]
    assert done.started_at == step.next_attempt_at


async def test_when_the_policy_is_spent_the_error_is_raised_as_data(flow):
    attempts: list[int] = []

    async def broken(step: Step) -> None:
        attempts.append(step.attempt)
        raise ValueError(f"attempt {step.attempt}")

    @flow.define_workflow("spent")
    async def spent(step: Step) -> list[object]:
        try:
            await step.run(StepOptions("broken", retry=QUICK), broken, step)
        except StepError as error:
            return [error.step, error.attempts, error.error_type, error.message, error.__cause__, error.traceback]
        return []

    async with flow.new_worker(lease="30s"):
        step, attempts_said, error_type, message, cause, trace = await (await spent.run()).result(timeout="1m")
    assert attempts == [1, 2, 3, 4]
    assert (step, attempts_said, error_type, message, cause) == ("broken", 4, "ValueError", "attempt 4", None)
    assert "in broken" in str(trace)


async def test_a_failed_step_that_nobody_catches_fails_the_run(flow):
    async def broken() -> None:
        raise NonRetryableError("broken for good")

    @flow.define_workflow("uncaught")
    async def uncaught(step: Step) -> None:
        await step.run("broken", broken)

    async with flow.new_worker(lease="30s"):
        handle = await uncaught.run()
        with pytest.raises(WorkflowFailed) as failed:
            await handle.result(timeout="1m")
    assert failed.value.failure.error_type == "redisflow.errors.StepError"
    assert "broken for good" in failed.value.failure.message
    run = await handle.get()
    assert (run.status, run.steps[0].status, run.steps[0].attempt) == ("failed", "failed", 1)


async def test_errors_may_be_declared_as_final(flow):
    attempts: list[int] = []

    async def broken() -> None:
        attempts.append(1)
        raise KeyError("no such user")

    @flow.define_workflow("final")
    async def final(step: Step) -> None:
        await step.run(StepOptions("broken", retry=RetryPolicy(non_retryable=(LookupError,))), broken)

    async with flow.new_worker(lease="30s"):
        with pytest.raises(WorkflowFailed, match="no such user"):
            await (await final.run()).result(timeout="1m")
    assert attempts == [1]


async def test_a_step_chooses_with_retry_after_when_it_is_tried_again(flow, clock):
    began: list[datetime] = []

    async def limited(step: Step) -> str:
        began.append(clock.now)
        if step.attempt == 1:
            raise RetryAfter("1h")
        return "ok"

    @flow.define_workflow("retry-after")
    async def retry_after(step: Step) -> str:
        return await step.run(StepOptions("limited", retry=RetryPolicy(initial_interval="90s")), limited, step)

    async with flow.new_worker():
        assert await (await retry_after.run()).result(timeout="1m") == "ok"
    assert began[1] - began[0] == timedelta(hours=1), "and not in 90 s, as its policy says"


async def test_jitter_spreads_retries(valkey_flow):
    async def broken() -> None:
        raise ConnectionError

    @valkey_flow.define_workflow("jitter")
    async def jitter(step: Step) -> None:
        await step.run(StepOptions("broken", retry=RetryPolicy(initial_interval="10s", jitter=0.5)), broken)

    async with valkey_flow.new_worker(lease="30s"):
        handles = await jitter.run_many([None] * 20)
        runs = [await until(valkey_flow, handle.id, lambda run: run.waiting_for == "retry") for handle in handles]
    waits_s = [(run.steps[0].next_attempt_at - run.steps[0].started_at).total_seconds() for run in runs]
    assert all(5 <= wait_s <= 15.5 for wait_s in waits_s)
    assert max(waits_s) - min(waits_s) > 1


async def test_an_async_step_that_takes_too_long_is_cancelled_and_tried_again(flow):
    events: list[str] = []

    async def slow(step: Step) -> str:
        if step.attempt == 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                events.append("cancelled")
                raise
        return "ok"

    @flow.define_workflow("slow")
    async def slow_workflow(step: Step) -> str:
        return await step.run(StepOptions("slow", retry=QUICK, timeout="50ms"), slow, step)

    async with flow.new_worker(lease="30s"):
        assert await (await slow_workflow.run()).result(timeout="1m") == "ok"
    assert events == ["cancelled"]


async def test_a_sync_step_that_takes_too_long_is_tried_again_when_it_has_ended(flow):
    running: list[int] = []
    most: list[int] = []

    def slow(step: Step) -> str:
        running.append(1)
        most.append(len(running))
        if step.attempt == 1:
            time.sleep(1.0)
        running.pop()
        return "ok"

    @flow.define_workflow("slow-sync")
    async def slow_workflow(step: Step) -> str:
        return await step.run(StepOptions("slow", retry=QUICK, timeout="500ms"), slow, step)

    async with flow.new_worker(lease="30s"):
        handle = await slow_workflow.run()
        assert await handle.result(timeout="1m") == "ok"
    assert most == [1, 1], "a thread cannot be stopped, so its retry waits for it"


async def test_a_step_whose_last_attempt_took_too_long_raises_step_timeout(flow):
    @flow.define_workflow("too-slow")
    async def too_slow(step: Step) -> str:
        options = StepOptions("slow", retry=RetryPolicy(maximum_attempts=1), timeout="50ms")
        try:
            await step.run(options, asyncio.Event().wait)
        except StepTimeout as error:
            return error.message
        return ""

    async with flow.new_worker(lease="30s"):
        assert "longer than its timeout of 50ms" in await (await too_slow.run()).result(timeout="1m")


async def test_a_workflow_has_no_retry_policy_unless_it_is_given_one(flow):
    passes: list[int] = []

    @flow.define_workflow("once")
    async def once(step: Step) -> None:
        passes.append(step.info.attempt)
        raise ConnectionError("from workflow code")

    async with flow.new_worker(lease="30s"):
        with pytest.raises(WorkflowFailed, match="from workflow code"):
            await (await once.run()).result(timeout="1m")
    assert passes == [1]


async def test_with_a_policy_of_its_own_a_workflow_is_tried_again_and_keeps_what_succeeded_before(flow):
    bodies: list[str] = []

    async def before() -> str:
        bodies.append("before")
        return "before"

    async def failing(attempt: int, step: Step) -> str:
        bodies.append(step.idempotency_key.partition(":")[2])
        if attempt == 1:
            raise NonRetryableError("the first time")
        return "ok"

    @flow.define_workflow("whole", retry=QUICK)
    async def whole(step: Step) -> list[object]:
        await step.run("before", before)
        outcome = await step.run("failing", failing, step.info.attempt, step)
        return [outcome, step.info.attempt]

    async with flow.new_worker(lease="30s"):
        handle = await whole.run()
        assert await handle.result(timeout="1m") == ["ok", 2]
    assert bodies[0] == "before"
    assert bodies.count("before") == 1
    assert bodies[1] != bodies[2], "the second workflow attempt asks the outside world anew"
    assert (await handle.get()).attempt == 2


async def test_a_workflow_stops_its_own_retries_with_non_retryable_error(flow):
    passes: list[int] = []

    @flow.define_workflow("stop", retry=QUICK)
    async def stop(step: Step) -> None:
        passes.append(step.info.attempt)
        if step.info.attempt == 2:
            raise NonRetryableError("enough")
        raise ConnectionError

    async with flow.new_worker(lease="30s"):
        with pytest.raises(WorkflowFailed, match="enough"):
            await (await stop.run()).result(timeout="1m")
    assert passes == [1, 2]


async def test_a_sleep_and_a_lost_worker_spend_no_attempt(flow):
    seen: list[int] = []
    blocked = asyncio.Event()

    async def attempt(step: Step) -> int:
        seen.append(step.attempt)
        if len(seen) == 1:
            blocked.set()
            await asyncio.Event().wait()
        return step.attempt

    @flow.define_workflow("unspent")
    async def unspent(step: Step) -> int:
        await step.sleep("nap", "20ms")
        return await step.run("attempt", attempt, step)

    worker = flow.new_worker(lease="30s", grace=0)
    await worker.start()
    handle = await unspent.run()
    await blocked.wait()
    await worker.stop()
    async with flow.new_worker(lease="30s"):
        assert await handle.result(timeout="1m") == 1
    assert seen == [1, 1]
