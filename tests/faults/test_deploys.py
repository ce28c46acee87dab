"""A rolling deploy with real worker processes of two versions, forth and back (E3, B6).

Workers of either version meet runs that they have no code for: nothing is discarded, no attempt and no crash is
counted, no body runs twice, and what a live worker serves reaches it within seconds, not minutes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from redisflow import RedisFlow, Schedule, Step, WorkflowHandle, define_workflow_spec
from tests.crash.audit import audit, leftovers
from tests.faults.worker_processes import WITHIN_S, WorkerFleet
from tests.keyspace import raw_calls
from tests.stories.world import eventually

LEASE = ("--lease", "2s")
RUNS = 10


def orders(version: str):
    return define_workflow_spec("order", version=version, output=list[str])


async def start(flow: RedisFlow, version: str) -> list[WorkflowHandle[list[str]]]:
    return [await flow.run_workflow(orders(version)) for _ in range(RUNS)]


async def served(flow: RedisFlow, *versions: str) -> bool:
    workers = await flow.workers()
    return Counter(versions) == Counter(
        version for worker in workers for name, version in worker.workflows if name == "order"
    )


async def finish(handles: list[WorkflowHandle[list[str]]], version: str) -> None:
    for handle in handles:
        assert await handle.result(timeout=WITHIN_S) == [f"first by {version}", f"second by {version}"]
        run = await handle.get()
        assert (run.attempt, run.crashes) == (1, 0)
        # Five minutes were the longest wait of a run that nobody serves.
        assert run.finished_at is not None
        assert run.finished_at - run.created_at < timedelta(minutes=2)


async def test_a_rolling_deploy_forth_and_back_loses_and_repeats_nothing(
    valkey_url: str, namespace: str, tmp_path: Path
) -> None:
    fleet = WorkerFleet(valkey_url, namespace, tmp_path, "tests.faults.deploy_flow:flow")
    try:
        async with RedisFlow(valkey_url, namespace=namespace) as flow:
            # Forth: the new code is started before its workers are there, and the old ones meet it.
            old = [fleet.hire(*LEASE, DEPLOY_VERSION="v1") for _ in range(2)]
            await eventually(lambda: served(flow, "v1", "v1"))
            new_runs, refund = (
                await start(flow, "v2"),
                await flow.run_workflow(define_workflow_spec("refund", version="v2", output=str)),
            )
            await eventually(lambda: _stranded(flow, "order", "v2", RUNS))
            report = await flow.stranded()
            assert {(each.workflow, each.version, each.cause) for each in report.runs} == {
                ("order", "v2", "no_code"),
                ("refund", "v2", "no_code"),
            }
            # Side by side: each version takes runs of the other.
            new = [fleet.hire(*LEASE, DEPLOY_VERSION="v2") for _ in range(2)]
            await eventually(lambda: served(flow, "v1", "v1", "v2", "v2"))
            old_runs = await start(flow, "v1")
            more_new_runs = await start(flow, "v2")
            await finish([*new_runs, *more_new_runs], "v2")
            assert await refund.result(timeout=WITHIN_S) == "refund by v2"
            await finish(old_runs, "v1")
            # The old ones go with their runs under way: these wait, and are told of.
            left = await start(flow, "v1")
            for worker in old:
                assert await fleet.dismiss(worker) == 0
            await eventually(lambda: _all_met(flow, left))
            # Back: the deploy is undone, and what it left is served again at once.
            back = fleet.hire(*LEASE, DEPLOY_VERSION="v1")
            await finish(left, "v1")
            for worker in new:
                assert await fleet.dismiss(worker) == 0
            stranded_again = await start(flow, "v2")
            await eventually(lambda: _stranded(flow, "order", "v2", RUNS))
            fleet.hire(*LEASE, DEPLOY_VERSION="v2")
            await finish(stranded_again, "v2")
            assert back.poll() is None
            assert (await flow.stranded()).is_clear
            count = len([*new_runs, *more_new_runs, *old_runs, *left, *stranded_again])
    finally:
        await asyncio.to_thread(fleet.end)
    assert set(fleet.starts().values()) == {1}
    assert len(fleet.starts()) == 2 * count + 1
    said = fleet.said.read_text()
    # Each worker says once of each version that it has no code for it, however many runs it meets.
    assert 2 <= said.count("this worker has no code for order@") <= 6
    assert "Traceback" not in said
    raw, close = raw_calls(valkey_url)
    assert audit(raw, namespace) + leftovers(raw, namespace) == []
    close()


async def _stranded(flow: RedisFlow, workflow: str, version: str, count: int) -> bool:
    found = [each for each in (await flow.stranded()).runs if (each.workflow, each.version) == (workflow, version)]
    return [each.stranded for each in found] == [count]


async def _all_met(flow: RedisFlow, left: list[WorkflowHandle[list[str]]]) -> bool:
    """Whether each of them has ended, or waits for code and is told of."""
    unfinished = [run for run in [await handle.get() for handle in left] if not run.is_finished]
    waiting = sum(each.stranded for each in (await flow.stranded()).runs if each.version == "v1")
    return all(run.waiting_for == "stranded" for run in unfinished) and waiting == len(unfinished)


async def test_a_schedule_of_the_new_code_goes_on_while_only_workers_of_the_old_code_live(
    valkey_url: str, namespace: str
) -> None:
    """B6: nothing rests on a run that would start the next one. Whoever lives fires each tick; whoever can, runs it."""

    async def beat(step: Step) -> str:
        return str(step.version)

    async with RedisFlow(valkey_url, namespace=namespace) as old, RedisFlow(valkey_url, namespace=namespace) as new:
        old.define_workflow("beat", version="v1")(beat)
        define = new.define_workflow("beat", version="v2", schedule=Schedule(every="200ms", overlap="queue"))
        define(beat)
        async with new.new_worker(lease="2s"):
            await eventually(lambda: _ticks(new, 2))
        async with old.new_worker(lease="2s"):
            # Ticks come and make runs, which wait for each other, the first of them for its code.
            before = len([run async for run in new.list_runs(workflow="beat")])
            await eventually(lambda: _ticks(new, before + 5))
            (stranded,) = (await eventually(lambda: _stranded_report(new))).runs
            assert (stranded.version, stranded.cause) == ("v2", "no_code")
            async with new.new_worker(lease="2s"):
                await eventually(lambda: _ended(new, before + 5))
        await new.schedules.delete("beat")
        runs = [run async for run in new.list_runs(workflow="beat", order="oldest")]
        details = [await new.get_run(run.id) for run in runs]
        ticks = [run.scheduled_at for run in details if run.scheduled_at is not None]
        assert len(ticks) == len(set(ticks)) == len(runs)
        assert all(run.output == "v2" for run in details if run.status == "succeeded")
        assert all(later - earlier == timedelta(milliseconds=200) for earlier, later in pairwise(sorted(ticks)))
        for run in runs:
            await new.cancel_workflow_run(run.id)


async def _ticks(flow: RedisFlow, count: int) -> bool:
    return len([run async for run in flow.list_runs(workflow="beat")]) >= count


async def _ended(flow: RedisFlow, count: int) -> bool:
    return len([run async for run in flow.list_runs(workflow="beat", status="succeeded")]) >= count


async def _stranded_report(flow: RedisFlow):
    report = await flow.stranded()
    return report if report.runs else None
