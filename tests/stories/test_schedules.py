"""Schedules: a run for each tick, at its time; what happens where runs would overlap; what people do with schedules."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from redisflow import (
    InvalidInput,
    InvalidName,
    InvalidSchedule,
    InvalidWorkflow,
    RedisFlow,
    Schedule,
    ScheduleNotFound,
    Step,
    UnknownWorkflow,
    WorkflowCanceled,
    define_workflow_spec,
)
from tests.stories.world import eventually, until

YEARLY = "0 0 1 1 *"
"""So rare that only triggers start runs."""


async def test_a_run_starts_for_each_tick_and_knows_which(flow):
    @flow.define_workflow("beat")
    async def beat(name: str, step: Step) -> str:
        assert step.info.scheduled_at is not None
        return f"{name} {step.info.scheduled_at.isoformat()}"

    await flow.schedules.create("beats", beat, every="200ms", input="tick", overlap="queue")
    seen: dict[datetime, str] = {}
    async with flow.new_worker(), flow.new_worker():

        async def four() -> bool:
            run_id = (await flow.schedules.get("beats")).last_run_id
            if run_id is not None:
                run = await until(flow, run_id, lambda run: run.is_finished)
                seen[run.scheduled_at] = run.output
                assert run.created_at >= run.scheduled_at, "never early"
                assert run.schedule == "beats"
            return len(seen) >= 4

        await eventually(four)
    every = timedelta(milliseconds=200)
    assert all((later - earlier) % every == timedelta(0) for earlier, later in pairwise(sorted(seen)))
    assert all(output == f"tick {tick.isoformat()}" for tick, output in seen.items())


async def test_the_next_fire_times_of_a_night_job_follow_the_clocks_of_its_city(flow):
    @flow.define_workflow("report")
    async def report(step: Step) -> None: ...

    made = await flow.schedules.create("nightly", report, cron="0 3 * * *", timezone="Europe/Paris")
    times = made.next_fire_times(366)
    assert made.next_fire_at == times[0] > datetime.now(UTC)
    assert {time.hour for time in times} == {1, 2}
    assert sorted({later - earlier for earlier, later in pairwise(times)}) == [
        timedelta(hours=hours) for hours in (23, 24, 25)
    ]
    assert str(made).startswith("schedule nightly of report: 0 3 * * * (Europe/Paris), next 20")


async def test_creating_again_changes_nothing_and_another_definition_replaces_it(flow):
    @flow.define_workflow("report")
    async def report(what: str, step: Step) -> None: ...

    first = await flow.schedules.create("nightly", report, cron="0 3 * * *", input="orders")
    assert await flow.schedules.create("nightly", report, cron="0  3 * * *", input="orders") == first
    await flow.schedules.pause("nightly")
    second = await flow.schedules.create("nightly", report, every="1h", input="orders")
    assert (second.revision, second.is_paused, second.created_at) == (2, True, first.created_at)
    assert second.next_fire_times() == ()
    await flow.schedules.resume("nightly")
    (listed,) = await flow.schedules.list()
    assert listed.next_fire_times(2)[1] - listed.next_fire_times(2)[0] == timedelta(hours=1)
    await flow.schedules.delete("nightly")
    await flow.schedules.delete("nightly")
    assert await flow.schedules.list() == []


async def test_a_schedule_that_is_declared_in_code_is_there_when_a_worker_has_started(flow, server_url):
    async def report(step: Step) -> None: ...

    flow.define_workflow("report", schedule=Schedule(cron="0 3 * * *", timezone="Europe/Paris"))(report)

    async def stored():
        return await flow.schedules.list()

    async with flow.new_worker(), flow.new_worker():
        (made,) = await eventually(stored)
        assert (made.id, made.workflow, made.revision) == ("report", "report", 1)
        await flow.schedules.pause("report")
    again = RedisFlow(server_url, namespace=flow.namespace)
    again.define_workflow("report", schedule=Schedule(cron="0 4 * * *", timezone="Europe/Paris"))(report)
    async with again, again.new_worker():

        async def changed() -> bool:
            return bool((await flow.schedules.get("report")).revision == 2)

        await eventually(changed)
    kept = await flow.schedules.get("report")
    assert (kept.definition.ticks.cron, kept.is_paused) == ("0 4 * * *", True), "who paused it knew why"


@pytest.fixture
def job(flow):
    """A workflow that goes on until it is let go."""
    go_on = asyncio.Event()

    @flow.define_workflow("job")
    async def job(step: Step) -> str:
        await step.run("wait", go_on.wait)
        return "done"

    return job, go_on


async def test_skip_starts_nothing_while_the_run_before_goes_on(flow, job):
    workflow, go_on = job
    await flow.schedules.create("jobs", workflow, cron=YEARLY)
    async with flow.new_worker():
        first = await flow.schedules.trigger("jobs")
        assert await flow.schedules.trigger("jobs") is None
        go_on.set()
        assert await first.result(timeout="1m") == "done"
        second = await flow.schedules.trigger("jobs")
        assert await second.result(timeout="1m") == "done"


async def test_queue_starts_the_next_by_the_end_of_the_one_before(flow, job):
    workflow, go_on = job
    await flow.schedules.create("jobs", workflow, cron=YEARLY, overlap="queue")
    async with flow.new_worker():
        handles = [await flow.schedules.trigger("jobs") for _ in range(4)]
        await until(flow, handles[0].id, lambda run: run.status == "running")
        assert (await handles[1].get()).waiting_for == "overlap"
        await handles[2].cancel()
        go_on.set()
        assert await handles[3].result(timeout="1m") == "done"
    runs = [await handle.get() for handle in handles]
    assert [run.status for run in runs] == ["succeeded", "succeeded", "canceled", "succeeded"]
    assert runs[1].started_at >= runs[0].finished_at
    assert runs[3].started_at >= runs[1].finished_at


async def test_a_run_that_fails_or_is_canceled_lets_the_next_start(flow):
    @flow.define_workflow("broken")
    async def broken(step: Step) -> None:
        raise ValueError("no")

    await flow.schedules.create("jobs", broken, cron=YEARLY, overlap="queue")
    handles = [await flow.schedules.trigger("jobs") for _ in range(3)]
    await handles[0].cancel()
    async with flow.new_worker():
        await until(flow, handles[2].id, lambda run: run.status == "failed")


async def test_cancel_running_ends_the_run_before(flow, job):
    workflow, go_on = job
    await flow.schedules.create("jobs", workflow, cron=YEARLY, overlap="cancel_running")
    async with flow.new_worker():
        first = await flow.schedules.trigger("jobs")
        await until(flow, first.id, lambda run: run.status == "running")
        second = await flow.schedules.trigger("jobs")
        with pytest.raises(WorkflowCanceled):
            await first.result(timeout="1m")
        go_on.set()
        assert await second.result(timeout="1m") == "done"


async def test_deleting_a_schedule_cancels_what_is_queued(flow, job):
    workflow, go_on = job
    await flow.schedules.create("jobs", workflow, cron=YEARLY, overlap="queue")
    first, second = [await flow.schedules.trigger("jobs") for _ in range(2)]
    await flow.schedules.delete("jobs")
    assert (await second.get()).status == "canceled"
    go_on.set()
    async with flow.new_worker():
        assert await first.result(timeout="1m") == "done"


async def test_a_workflow_of_another_process_is_scheduled_by_its_spec(flow):
    spec = define_workflow_spec("elsewhere", input=int, output=int, version="v2", queue="far")
    made = await flow.schedules.create("numbers", spec, every="1h", input=5)
    assert (made.definition.version, made.definition.queue) == ("v2", "far")
    handle = await flow.schedules.trigger("numbers")
    assert (await handle.get()).input == 5


async def test_wrong_use_is_refused_before_anything_is_stored(flow):
    @flow.define_workflow("report")
    async def report(days: int, step: Step) -> None: ...

    with pytest.raises(InvalidInput, match="input"):
        await flow.schedules.create("s", report, every="1h", input="many")
    with pytest.raises(InvalidSchedule, match="either cron"):
        await flow.schedules.create("s", report, input=1)
    with pytest.raises(InvalidSchedule, match="overlap is one of"):
        await flow.schedules.create("s", report, every="1h", input=1, overlap="maybe")
    with pytest.raises(InvalidName, match="schedule"):
        await flow.schedules.create("my schedule", report, every="1h", input=1)
    with pytest.raises(UnknownWorkflow):
        await flow.schedules.create("s", "unheard-of", every="1h")
    assert await flow.schedules.list() == []
    for use in (flow.schedules.get, flow.schedules.pause, flow.schedules.resume, flow.schedules.trigger):
        with pytest.raises(ScheduleNotFound, match="'s' is not stored in namespace"):
            await use("s")
    with pytest.raises(InvalidInput):
        flow.define_workflow("other", schedule=Schedule(every="1h"))(report.fn)

    async def one(step: Step) -> None: ...
    async def two(step: Step) -> None: ...

    flow.define_workflow("one", schedule=Schedule(every="1h", id="same"))(one)
    with pytest.raises(InvalidWorkflow, match="'same' is declared by workflows one and two"):
        flow.define_workflow("two", schedule=Schedule(every="1h", id="same"))(two)
