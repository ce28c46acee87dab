"""Runs that no live worker serves are counted, listed and explained; whoever can serve them gets them soon."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
from datetime import timedelta

import pytest

from redisflow import RedisFlow, Step, define_workflow_spec
from redisflow.worker.stranded import StrandedAlarm
from tests.stories.world import eventually, until

pytestmark = pytest.mark.usefixtures("no_key_left")


async def greet(name: str, step: Step) -> str:
    return f"hello {name}, says {step.version}"


def versions(flow: RedisFlow, *which: str | None, queue: str = "default") -> list:
    return [flow.define_workflow("greet", version=version, queue=queue)(greet) for version in which]


async def test_workers_are_listed_with_what_they_serve_and_hold(flow):
    gate = asyncio.Event()

    @flow.define_workflow("holding", version="v3", queue="slow")
    async def holding(step: Step) -> None:
        await step.run("hold", gate.wait)

    versions(flow, "v1", None)
    assert await flow.workers() == []
    async with flow.new_worker(concurrency=7, lease="30s") as worker:
        handle = await holding.run()
        (found,) = await eventually(lambda: _holding(flow, 1))
        assert (found.name, found.host, found.pid) == (worker.name, socket.gethostname(), os.getpid())
        assert (found.queues, found.concurrency) == (("default", "slow"), 7)
        assert found.workflows == (("greet", None), ("greet", "v1"), ("holding", "v3"))
        assert abs(found.seen_at - (await handle.get()).created_at) < timedelta(minutes=1)
        assert str(found).startswith(f"{worker.name} (pid {os.getpid()} on")
        assert str(found).endswith(": holds 1 of 7 runs; serves greet, greet@v1, holding@v3 from default, slow")
        gate.set()
        await handle.result(timeout="1m")
        await eventually(lambda: _holding(flow, 0))
    assert await flow.workers(gone=True) == []  # it said good-bye


async def _holding(flow: RedisFlow, count: int):
    found = await flow.workers()
    return found if [worker.held for worker in found] == [count] else None


async def _put_aside(flow: RedisFlow, count: int):
    report = await flow.stranded()
    return report if sum(each.stranded for each in report.runs) == count else None


async def test_runs_that_no_live_worker_has_code_for_are_counted_listed_and_explained(server_url, namespace, flow):
    (v2,) = versions(flow, "v2")
    asked = define_workflow_spec("never-heard-of", output=str)
    async with RedisFlow(server_url, namespace=namespace) as old:
        versions(old, "v1")
        async with old.new_worker(lease="30s") as worker:
            handles = [await v2.run(f"n{number}") for number in range(7)]
            other = await flow.run_workflow(asked)
            report = await eventually(lambda: _put_aside(flow, 8))
            assert not report.is_clear
            greet_runs, unheard = report.runs
            assert (greet_runs.workflow, greet_runs.version, greet_runs.queue) == ("greet", "v2", "default")
            assert (greet_runs.stranded, greet_runs.suspended, greet_runs.cause) == (7, 0, "no_code")
            assert set(greet_runs.run_ids) <= {handle.id for handle in handles}
            assert len(greet_runs.run_ids) == 5
            assert greet_runs.next_look_at is not None
            # The second time, 10 s: on a busy machine, the first ones are offered again before the last ones are met.
            assert timedelta(0) < greet_runs.next_look_at - greet_runs.since <= timedelta(seconds=10)
            assert greet_runs.why == f"no live worker serves greet@v2; alive: {worker.name}, with greet@v1"
            assert unheard.why == "no live worker serves never-heard-of, in no version (1 alive)"
            (unserved,) = report.workflows
            assert (unserved.workflow, unserved.unfinished, unserved.why) == ("never-heard-of", 1, unheard.why)
            assert report.queues == []
            assert [each.name for each in report.workers] == [worker.name]
            lines = str(report).splitlines()
            assert re.fullmatch(r"greet@v2 in queue default: 7 stranded since .* UTC: no live worker .*", lines[0])
            assert lines[-1] == "1 live worker"
            assert {run.id async for run in flow.list_runs(status="waiting:stranded", version="v2")} == {
                handle.id for handle in handles
            }
        nobody = await flow.stranded()
        assert {each.cause for each in nobody.runs} == {"no_worker"}
        assert {each.why for each in [*nobody.runs, *nobody.workflows]} == {"no worker is alive"}
    async with flow.new_worker(lease="30s"):
        for handle in handles:
            await handle.result(timeout="1m")
    await other.cancel()
    assert (await flow.stranded()).is_clear
    assert str(await flow.stranded()) == "no run is stranded (0 live workers)"


async def test_a_queue_that_no_live_worker_reads_is_told_of(flow):
    fast, slow = versions(flow, "v1")[0], versions(flow, "v2", queue="slow")[0]
    async with flow.new_worker(queues=["default"], lease="30s") as worker:
        for number in range(3):
            await slow.run(f"n{number}")
        await (await fast.run("a")).result(timeout="1m")
        # Its worker has the code, but reads no such queue.
        (queue,) = (await flow.stranded()).queues
        assert (queue.queue, queue.runs, queue.why) == ("slow", 3, "no live worker reads slow; they read default")
        assert str(queue).startswith("queue slow: 3 runs since ")
        assert (await flow.stranded()).workflows == []
        assert worker.queues == ("default",)
    assert (await flow.stranded()).queues[0].why == "no worker is alive"


async def test_versions_are_told_apart_where_that_is_asked_for(server_url, namespace, flow):
    async def nap(step: Step) -> None:
        await step.sleep("nap", "7d")

    naps = {version: flow.define_workflow("nap", version=version)(nap) for version in ("v1", "v2")}
    async with flow.new_worker(lease="30s"):
        handles = [await naps[version].run() for version in ("v1", "v1", "v2")]
        for handle in handles:
            await until(flow, handle.id, lambda run: run.waiting_for == "timer")
    async with RedisFlow(server_url, namespace=namespace) as new:
        new.define_workflow("nap", version="v2")(nap)
        async with new.new_worker(lease="30s") as worker:
            await eventually(flow.workers)
            assert (await flow.stranded()).is_clear  # nobody has met them yet: in a week they will be met
            (unserved,) = (await flow.stranded(detailed=True)).workflows
            assert (unserved.workflow, unserved.version, unserved.unfinished) == ("nap", "v1", 2)
            assert unserved.why == f"no live worker serves nap@v1; alive: {worker.name}, with nap@v2"


async def test_a_suspended_run_is_listed_with_the_others(flow):
    def register(on: RedisFlow, first: str):
        @on.define_workflow("drifting")
        async def drifting(step: Step) -> None:
            await step.run(first, asyncio.sleep, 0)
            await step.sleep("nap", "10ms")

        return drifting

    async with RedisFlow(flow.location.url, namespace=flow.namespace) as before:
        drifting = register(before, "one")
        async with before.new_worker(lease="30s"):
            handle = await drifting.run()
            await until(flow, handle.id, lambda run: run.waiting_for == "timer" or run.is_finished)
        if (await handle.get()).is_finished:
            return  # its nap was over before its worker had stopped
    register(flow, "another")
    async with flow.new_worker(lease="30s"):
        await until(flow, handle.id, lambda run: run.waiting_for == "suspended")
        (found,) = (await flow.stranded()).runs
        assert (found.stranded, found.suspended, found.cause) == (0, 1, "served")
        assert found.why.startswith("run.error says why; alive: ")
        assert found.next_look_at is not None
        assert found.run_ids == [handle.id]


async def test_each_cause_is_logged_once_and_again_when_it_changes(server_url, namespace, flow, caplog):
    (v2,) = versions(flow, "v2")
    caplog.set_level(logging.INFO, "redisflow.worker")
    alarm = StrandedAlarm(await flow.open(), "watch", 1)

    async def look() -> list[str]:
        caplog.clear()
        await alarm.run_once()
        return [record.getMessage() for record in caplog.records if "run.stranded" in record.getMessage()]

    async with RedisFlow(server_url, namespace=namespace) as old:
        versions(old, "v1")
        async with old.new_worker(lease="30s"):
            handles = [await v2.run(f"n{number}") for number in range(5)]
            for handle in handles:
                await until(flow, handle.id, lambda run: run.waiting_for == "stranded")
            said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
            assert len([text for text in said if "this worker has no code for greet@v2" in text]) == 1
            assert await look() == []  # a deploy may be under way
            (text,) = await look()
            assert re.match(r"run.stranded greet@v2 in queue default: 5 stranded since .* no live worker serves", text)
            assert await look() == []
        assert await look() == []
        gone = await look()  # what the live workers have instead has changed: there are none
        assert len([text for text in gone if "no worker is alive" in text]) == 2
        assert await look() == []
    async with flow.new_worker(lease="30s"):
        for handle in handles:
            await handle.result(timeout="1m")
        assert {text.partition(":")[0] for text in await look()} == {"run.stranded no more"}
        assert await look() == []


async def test_a_run_that_another_live_worker_serves_is_offered_again_soon(server_url, namespace, flow):
    """In a deploy workers of two versions take each other's runs: none of these waits for minutes."""
    gate = asyncio.Event()

    @flow.define_workflow("holding")
    async def holding(step: Step) -> None:
        await step.run("hold", gate.wait)

    (v2,) = versions(flow, "v2")
    async with RedisFlow(server_url, namespace=namespace) as old:
        versions(old, "v1")
        async with flow.new_worker(concurrency=1, lease="30s") as new:
            held = await holding.run()
            await until(flow, held.id, lambda run: run.status == "running")
            # The new worker is full, so that the old one takes each run of the new version, and again, and again.
            async with old.new_worker(lease="30s"):
                handles = [await v2.run(f"n{number}") for number in range(5)]
                for handle in handles:
                    await until(flow, handle.id, lambda run: run.claims >= 3 and run.waiting_for == "stranded")
                (found,) = (await flow.stranded()).runs
                assert (found.cause, found.stranded) == ("served", 5)
                assert found.why == f"{new.name} can serve it now, so it is offered again soon"
                assert found.next_look_at is not None
                assert found.next_look_at - found.since <= timedelta(milliseconds=500)
                gate.set()
                for number, handle in enumerate(handles):
                    assert await handle.result(timeout="1m") == f"hello n{number}, says v2"
                    run = await handle.get()
                    assert (run.attempt, run.crashes) == (1, 0)
