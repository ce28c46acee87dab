"""The API on a real server with a real worker: what is done by it, and that it answers as its description says."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
import redis.asyncio
from pydantic import BaseModel

from redisflow import RedisFlow, Step
from redisflow.dashboard.api import answers
from redisflow.dashboard.api.endpoint import Endpoint
from redisflow.dashboard.api.openapi import ALL_ENDPOINTS, describe
from redisflow.dashboard.services import Services
from redisflow.run_id import new_run_id
from tests.dashboard.apps import application
from tests.stories.world import eventually, until

V1 = "/api/v1"


def check(answer: Any, model: type[BaseModel], status: int = 200) -> Any:
    """The document of an answer that is what the description says."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    model.model_validate(answer.json())
    return answer.json()


def check_problem(answer: Any, status: int, error: str | None = None) -> Any:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    assert document.get("error") == error
    answers.Problem.model_validate(document)
    return document


async def ended(flow: RedisFlow, run_id: str) -> None:
    async with aclosing((await flow.get_handle(run_id)).events()) as events:
        async for _ in events:
            pass


async def notes_of(flow: RedisFlow, run_id: str) -> list[str]:
    events = (await flow.get_handle(run_id)).events(live=False)
    return [f"{event.data['action']} by {event.data['by']}" async for event in events if event.kind == "audit"]


# -- reading ----------------------------------------------------------------------------------------------------------


async def test_a_run_is_started_found_and_read(client, working: RedisFlow):
    sent = {"workflow": "order", "input": 7, "tags": {"customer": "c1"}, "priority": 3, "key": "k1"}
    answer = await client.post(f"{V1}/runs", json=sent)
    started = check(answer, answers.Started, 201)
    assert answer.headers["location"] == f"{V1}/runs/{started['id']}"
    again = check(await client.post(f"{V1}/runs", json=sent), answers.Started)
    assert again["id"] == started["id"]
    assert again["existing"]
    await ended(working, started["id"])

    run = check(await client.get(answer.headers["location"]), answers.Run)
    assert (run["status"], run["input"], run["output"]) == ("succeeded", 7, {"charged": 7})
    steps = check(await client.get(f"{V1}/runs/{run['id']}/steps"), answers.Steps)["steps"]
    assert [step["key"] for step in steps] == ["charge"]
    assert await notes_of(working, run["id"]) == ["start by anonymous"]


async def test_signals_that_were_not_taken_are_listed(client, working: RedisFlow):
    handle = await working.run_workflow("approval")
    path = f"{V1}/runs/{handle.id}/signals"
    assert check(await client.get(path), answers.BufferedSignals) == {"signals": []}
    await working.signal(handle.id, "said too early", {"by": "ada"})
    await working.signal(handle.id, "other")
    (first, second) = check(await client.get(path), answers.BufferedSignals)["signals"]
    assert (first["name"], first["data"]) == ("said too early", {"by": "ada"})
    assert (second["name"], second["data"]) == ("other", None)
    assert first["number"] < second["number"]


async def test_runs_are_found_page_after_page(client, shop: RedisFlow):
    runs = [await shop.run_workflow("order", 1, tags={"n": str(number % 2)}) for number in range(5)]
    assert runs
    found: list[str] = []
    cursor = None
    while True:
        params = {"workflow": "order", "tag": "n=0", "limit": 2} | ({"cursor": cursor} if cursor else {})
        page = check(await client.get(f"{V1}/runs", params=params), answers.Runs)
        found += [run["id"] for run in page["runs"]]
        if (cursor := page["cursor"]) is None:
            break
    assert sorted(found) == sorted(runs[number].id for number in (0, 2, 4))
    by_text = check(await client.get(f"{V1}/runs", params={"q": "workflow:order tag:n=1 created>1h"}), answers.Runs)
    assert len(by_text["runs"]) == 2
    by_id = check(await client.get(f"{V1}/runs", params={"q": f"id:{runs[0].id}"}), answers.Runs)
    assert [run["id"] for run in by_id["runs"]] == [runs[0].id]
    nobody = check(await client.get(f"{V1}/runs", params={"q": f"id:{new_run_id(0)}"}), answers.Runs)
    assert nobody == {"runs": [], "cursor": None}


async def test_a_run_that_is_found_by_its_id_is_shown_as_a_list_shows_it(client, working: RedisFlow):
    ok = await working.run_workflow("order", 1)
    bad = await working.run_workflow("order", 101)
    late = await working.run_workflow("approval", deadline_at=0.01)
    canceled = await working.run_workflow("approval")
    await canceled.cancel()
    for run in (ok, bad, late, canceled):
        await ended(working, run.id)
        listed = check(await client.get(f"{V1}/runs", params={"limit": 50}), answers.Runs)["runs"]
        by_id = check(await client.get(f"{V1}/runs", params={"q": run.id}), answers.Runs)["runs"]
        assert by_id == [each for each in listed if each["id"] == run.id]


async def test_all_that_is_around_runs_is_listed(client, working: RedisFlow):
    run = await working.run_workflow("order", 1)
    await ended(working, run.id)
    await working.schedules.create("nightly", "order", input=1, cron="0 3 * * *")
    workflows = check(await client.get(f"{V1}/workflows", params={"detailed": True}), answers.Workflows)
    assert [each["id"] for each in workflows["workflows"] if each["succeeded"] == 1] == ["order"]
    assert "default" in [each["id"] for each in check(await client.get(f"{V1}/queues"), answers.Queues)["queues"]]
    assert len(check(await client.get(f"{V1}/workers"), answers.Workers)["workers"]) == 1
    assert [s["id"] for s in check(await client.get(f"{V1}/schedules"), answers.Schedules)["schedules"]] == ["nightly"]
    assert check(await client.get(f"{V1}/stranded"), answers.Stranded)["is_clear"]


async def test_a_worker_is_drained_and_what_it_did_is_counted(client, shop: RedisFlow):
    worker = asyncio.create_task(shop.new_worker(grace=0, lease=1).run())
    run = await shop.run_workflow("order", 1)
    await run.result(10)
    name = (await shop.workers())[0].name
    done = check(await client.post(f"{V1}/workers/{name}:drain"), answers.Done)
    assert done == {"id": name, "action": "drain", "run_id": None}
    await worker
    check_problem(await client.post(f"{V1}/workers/{name}:drain"), 404, "WorkerNotFound")
    minutes = check(await client.get(f"{V1}/metrics", params={"since": "5m"}), answers.Metrics)["minutes"]
    assert sum(minute["workflows"].get("order", {}).get("succeeded", 0) for minute in minutes) == 1
    check_problem(await client.get(f"{V1}/metrics", params={"since": "soon"}), 422, "InvalidDuration")


async def test_who_holds_a_run_is_said_by_the_run_and_by_the_worker(client, shop: RedisFlow):
    may_end = asyncio.Event()

    @shop.define_workflow("busy")
    async def busy(step: Step) -> None:
        await step.run("body", may_end.wait)

    async with shop.new_worker(grace=0) as worker:
        run = await shop.run_workflow("busy")
        await until(shop, run.id, lambda run: run.status == "running")
        assert check(await client.get(f"{V1}/runs/{run.id}"), answers.Run)["worker"] == worker.name
        await eventually(shop.workers)  # its first heartbeat may come after its first run
        (found,) = check(await client.get(f"{V1}/workers"), answers.Workers)["workers"]
        assert (found["id"], found["run_ids"]) == (worker.name, [run.id])
        may_end.set()
        await run.result(10)
    assert check(await client.get(f"{V1}/runs/{run.id}"), answers.Run)["worker"] is None


# -- actions ----------------------------------------------------------------------------------------------------------


async def test_each_action_on_a_run_is_done_and_noted(client, working: RedisFlow):
    failed = (await working.run_workflow("order", 101)).id
    await ended(working, failed)
    check(await client.post(f"{V1}/runs/{failed}:retry"), answers.Done)
    await ended(working, failed)
    rerun = check(await client.post(f"{V1}/runs/{failed}:rerun", json={"key": "again"}), answers.Done, 201)
    same = check(await client.post(f"{V1}/runs/{failed}:rerun", json={"key": "again"}), answers.Done, 201)
    assert same["run_id"] == rerun["run_id"]
    forked = check(
        await client.post(f"{V1}/runs/{failed}:fork", json={"from_step": "charge", "input": 5}), answers.Done, 201
    )
    await ended(working, forked["run_id"])
    assert (await working.get_run(forked["run_id"])).output == {"charged": 5}
    assert await notes_of(working, failed) == [
        f"{action} by anonymous" for action in ("retry", "rerun", "rerun", "fork")
    ]
    assert await notes_of(working, forked["run_id"]) == ["start by fork by anonymous"]

    waiting = (await working.run_workflow("approval")).id
    for action in ("pause", "resume"):
        check(await client.post(f"{V1}/runs/{waiting}:{action}"), answers.Done)
    check(await client.post(f"{V1}/runs/{waiting}:signal", json={"name": "approved", "data": [1]}), answers.Done)
    await ended(working, waiting)
    assert (await working.get_run(waiting)).output == [1]
    assert await notes_of(working, waiting) == [
        f"{action} by anonymous" for action in ("pause", "resume", "signal approved")
    ]

    both = [(await working.run_workflow("approval")).id for _ in range(2)]
    for run_id in both:
        await until(working, run_id, lambda run: run.waiting_for == "signal")
    reached = check(await client.post(f"{V1}/signals/approved:send", json={"data": "all"}), answers.Reached)
    assert (reached["count"], sorted(reached["run_ids"])) == (2, sorted(both))
    for run_id in both:
        await ended(working, run_id)
        assert (await working.get_run(run_id)).output == "all"
        assert await notes_of(working, run_id) == ["signal approved by anonymous"]

    canceled = (await working.run_workflow("approval")).id
    check(await client.post(f"{V1}/runs/{canceled}:cancel"), answers.Done)
    assert (await working.get_run(canceled)).status == "canceled"
    assert (await client.delete(f"{V1}/runs/{canceled}")).status_code == 204
    check_problem(await client.get(f"{V1}/runs/{canceled}"), 404, "RunNotFound")


async def test_what_a_state_does_not_allow_is_a_conflict(client, working: RedisFlow):
    done = (await working.run_workflow("order", 1)).id
    await ended(working, done)
    for action in ("cancel", "retry", "pause", "resume"):
        problem = check_problem(await client.post(f"{V1}/runs/{done}:{action}"), 409, "RunStateConflict")
        assert (problem["run_id"], problem["run_status"]) == (done, "succeeded")
    check_problem(await client.post(f"{V1}/runs/{done}:signal", json={"name": "x"}), 409, "RunEnded")
    going = (await working.run_workflow("approval")).id
    check_problem(await client.delete(f"{V1}/runs/{going}"), 409, "RunNotFinished")
    assert await notes_of(working, done) == []


async def test_queues_workflows_and_schedules_are_paused_and_resumed(client, shop: RedisFlow):
    await shop.schedules.create("nightly", "order", input=1, cron="0 3 * * *")
    for path in ("queues/default", "workflows/order", "schedules/nightly"):
        check(await client.post(f"{V1}/{path}:pause"), answers.Done)
    assert [(each.kind, each.name) for each in await shop.controls.list()] == [
        ("queue", "default"),
        ("workflow", "order"),
    ]
    assert (await shop.schedules.get("nightly")).is_paused
    for path in ("queues/default", "workflows/order", "schedules/nightly"):
        check(await client.post(f"{V1}/{path}:resume"), answers.Done)
    assert await shop.controls.list() == []
    triggered = check(await client.post(f"{V1}/schedules/nightly:trigger"), answers.Done, 201)
    assert await notes_of(shop, triggered["run_id"]) == ["start by trigger by anonymous"]
    skipped = check(await client.post(f"{V1}/schedules/nightly:trigger"), answers.Done)
    assert skipped["run_id"] is None
    assert (await client.delete(f"{V1}/schedules/nightly")).status_code == 204
    for method in ("post", "delete"):
        path = f"{V1}/schedules/nightly" + (":trigger" if method == "post" else "")
        check_problem(await getattr(client, method)(path), 404, "ScheduleNotFound")


# -- its description --------------------------------------------------------------------------------------------------


def example(endpoint: Endpoint) -> str:
    return V1 + re.sub(r"\{(\w+)\}", lambda found: new_run_id(0) if found[1] == "run_id" else "nobody", endpoint.path)


async def test_the_description_is_served_and_has_every_route(client):
    document = check(await client.get(f"{V1}/openapi.json"), answers.OpenApi)
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(endpoint.method, endpoint.path) for endpoint in ALL_ENDPOINTS}
    ids = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(set(ids)) == len(ids)
    refs = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert refs <= set(document["components"]["schemas"])


@pytest.mark.parametrize("endpoint", ALL_ENDPOINTS, ids=lambda each: f"{each.method} {each.path}")
async def test_every_path_that_is_described_answers_with_a_status_that_is_described(client, endpoint: Endpoint):
    answer = await client.request(endpoint.method, example(endpoint))
    described = describe()["paths"][endpoint.path][endpoint.method.lower()]["responses"]
    assert str(answer.status_code) in described
    assert answer.headers.get("content-type") in described[str(answer.status_code)].get("content", {None: None})
    assert "no such path" not in answer.text


async def test_other_paths_and_methods_are_told_as_problems(client):
    check_problem(await client.get(f"{V1}/nothing"), 404)
    check_problem(await client.get(f"{V1}/runs/"), 404)
    for method, path in (
        ("DELETE", "/runs"),
        ("PUT", "/runs"),
        ("PATCH", f"/runs/{new_run_id(0)}"),
        ("POST", "/queues"),
    ):
        answer = await client.request(method, V1 + path)
        check_problem(answer, 405)
        assert "GET" in answer.headers["allow"]


async def test_health_is_told_without_a_word_of_what_is_stored(client):
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    assert (await client.get("/readyz")).json() == {"status": "ready"}


async def test_a_server_that_is_away_is_503_with_a_time_to_come_back(unused_port: int):
    flow = RedisFlow(f"redis://127.0.0.1:{unused_port}", call_timeout=0.2)
    transport = httpx2.ASGITransport(app=application(Services.of(flow)))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for answer in await asyncio.gather(client.get(f"{V1}/runs"), client.get(f"{V1}/queues")):
            check_problem(answer, 503, "BackendUnavailable")
            assert int(answer.headers["retry-after"]) > 0
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert (await client.get("/healthz")).status_code == 200
    await flow.close()


async def test_a_damaged_run_is_no_server_that_is_away(client, shop: RedisFlow, valkey_url: str):
    run_id = (await shop.run_workflow("order", 1)).id
    async with redis.asyncio.Redis.from_url(valkey_url) as raw:
        await raw.hset(f"rf:{{{shop.namespace}:0}}:run:{run_id}", "h", "nonsense")
    answer = await client.get(f"{V1}/runs/{run_id}")
    problem = check_problem(answer, 422, "RunDamaged")
    assert problem["run_id"] == run_id
    assert "redisflow audit" in problem["detail"]
    assert "retry-after" not in answer.headers


def test_the_page_about_it_names_every_endpoint_and_no_other():
    page = (Path(__file__).resolve().parents[2] / "docs" / "http-api.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(GET|POST|DELETE) (/[^`]*)`", page, re.MULTILINE))
    assert named == {(endpoint.method, endpoint.path) for endpoint in ALL_ENDPOINTS}


async def test_a_workflow_that_is_unknown_here_is_started_where_that_is_meant(client, shop: RedisFlow):
    problem = check_problem(await client.post(f"{V1}/runs", json={"workflow": "elsewhere"}), 422, "UnknownWorkflow")
    assert "elsewhere" in problem["detail"]
    sent = {"workflow": "elsewhere", "input": {"any": 1}, "unknown": True}
    started = check(await client.post(f"{V1}/runs", json=sent), answers.Started, 201)
    run = await shop.get_run(started["id"])
    assert (run.workflow, run.input) == ("elsewhere", {"any": 1})
    # What is known is checked as ever.
    answer = await client.post(f"{V1}/runs", json={"workflow": "order", "input": "x", "unknown": True})
    check_problem(answer, 422, "InvalidInput")


@pytest.mark.parametrize("name", ["all clear", "a/b", "a/../b", "50%", "grün", "?x=1#y", ":send", "a:b.c-d"])
async def test_a_signal_of_any_name_is_sent_to_all_who_wait_for_it(client, working: RedisFlow, name: str):
    @working.define_workflow("waiter")
    async def waiter(step: Step) -> Any:
        return await step.wait_for_signal(name)

    async with working.new_worker(grace=0):
        run = await working.run_workflow("waiter")
        await until(working, run.id, lambda run: run.waiting_for == "signal")
        path = f"{V1}/signals/{quote(name, safe='')}:send"
        reached = check(await client.post(path, json={"data": "now"}), answers.Reached)
        assert (reached["id"], reached["count"]) == (name, 1)
        assert await run.result(10) == "now"


async def test_a_signal_of_a_name_that_none_can_have_is_refused(client):
    for name in ("again#1", "x" * 129, "a%00b", "%0a"):
        answer = await client.post(f"{V1}/signals/{name.replace('#', '%23')}:send", json={})
        assert answer.status_code == 404


async def test_a_fork_with_a_key_is_made_once(client, working: RedisFlow):
    run = await working.run_workflow("order", 7)
    await run.result(10)
    sent = {"from_step": "charge", "key": "again"}
    forks = [check(await client.post(f"{V1}/runs/{run.id}:fork", json=sent), answers.Done, 201) for _ in range(2)]
    assert forks[0]["run_id"] == forks[1]["run_id"] != run.id
    other = check(await client.post(f"{V1}/runs/{run.id}:fork", json={"from_step": "charge"}), answers.Done, 201)
    assert other["run_id"] != forks[0]["run_id"]
