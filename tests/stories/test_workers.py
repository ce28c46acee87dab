"""Workers: what one serves, what its steps share, and what people see of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from datetime import timedelta

import pytest

from examples import workers
from redisflow import InvalidWorkflow, RedisFlow, Step
from tests.stories.world import WITHIN_S, adopt, eventually, until


async def test_a_worker_serves_the_queues_that_it_is_given(flow):
    @flow.define_workflow("mail", queue="mail")
    async def mail(step: Step) -> str:
        return "sent"

    @flow.define_workflow("other")
    async def other(step: Step) -> str:
        return "done"

    async with flow.new_worker(lease="30s", queues=["mail", "urgent"]):
        by_definition = await mail.run()
        by_run = await other.run(queue="urgent")
        elsewhere = await other.run()
        assert await by_definition.result(timeout="1m") == "sent"
        assert await by_run.result(timeout="1m") == "done"
        assert [(await handle.get()).queue for handle in (by_definition, by_run, elsewhere)] == [
            "mail",
            "urgent",
            "default",
        ]
        assert (await elsewhere.get()).status == "pending"
    # Without queues it serves those of its workflows.
    async with flow.new_worker(lease="30s"):
        assert await elsewhere.result(timeout="1m") == "done"


async def test_steps_share_what_the_resources_of_their_worker_opened(flow, capsys):
    workflow = adopt(flow, workers.ask)
    pools: list[workers.Pool] = []

    @contextlib.asynccontextmanager
    async def resources():
        async with workers.resources() as pool:
            pools.append(pool)
            yield pool

    async with flow.new_worker(lease="30s", resources=resources):
        for _ in range(3):
            assert await (await workflow.run("how many?")).result(timeout="1m") == "answer to 'how many?'"
        assert pools[0].is_open
    assert [(pool.queries, pool.is_open) for pool in pools] == [(3, False)]


async def test_a_flow_gives_all_its_workers_resources_those_of_the_command_line_too(server_url, namespace):
    @contextlib.asynccontextmanager
    async def resources():
        yield "the pool"

    async def look(step: Step) -> str:
        return str(step.resources)

    async with RedisFlow(server_url, namespace=namespace, resources=resources) as flow:

        @flow.define_workflow("look")
        async def looking(step: Step) -> str:
            return await step.run("look", look, step)

        async with flow.new_worker(lease="30s"):
            assert await (await looking.run()).result(timeout="1m") == "the pool"


async def test_as_many_sync_steps_run_at_once_as_runs_are_held(flow):
    together = threading.Barrier(60)

    def meet() -> int:
        return together.wait(timeout=WITHIN_S)

    @flow.define_workflow("meet")
    async def meeting(step: Step) -> int:
        return await step.run("meet", meet)

    async with flow.new_worker(lease="5s", concurrency=60):
        handles = await meeting.run_many([None] * 60)
        assert sorted([await handle.result(timeout="1m") for handle in handles]) == list(range(60))


async def test_a_worker_holds_no_more_runs_than_its_concurrency(flow):
    running: set[str] = set()
    most: list[int] = []

    async def work(step: Step, name: str) -> None:
        running.add(name)
        most.append(len(running))
        await asyncio.sleep(0.01)
        running.discard(name)

    @flow.define_workflow("few")
    async def few(step: Step) -> None:
        await step.run("work", work, step, step.info.id)

    async with flow.new_worker(lease="30s", concurrency=3):
        await asyncio.gather(*[handle.result(timeout="1m") for handle in await few.run_many([None] * 30)])
    assert max(most) == 3


async def test_a_running_step_is_visible_and_its_heartbeat_too(flow):
    told = asyncio.Event()
    enough = asyncio.Event()

    async def long(step: Step) -> str:
        step.heartbeat({"rows": 1})
        await told.wait()
        step.heartbeat({"rows": 2})
        await enough.wait()
        return "done"

    @flow.define_workflow("long")
    async def workflow(step: Step) -> str:
        return await step.run("long", long, step)

    async with flow.new_worker(lease="5s"):
        handle = await workflow.run()
        run = await until(flow, handle.id, lambda run: run.step("long"))
        step = run.steps[0]
        assert (step.status, step.attempt, step.progress) == ("running", 1, {"rows": 1})
        # A worker's estimate of the server's clock is a little slow.
        assert run.created_at <= step.started_at + timedelta(seconds=1)
        told.set()
        await until(flow, handle.id, lambda run: run.step("long").progress == {"rows": 2})
        enough.set()
        assert await handle.result(timeout="1m") == "done"
    assert (await handle.get()).steps[0].progress is None


async def test_a_long_sync_step_shows_its_progress_too(valkey_flow):
    enough = threading.Event()

    def long(step: Step) -> int:
        step.heartbeat("half")
        enough.wait(WITHIN_S)
        return step.attempt

    @valkey_flow.define_workflow("long-sync")
    async def workflow(step: Step) -> int:
        return await step.run("long", long, step)

    async with valkey_flow.new_worker(lease="5s"):
        handle = await workflow.run()
        try:
            await until(valkey_flow, handle.id, lambda run: run.steps and run.steps[0].progress == "half")
        finally:
            enough.set()
        assert await handle.result(timeout="1m") == 1


async def test_a_run_outlives_the_lease_as_long_as_its_worker_lives(flow):
    bodies: list[int] = []

    async def longer_than_the_lease(step: Step) -> str:
        bodies.append(step.attempt)
        await asyncio.sleep(2.5)
        return "done"

    @flow.define_workflow("patient")
    async def patient(step: Step) -> str:
        return await step.run("long", longer_than_the_lease, step)

    async with flow.new_worker(lease="1s"), flow.new_worker(lease="1s"):
        handle = await patient.run()
        assert await handle.result(timeout="1m") == "done"
    assert bodies == [1]
    assert (await handle.get()).claims == 1


async def test_a_blocked_event_loop_loses_no_lease_and_is_warned_of(valkey_flow, caplog):
    bodies: list[int] = []

    async def blocks_the_loop() -> str:
        bodies.append(1)
        time.sleep(2.5)  # noqa: ASYNC251  # the mistake that this story is about
        return "done"

    @valkey_flow.define_workflow("blocking")
    async def blocking(step: Step) -> str:
        return await step.run("blocks", blocks_the_loop)

    async with valkey_flow.new_worker(lease="1s"):
        handle = await blocking.run()
        assert await handle.result(timeout="1m") == "done"

        async def warned() -> bool:
            return any("event loop stood still" in record.getMessage() for record in caplog.records)

        await eventually(warned)
    assert bodies == [1]


async def test_a_stopping_worker_lets_its_runs_end(flow):
    gate, began = asyncio.Event(), asyncio.Event()

    async def wait() -> str:
        began.set()
        await gate.wait()
        return "done"

    @flow.define_workflow("graceful")
    async def graceful(step: Step) -> str:
        return await step.run("wait", wait)

    worker = flow.new_worker(lease="30s")
    await worker.start()
    held = await graceful.run()
    await began.wait()
    stopping = asyncio.create_task(worker.stop(grace="1m"))
    late = await graceful.run()
    gate.set()
    await stopping
    assert await held.result(timeout="1m") == "done"
    assert (await late.get()).status == "pending", "it claims nothing any more"


async def test_a_worker_that_stops_hands_back_what_did_not_end_in_time(flow):
    bodies: list[int] = []
    began = asyncio.Event()

    async def wait() -> str:
        bodies.append(1)
        began.set()
        if len(bodies) == 1:
            await asyncio.Event().wait()
        return "done"

    @flow.define_workflow("handed-back")
    async def handed_back(step: Step) -> str:
        return await step.run("wait", wait)

    worker = flow.new_worker(lease="30s")
    await worker.start()
    handle = await handed_back.run()
    await began.wait()
    await worker.stop(grace=0)
    run = await handle.get()
    assert (run.status, run.crashes) == ("pending", 0)
    async with flow.new_worker(lease="30s"):
        assert await handle.result(timeout="1m") == "done", "without waiting for a lease"


async def test_two_workers_share_the_work(server_url, namespace, flow):
    bodies: list[tuple[str, int]] = []

    def define(into: RedisFlow, name: str):
        async def work(number: int) -> int:
            bodies.append((name, number))
            await asyncio.sleep(0.01)
            return number

        @into.define_workflow("shared")
        async def shared(number: int, step: Step) -> int:
            return await step.run("work", work, number)

        return shared

    async with RedisFlow(server_url, namespace=namespace) as other:
        define(other, "other")
        workflow = define(flow, "one")
        async with flow.new_worker(lease="30s", concurrency=5), other.new_worker(lease="30s", concurrency=5):
            handles = await workflow.run_many(range(100))
            assert [await handle.result(timeout="1m") for handle in handles] == list(range(100))
    assert sorted(number for _, number in bodies) == list(range(100))
    assert {name for name, _ in bodies} == {"one", "other"}


async def test_a_worker_without_workflows_says_so(flow):
    with pytest.raises(InvalidWorkflow, match="no workflow is registered"):
        await flow.new_worker().start()


async def test_workflow_code_logs_each_thing_once(flow, caplog):
    caplog.set_level(logging.INFO, "redisflow.workflow")

    @flow.define_workflow("talking")
    async def talking(step: Step) -> None:
        step.log.info("before the sleep")
        await step.sleep("nap", "20ms")
        step.log.info("after the sleep")
        await step.sleep("nap", "20ms")

    async with flow.new_worker(lease="30s"):
        await (await talking.run()).result(timeout="1m")
    assert [record.getMessage() for record in caplog.records if record.name == "redisflow.workflow"] == [
        "before the sleep",
        "after the sleep",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/0",
        "rediss://user:password@redis.example.com:6380/0",
        "unix:///run/redis.sock",
        "redis+sentinel://one:26379,two:26379/shop/0",
        "redis+cluster://one:6379,two:6379",
        "memory://",
    ],
)
def test_urls_of_every_kind_are_accepted_and_shown_without_their_password(url):
    assert "password" not in repr(RedisFlow(url))
