"""Bulk jobs: over ids or a query, in the background, with progress, stopped with the dashboard."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from redisflow import RedisFlow
from redisflow.dashboard.access.roles import Identity, NotPermitted, Role
from redisflow.dashboard.actions import Actions
from redisflow.dashboard.api import answers
from redisflow.dashboard.bulk_jobs import BulkJobs, TooManyJobs
from redisflow.dashboard.filters import Query
from redisflow.errors import InvalidName
from redisflow.run_id import new_run_id
from redisflow.summaries import RunSummary

V1 = "/api/v1"
ADA = Identity("ada", Role.ADMIN)
OTTO = Identity("otto", Role.OPERATOR)


@pytest.fixture
async def jobs(shop: RedisFlow):
    jobs = BulkJobs(Actions(shop))
    yield jobs
    await jobs.close()


async def start(
    flow: RedisFlow, count: int, workflow: str = "approval", value: Any = None, **options: Any
) -> list[str]:
    return [(await flow.run_workflow(workflow, value, **options)).id for _ in range(count)]


async def notes_of(flow: RedisFlow, run_id: str) -> list[str]:
    events = (await flow.get_handle(run_id)).events(live=False)
    return [f"{event.data['action']} by {event.data['by']}" async for event in events if event.kind == "audit"]


async def test_runs_that_match_are_canceled_with_progress_and_an_event_for_each(jobs, shop, caplog):
    caplog.set_level(logging.INFO, logger="redisflow.dashboard.audit")
    mine = await start(shop, 70, tags={"customer": "c1"})
    others = await start(shop, 2, tags={"customer": "c2"})
    begun = jobs.start("cancel", Query.parse("workflow:approval tag:customer=c1"), OTTO)
    assert (begun.state, begun.total, begun.seen) == ("running", None, 0)
    job = await jobs.wait(begun.id)
    assert (job.state, job.total, job.done, job.refused, job.failed) == ("done", 70, 70, 0, 0)
    assert job.finished_at >= job.started_at
    assert {(await shop.get_run(run_id)).status for run_id in mine} == {"canceled"}
    assert {(await shop.get_run(run_id)).status for run_id in others} == {"pending"}
    for run_id in mine:
        assert await notes_of(shop, run_id) == [f"cancel (bulk job {job.id}) by otto"]
    told = [line for line in caplog.messages if job.id in line]
    assert {line for line in told if line.startswith("cancel")} == {
        f"cancel of run {run_id!r} by 'otto' (operator): done (bulk job {job.id})" for run_id in mine
    }
    assert [line for line in told if line.startswith("bulk")] == [
        f"bulk cancel of runs 'workflow:approval tag:customer=c1' by 'otto' (operator): begun as {job.id}",
        f"bulk cancel of bulk job {job.id!r} by 'otto' (operator): done: 70 done, 0 refused, 0 failed",
    ]


async def test_a_query_without_a_status_means_the_runs_to_which_it_can_be_done(jobs, shop):
    canceled, going = await start(shop, 2)
    await shop.cancel_workflow_run(canceled)
    job = await jobs.wait(jobs.start("delete", Query(workflow="approval"), ADA).id)
    assert (job.total, job.done, job.refused) == (1, 1, 0)
    said = await jobs.wait(jobs.start("delete", Query(workflow="approval", statuses=("pending",)), ADA).id)
    assert (said.total, said.refused) == (1, 1)
    assert said.errors[0].run_id == going
    assert said.errors[0].error == "RunNotFinished"


async def test_the_log_names_each_run_that_a_bulk_deleted_or_could_not(jobs, shop, caplog):
    caplog.set_level(logging.INFO, logger="redisflow.dashboard.audit")
    ended, going = await start(shop, 2)
    await shop.cancel_workflow_run(ended)
    job = await jobs.wait(jobs.start("delete", [ended, going], ADA).id)
    assert sorted(line for line in caplog.messages if line.startswith("delete of run")) == sorted(
        [
            f"delete of run {ended!r} by 'ada' (admin): done (bulk job {job.id})",
            f"delete of run {going!r} by 'ada' (admin): RunNotFinished (bulk job {job.id})",
        ]
    )


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_a_bulk_is_about_the_runs_that_were_there_when_it_began(shop, monkeypatch, order: str):
    """Others begin, and ended ones go on, while it lists them; the pages are small, so that it comes to that."""
    monkeypatch.setattr("redisflow.dashboard.bulk_jobs.PAGE_LIMIT", 2)
    mine = await start(shop, 6, "order", value=101)
    async with shop.new_worker(grace=0):
        for run_id in mine:
            await asyncio.gather((await shop.get_handle(run_id)).result(10), return_exceptions=True)
    later: list[str] = []
    listed = RedisFlow.list_runs

    async def busily(flow: RedisFlow, **options: Any) -> AsyncIterator[RunSummary]:
        async for run in listed(flow, **options):
            if len(later) < 20:
                later.extend(await start(flow, 1, "order", value=101))
                await asyncio.gather((await flow.get_handle(run.id)).retry(), return_exceptions=True)
            yield run

    monkeypatch.setattr(RedisFlow, "list_runs", busily)
    jobs = BulkJobs(Actions(shop))
    query = Query.parse(f"workflow:order status:failed status:pending order:{order}")
    job = await jobs.wait(jobs.start("pause", query, OTTO).id)
    assert (job.state, job.total) == ("done", 6)
    assert [run_id for run_id in later if (await shop.get_run(run_id)).waiting_for == "paused"] == []
    await jobs.close()


async def test_ids_are_taken_once_and_each_is_judged_alone(jobs, shop):
    done, going = await start(shop, 2)
    await shop.cancel_workflow_run(done)
    gone = new_run_id(0)
    job = await jobs.wait(jobs.start("pause", [done, going, gone, going.upper()], OTTO).id)
    assert (job.total, job.done, job.refused, job.failed) == (3, 1, 2, 0)
    assert {each.run_id: each.error for each in job.errors} == {done: "RunStateConflict", gone: "RunNotFound"}


async def test_reruns_do_not_feed_the_job_that_makes_them(jobs, shop):
    for run_id in await start(shop, 3):
        await shop.cancel_workflow_run(run_id)
    job = await jobs.wait(jobs.start("rerun", Query.parse("workflow:approval order:oldest"), OTTO).id)
    assert (job.total, job.done) == (3, 3)
    assert len([run async for run in shop.list_runs(workflow="approval")]) == 6


async def test_a_job_is_stopped_and_what_it_did_stays_done(shop):
    at_work = asyncio.Event()

    class Slow(Actions):
        async def note(self, run_id: str, action: str, by: Identity) -> None:
            at_work.set()
            await super().note(run_id, action, by)

    jobs = BulkJobs(Slow(shop))
    runs = await start(shop, 300)
    begun = jobs.start("cancel", runs, OTTO)
    await at_work.wait()
    stopped = jobs.cancel(begun.id, OTTO)
    assert stopped is not None
    assert stopped.state == "canceled"
    assert (await jobs.wait(begun.id)).state == "canceled"
    assert 50 <= stopped.done < 300
    canceled = [run_id for run_id in runs if (await shop.get_run(run_id)).status == "canceled"]
    assert len(canceled) >= stopped.done
    assert len(canceled) < 300
    assert jobs.cancel(begun.id, OTTO) == jobs.get(begun.id)
    await jobs.close()


async def test_jobs_end_with_the_dashboard(shop):
    jobs = BulkJobs(Actions(shop))
    jobs.start("cancel", await start(shop, 200), OTTO)
    await jobs.close()
    assert [job.state for job in jobs.list()] == ["canceled"]
    assert {task.get_name() for task in asyncio.all_tasks() if "bulk" in task.get_name()} == set()


async def test_a_job_whose_server_goes_away_says_so(unused_port: int):
    flow = RedisFlow(f"redis://127.0.0.1:{unused_port}", call_timeout=0.2)
    jobs = BulkJobs(Actions(flow))
    job = await jobs.wait(jobs.start("cancel", Query(workflow="order"), OTTO).id)
    assert job.state == "failed"
    assert "127.0.0.1" in str(job.problem)
    await flow.close()


async def test_so_many_jobs_go_on_and_so_many_are_remembered(shop):
    jobs = BulkJobs(Actions(shop), at_once=2, kept=3)
    runs = await start(shop, 1)
    first, second = (jobs.start("pause", runs, OTTO) for _ in range(2))
    with pytest.raises(TooManyJobs, match="2 bulk jobs go on"):
        jobs.start("pause", runs, OTTO)
    for job in (first, second):
        await jobs.wait(job.id)
    later = [jobs.start("pause", runs, OTTO) for _ in range(2)]
    assert [job.id for job in jobs.list()] == [later[1].id, later[0].id, second.id]
    assert jobs.get(first.id) is None
    await jobs.close()


async def test_what_cannot_be_meant_is_refused_at_once(jobs):
    with pytest.raises(NotPermitted, match="to delete needs the role admin"):
        jobs.start("delete", Query(workflow="order"), OTTO)
    with pytest.raises(InvalidName):
        jobs.start("cancel", ["../../etc"], OTTO)
    with pytest.raises(ValueError, match="nothing that is done"):
        jobs.start("explode", Query(workflow="order"), OTTO)
    with pytest.raises(ValueError, match="say which runs"):
        jobs.start("cancel", [], OTTO)
    with pytest.raises(ValueError, match="say which runs"):
        jobs.start("cancel", Query(), OTTO)
    assert list(jobs.list()) == []
    assert jobs.get("x") is jobs.cancel("x", OTTO) is None


async def test_a_bulk_is_begun_looked_at_and_stopped_over_the_api(client, shop):
    runs = await start(shop, 3)
    for sent in ({"verb": "cancel", "ids": runs}, {"verb": "delete", "q": "workflow:approval status:canceled"}):
        answer = await client.post(f"{V1}/bulk", json=sent)
        assert answer.status_code == 202
        answers.Bulk.model_validate(answer.json())
        while True:
            job = (await client.get(answer.headers["location"])).json()
            answers.Bulk.model_validate(job)
            if job["state"] != "running":
                break
            await asyncio.sleep(0.01)
        assert (job["state"], job["done"], job["total"]) == ("done", 3, 3)
        assert (await client.post(answer.headers["location"] + ":cancel")).json() == job
    listed = (await client.get(f"{V1}/bulk")).json()
    assert [each["verb"] for each in answers.Bulks.model_validate(listed).model_dump()["bulk"]] == ["delete", "cancel"]
    assert [run async for run in shop.list_runs(workflow="approval")] == []
    for bad in ({}, {"verb": "cancel"}, {"verb": "cancel", "ids": runs, "q": "workflow:a"}, {"verb": "x", "ids": runs}):
        assert (await client.post(f"{V1}/bulk", json=bad)).status_code == 422
