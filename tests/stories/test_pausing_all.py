"""Queues and workflows as a whole: paused, resumed, let go slowly; and bulks."""

from __future__ import annotations

from typing import Any

import pytest

from redisflow import BulkProgress, NotPaused, RedisFlow, RetryPolicy, RunStateConflict, Step, StepOptions
from redisflow.run_id import partition_of
from tests.stories.world import eventually, until

ONCE = RetryPolicy(maximum_attempts=1)


class Bank:
    """A workflow of one step, against a bank that can be away."""

    def __init__(self, flow: RedisFlow) -> None:
        self.is_away = False
        self.calls = 0

        async def transfer(number: int) -> int:
            self.calls += 1
            if self.is_away:
                raise ConnectionError("the bank is away")
            return number

        @flow.define_workflow("pay")
        async def pay(number: int, step: Step) -> int:
            return await step.run(StepOptions("transfer", retry=ONCE), transfer, number)

        self.pay = pay


async def test_runs_of_a_paused_queue_wait_and_can_be_started(flow: RedisFlow):
    bank = Bank(flow)
    await flow.controls.pause(queue="default")
    async with flow.new_worker():
        handle = await bank.pay.run(1)
        other = await bank.pay.run(2, queue="other")
        (control,) = await flow.controls.list()
        assert (control.kind, control.name, control.state, control.waiting) == ("queue", "default", "paused", 1)
        async with flow.new_worker(queues=["other", "default"]):
            assert await other.result(timeout="1m") == 2
        assert (await handle.get()).status == "pending"
        await flow.controls.resume(queue="default")
        assert await handle.result(timeout="1m") == 1
    assert await flow.controls.list() == []


async def test_runs_of_a_paused_workflow_are_held_until_it_is_resumed(flow: RedisFlow):
    bank = Bank(flow)
    await flow.controls.pause(workflow="pay")
    async with flow.new_worker():
        handles = await bank.pay.run_many(range(3))
        for handle in handles:
            await until(flow, handle.id, lambda run: run.waiting_for == "held")
        control = await flow.controls.get(workflow="pay")
        assert control is not None
        assert control.waiting == 3
        await flow.controls.resume(workflow="pay")
        assert [await handle.result(timeout="1m") for handle in handles] == [0, 1, 2]
        await eventually(lambda: _none_left(flow))


async def _none_left(flow: RedisFlow) -> bool:
    return await flow.controls.list() == []


@pytest.mark.parametrize("kind", ["queue", "workflow"])
async def test_a_release_goes_at_its_pace(flow: RedisFlow, kind: str):
    bank = Bank(flow)
    queue, workflow = ("default", None) if kind == "queue" else (None, "pay")
    await flow.controls.pause(queue=queue, workflow=workflow)
    handles = await bank.pay.run_many(range(8))
    async with flow.new_worker():
        if kind == "workflow":
            await until(flow, handles[-1].id, lambda run: run.waiting_for == "held")
        await flow.controls.release(queue=queue, workflow=workflow, rate=20)
        assert [await handle.result(timeout="1m") for handle in handles] == list(range(8))
        runs = [await handle.get() for handle in handles]
        ends = sorted(run.finished_at for run in runs if run.finished_at)
        # The first waits for its turn, too: 7 intervals of 50 ms lie between the first and the last, which a late
        # step makes shorter by what it lets go at once.
        assert (ends[-1] - ends[0]).total_seconds() > 0.1


async def test_a_release_stops_when_failures_return_and_goes_on_when_it_is_told_to(flow: RedisFlow):
    bank = Bank(flow)
    bank.is_away = True
    await flow.controls.pause(workflow="pay")
    handles = await bank.pay.run_many(range(30))
    async with flow.new_worker():
        await until(flow, handles[-1].id, lambda run: run.waiting_for == "held")
        await flow.controls.release(workflow="pay", rate=10, stop_on_failures=0.5, after=2)

        await eventually(lambda: _all_are(flow, "stopped"))
        control = await flow.controls.get(workflow="pay")
        assert control is not None
        assert control.failed >= 2
        assert 2 <= control.released < 30
        assert control.stopped_at is not None
        # What was let go and not claimed before the stop is held again.
        assert control.waiting >= 30 - control.released
        bank.is_away = False
        await flow.controls.release(workflow="pay", rate=1000)
        failed = [handle for handle in handles if (await until(flow, handle.id, lambda r: r.is_finished)).error]
        assert 2 <= len(failed) <= control.released
        # And those that failed are tried again.
        assert await flow.bulk.retry(workflow="pay") == BulkProgress(done=len(failed))
        assert [await handle.result(timeout="1m") for handle in handles] == list(range(30))


@pytest.mark.parametrize(("part", "state"), [(0.3, "stopped"), (0.8, None)])
async def test_failures_of_one_partition_stop_the_release_in_all_where_they_are_too_many_of_all(
    server_url: str, namespace: str, part: float, state: str | None
):
    async def land(run_id: str) -> None:
        if partition_of(run_id) % 2 == 0:
            raise OSError("this partition is cursed")

    async with RedisFlow(server_url, namespace=namespace, partitions=2) as flow:

        @flow.define_workflow("land")
        async def landing(step: Step) -> None:
            await step.run(StepOptions("land", retry=ONCE), land, step.info.id)

        await flow.controls.pause(workflow="land")
        handles = await landing.run_many([None] * 40)
        async with flow.new_worker():
            for handle in handles:
                await until(flow, handle.id, lambda run: run.waiting_for == "held")
            await flow.controls.release(workflow="land", rate=20, stop_on_failures=part, after=10)

            if state is not None:
                await eventually(lambda: _all_are(flow, state))
                control = await flow.controls.get(workflow="land")
                assert control is not None
                assert control.failed + control.succeeded >= 10
            else:
                for handle in handles:
                    await until(flow, handle.id, lambda run: run.status in {"succeeded", "failed"})
                assert "stopped" not in await _states(flow)


async def _states(flow: RedisFlow) -> set[str]:
    """Of each partition."""
    numbers = range(flow.backend.partitions)
    return {row.state for number in numbers for row in await flow.backend.controls.list(number)}


async def _all_are(flow: RedisFlow, state: str) -> bool:
    return await _states(flow) == {state}


async def test_a_release_outlives_the_worker_that_drives_it(flow: RedisFlow):
    bank = Bank(flow)
    await flow.controls.pause(workflow="pay")
    handles = await bank.pay.run_many(range(6))
    async with flow.new_worker():
        await until(flow, handles[-1].id, lambda run: run.waiting_for == "held")
        await flow.controls.release(workflow="pay", rate=10)
    async with flow.new_worker():
        assert [await handle.result(timeout="1m") for handle in handles] == list(range(6))


async def test_what_is_not_paused_cannot_be_released(flow: RedisFlow):
    with pytest.raises(NotPaused, match="workflow 'pay' is not paused"):
        await flow.controls.release(workflow="pay", rate=1)
    with pytest.raises(ValueError, match="name a queue or a workflow"):
        await flow.controls.pause()
    with pytest.raises(ValueError, match="rate is a number"):
        await flow.controls.release(workflow="pay", rate=0)
    wrong: list[Any] = [0, 2.5, "10"]
    for after in wrong:
        with pytest.raises(ValueError, match="after is a whole number of runs from 1"):
            await flow.controls.release(workflow="pay", rate=1, after=after)
    with pytest.raises(ValueError, match="stop_on_failures is a part"):
        await flow.controls.release(workflow="pay", rate=1, stop_on_failures=50)


async def test_a_bulk_tells_what_became_of_each_run(flow: RedisFlow):
    bank = Bank(flow)
    ended = await bank.pay.run(1)
    async with flow.new_worker():
        await ended.result(timeout="1m")
    waiting = await bank.pay.run_many(range(5))
    seen: list[int] = []
    ids = [ended.id, *(handle.id for handle in waiting)]
    outcomes = {
        outcome.run_id: outcome
        async for outcome in flow.bulk.pause(ids, on_progress=lambda progress: seen.append(progress.seen))
    }
    assert seen == [1, 2, 3, 4, 5, 6]
    refusal = outcomes.pop(ended.id)
    assert isinstance(refusal.error, RunStateConflict)
    assert all(outcome.is_done for outcome in outcomes.values())
    assert await flow.bulk.resume(workflow="pay") == BulkProgress(done=5)
    assert await flow.bulk.cancel(workflow="pay", concurrency=2) == BulkProgress(done=5)
    assert await flow.bulk.cancel(ids) == BulkProgress(done=5, refused=1)
    assert await flow.bulk.delete(flow.list_runs(workflow="pay", status="canceled")) == BulkProgress(done=5)
    assert await flow.bulk.delete(workflow="pay", status="succeeded") == BulkProgress(done=1)
    with pytest.raises(ValueError, match="say which runs"):
        flow.bulk.cancel()


async def test_a_bulk_over_a_workflow_ends_though_its_runs_fail_again(flow: RedisFlow):
    bank = Bank(flow)
    bank.is_away = True
    handles = await bank.pay.run_many(range(4))
    async with flow.new_worker():
        for handle in handles:
            await until(flow, handle.id, lambda run: run.is_finished)
        assert await flow.bulk.retry(workflow="pay", concurrency=1) == BulkProgress(done=4)
        for handle in handles:
            await until(flow, handle.id, lambda run: run.is_finished)
        bank.is_away = False
        again = [outcome.new_run_id async for outcome in flow.bulk.rerun(workflow="pay")]
        assert len(set(again)) == 4
        for run_id in again:
            run = await until(flow, str(run_id), lambda run: run.is_finished)
            assert run.status == "succeeded"
            assert run.forked_from in {handle.id for handle in handles}
