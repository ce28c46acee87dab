"""Retention: finished runs go when their time is over, or now, and nothing of them is left."""

from __future__ import annotations

import pytest

from redisflow import Retention, RunNotFinished, RunNotFound, Step
from tests.keyspace import raw_calls
from tests.leaks import leaks
from tests.stories.world import eventually, until

pytestmark = pytest.mark.usefixtures("no_key_left")


async def test_a_worker_deletes_what_has_been_kept_for_long_enough(flow, server_url):
    @flow.define_workflow("short", retention=Retention(succeeded="50ms", failed="7d"))
    async def short(number: int, step: Step) -> int:
        if number < 0:
            raise ValueError("no such number")
        return number

    @flow.define_workflow("long")
    async def long(step: Step) -> str:
        return "kept"

    async with flow.new_worker(lease="500ms"):
        gone = [await short.run(number, tags={"kind": "short"}) for number in range(3)]
        failed, kept = await short.run(-1, tags={"kind": "short"}), await long.run()

        async def left() -> list[str]:
            return [run.id async for run in flow.list_runs()]

        async def is_over() -> bool:
            return sorted(await left()) == sorted([failed.id, kept.id])

        await eventually(is_over)
        with pytest.raises(RunNotFound, match="is not stored"):
            await gone[0].result(timeout="1m")
        assert [run.id async for run in flow.list_runs(tags={"kind": "short"})] == [failed.id]
        assert await kept.result(timeout="1m") == "kept"
    await failed.delete()
    await kept.delete()
    raw, close = raw_calls(server_url)
    assert not leaks(raw, flow.namespace)
    close()


async def test_a_run_is_deleted_now_once_it_is_finished(flow):
    @flow.define_workflow("nap")
    async def nap(step: Step) -> None:
        await step.sleep("nap", "7d")

    async with flow.new_worker(lease="30s"):
        handle = await nap.run(tags={"a": "b"}, idempotency_key="once")
        await until(flow, handle.id, lambda run: run.waiting_for == "timer")
        with pytest.raises(RunNotFinished, match=f"run {handle.id} is waiting and was not deleted.*cancel it first"):
            await handle.delete()
        await handle.cancel()
        await handle.delete()
        await flow.delete_run(handle.id)
        with pytest.raises(RunNotFound):
            await flow.get_run(handle.id)
        with pytest.raises(RunNotFound):
            await handle.result(timeout="1m")
        # Its key outlives it: what was started once is not started again within the key's time.
        again = await nap.run(idempotency_key="once")
        assert again.id == handle.id
        assert again.workflow_run.existing
