"""A workflow with a retry policy of its own: what stays recorded, what runs afresh, and under which keys."""

from __future__ import annotations

import asyncio
from typing import Any

from redisflow.authoring.options import StepOptions
from redisflow.authoring.step import Step
from redisflow.engine.commands import Park
from redisflow.errors import NonRetryableError, StepError
from redisflow.records import WorkflowAttemptFailed
from redisflow.retry import NO_RETRY, RetryPolicy
from redisflow.run_views import view_steps
from tests.engine.director import Director
from tests.engine.stage import Stage, define, saw

POLICY = RetryPolicy(initial_interval=10, backoff_coefficient=2, maximum_attempts=3, jitter=0)
world: dict[str, Any] = {}


def echo(value: Any = None) -> Any:
    return value


def fail_until(name: str, good: int) -> str:
    world[name] = world.get(name, 0) + 1
    if world[name] < good:
        raise ValueError(f"{name} failed {world[name]} time(s)")
    return f"{name} after {world[name]}"


def flaky(step: Step, name: str, good: int) -> Any:
    return step.run(StepOptions(name, retry=NO_RETRY), fail_until, name, good)


def keys(stage: Stage) -> list[str]:
    return [start.idempotency_key.removeprefix("run-1:") for start in stage.starts]


def workflow_failures(stage: Stage) -> list[WorkflowAttemptFailed]:
    return [record for record in stage.store.history() if isinstance(record, WorkflowAttemptFailed)]


def test_the_failed_step_runs_afresh_under_a_new_key_and_what_came_before_it_stays():
    world.clear()

    async def workflow(step: Step) -> list[Any]:
        saw(step.info.attempt)
        return [await step.run("before", echo, 1), await flaky(step, "charge", 3), await step.run("after", echo, 2)]

    stage = Stage(define(workflow, retry=POLICY)).play()
    assert stage.output == [1, "charge after 3", 2]
    assert keys(stage) == ["before", "charge", "charge#01", "charge#02", "after#02"]
    assert [one.saw for one in stage.passes] == [[1], [2], [3]]
    parks = [commit.then for commit in stage.commits if isinstance(commit.then, Park)]
    failures = workflow_failures(stage)
    assert [(park.reason, park.due_at_ms) for park in parks] == [("retry", failure.due_at_ms) for failure in failures]
    assert [failure.due_at_ms - failure.at_ms for failure in failures] == [10_000, 20_000]


def test_without_a_policy_a_failure_is_final():
    world.clear()

    async def workflow(step: Step) -> Any:
        return await flaky(step, "charge", 2)

    stage = Stage(define(workflow)).play()
    assert stage.store.status == "failed"
    assert stage.counts == {"charge": 1}


def test_when_the_policy_is_spent_the_run_fails():
    world.clear()

    async def workflow(step: Step) -> Any:
        return await flaky(step, "charge", 9)

    stage = Stage(define(workflow, retry=POLICY)).play()
    assert stage.store.status == "failed"
    assert stage.counts == {"charge": 3}


def test_siblings_that_were_asked_for_before_the_failure_keep_their_results_and_their_keys():
    world.clear()

    class FailureFirst(Director):
        """The failing step ends before one sibling and after the other."""

        def __init__(self) -> None:
            super().__init__(lambda running: next(key for key in ("quick", "charge", "slow") if key in running))

    async def workflow(step: Step) -> Any:
        return await asyncio.gather(
            step.run("quick", echo, 1), flaky(step, "charge", 2), step.run("slow", echo, 3), step.sleep("pause", 1)
        )

    stage = Stage(define(workflow, retry=POLICY), director=FailureFirst()).play()
    assert stage.output == [1, "charge after 2", 3, None]
    # The slow one was running when the attempt ended: it runs again, and the outside world can tell that it is it.
    assert keys(stage) == ["quick", "charge", "slow", "charge#01", "slow"]
    assert stage.canceled == ["slow"]


def test_what_was_asked_for_after_the_failure_runs_afresh_even_if_it_had_succeeded():
    world.clear()

    async def workflow(step: Step) -> Any:
        try:
            return await flaky(step, "charge", 2)
        except StepError as error:
            await step.run("note the failure", echo, 1)
            raise RuntimeError("the order failed") from error
        finally:
            await step.run("close", echo, 2)

    stage = Stage(define(workflow, retry=POLICY)).play()
    assert stage.output == "charge after 2"
    assert keys(stage) == ["charge", "note the failure", "close", "charge#01", "close#01"]


def test_a_failure_of_workflow_code_alone_leaves_every_record():
    async def workflow(step: Step) -> Any:
        await step.run("before", echo, 1)
        if step.info.attempt < 3:
            raise RuntimeError("outside trouble")
        return await step.run("after", echo, 2)

    stage = Stage(define(workflow, retry=POLICY)).play()
    assert stage.output == 2
    assert keys(stage) == ["before", "after"]
    assert [record.archived_from for record in workflow_failures(stage)] == [None, None]


def test_a_non_retryable_error_ends_the_attempts_of_a_workflow():
    world.clear()

    async def workflow(step: Step) -> Any:
        try:
            return await flaky(step, "charge", 2)
        except StepError:
            await step.run("refund", echo, 1)
            raise NonRetryableError("compensated") from None

    stage = Stage(define(workflow, retry=POLICY)).play()
    assert stage.store.status == "failed"
    assert stage.counts == {"charge": 1, "refund": 1}


def test_a_failure_in_a_task_group_counts_as_the_steps_failure():
    world.clear()

    async def workflow(step: Step) -> Any:
        async with asyncio.TaskGroup() as group:
            one = group.create_task(flaky(step, "charge", 2))
            group.create_task(step.run("other", echo, 1))
        return one.result()

    stage = Stage(define(workflow, retry=POLICY)).play()
    assert stage.output == "charge after 2"
    assert keys(stage) == ["charge", "other", "charge#01", "other"]


def test_waits_of_siblings_keep_their_due_times_over_a_workflow_attempt():
    world.clear()

    async def workflow(step: Step) -> Any:
        return await asyncio.gather(step.sleep("pause", "1h"), flaky(step, "charge", 2))

    stage = Stage(define(workflow, retry=POLICY)).play()
    assert stage.now_ms - (stage.store.started_at_ms or 0) == 3_600_000
    assert workflow_failures(stage) != []


def test_archived_steps_do_not_show():
    world.clear()

    async def workflow(step: Step) -> Any:
        try:
            return await flaky(step, "charge", 2)
        finally:
            if step.info.attempt == 1:
                await step.run("only the first time", echo, 1)

    stage = Stage(define(workflow, retry=POLICY)).play()
    assert [(step.key, step.status) for step in view_steps(stage.store.history(), [])] == [("charge", "succeeded")]


def test_the_clock_and_the_random_source_begin_anew_with_each_attempt_and_records_keep_their_values():
    world.clear()

    async def workflow(step: Step) -> Any:
        first = (step.now(), step.uuid())
        value = await step.run("before", echo, step.random.random())
        saw((first, value, step.now()))
        return await flaky(step, "charge", 3)

    stage = Stage(define(workflow, retry=POLICY)).play()
    one, *others = [one.saw for one in stage.passes]
    assert all(other == one for other in others)


def test_no_other_step_has_the_key_of_a_second_workflow_attempt():
    world.clear()

    async def workflow(step: Step) -> None:
        await asyncio.gather(*(step.run(name, echo) for name in ("a", "a", "a:1", "a#", "a#")))
        await flaky(step, "a", 3)

    stage = Stage(define(workflow, retry=POLICY)).play()
    assert stage.store.status == "succeeded"
    assert len(keys(stage)) == len(set(keys(stage))) == 8
