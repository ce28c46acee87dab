"""What tools for people show and leave behind: notes of what was done to a run, queues, and each attempt of a step."""

from __future__ import annotations

import asyncio

import pytest

from redisflow import AesGcm, NonRetryableError, Payloads, QueueInfo, RedisFlow, RunNotFound, Step, StepOptions
from redisflow.run_id import new_run_id
from tests.stories.world import QUICK, until


async def notes_of(flow: RedisFlow, run_id: str) -> list[tuple[str, str, str]]:
    handle = await flow.get_handle(run_id)
    return [
        (event.kind, event.data["action"], event.data["by"])
        async for event in handle.events(live=False)
        if event.kind == "audit"
    ]


async def test_what_somebody_did_to_a_run_is_kept_among_its_events(flow: RedisFlow):
    @flow.define_workflow("work")
    async def work(step: Step) -> str:
        await step.wait_for_signal("go")
        return "done"

    handle = await work.run()
    await flow.note(handle.id, "pause", "ada")
    async with flow.new_worker():
        await until(flow, handle.id, lambda run: run.waiting_for == "signal")
        await flow.note(handle.id, "signal go", "grace")
        await handle.signal("go")
        assert await handle.result() == "done"
    await flow.note(handle.id, "rerun", "ada")
    assert await notes_of(flow, handle.id) == [
        ("audit", "pause", "ada"),
        ("audit", "signal go", "grace"),
        ("audit", "rerun", "ada"),
    ]


async def test_a_note_is_about_a_run_and_says_something(flow: RedisFlow):
    with pytest.raises(RunNotFound):
        await flow.note(new_run_id(0), "cancel", "ada")
    with pytest.raises(ValueError, match="action is text of 1 to 500 characters"):
        await flow.note(new_run_id(0), "", "ada")


async def test_notes_are_sealed_as_everything_else_that_is_said(valkey_url: str, namespace: str):
    payloads = Payloads(encrypt=AesGcm(write="key", keys={"key": bytes(32)}))
    async with RedisFlow(valkey_url, namespace=namespace, payloads=payloads) as flow:

        @flow.define_workflow("work")
        async def work(step: Step) -> None:
            await step.sleep("a day", "1d")

        handle = await work.run()
        await flow.note(handle.id, "cancel", "ada")
        assert await notes_of(flow, handle.id) == [("audit", "cancel", "ada")]


@pytest.mark.usefixtures("one_partition")  # of several, none has its turn first
async def test_queues_tell_what_lies_in_them(flow: RedisFlow):
    gate = asyncio.Event()

    @flow.define_workflow("work", queue="mail")
    async def work(step: Step) -> None:
        async def wait() -> None:
            await gate.wait()

        await step.run("wait", wait)

    handles = [await work.run() for _ in range(3)]
    await flow.controls.pause(queue="other")
    async with flow.new_worker(concurrency=1, queues=["mail"]):
        await until(flow, handles[0].id, lambda run: run.steps)
        found = {queue.name: queue for queue in await flow.queues()}
        assert isinstance(found["mail"], QueueInfo)
        assert (found["mail"].ready, found["mail"].held, found["mail"].is_paused) == (2, 1, False)
        created = (await flow.get_run(handles[0].id)).created_at
        assert found["mail"].oldest_at is not None
        assert abs((found["mail"].oldest_at - created).total_seconds()) < 1
        assert str(found["mail"]).startswith("queue mail: 2 ready, 1 held, the oldest since ")
        gate.set()
        for handle in handles:
            await handle.result()
        await flow.controls.pause(queue="mail")
        found = {queue.name: queue for queue in await flow.queues()}
        assert (found["mail"].ready, found["mail"].held, found["mail"].oldest_at) == (0, 0, None)
        assert found["mail"].is_paused
        await flow.controls.resume(queue="mail")


async def test_each_attempt_of_a_step_is_told_with_its_error(flow: RedisFlow):
    tried = 0

    @flow.define_workflow("work")
    async def work(step: Step) -> str:
        async def flaky() -> str:
            nonlocal tried
            tried += 1
            if tried < 3:
                msg = f"no luck {tried}"
                raise ConnectionError(msg)
            return "ok"

        return await step.run(StepOptions("flaky", retry=QUICK), flaky)

    async with flow.new_worker():
        handle = await work.run()
        assert await handle.result() == "ok"
    step = (await flow.get_run(handle.id)).step("flaky")
    assert step is not None
    assert [(each.attempt, each.error and each.error.message) for each in step.attempts] == [
        (1, "no luck 1"),
        (2, "no luck 2"),
        (3, None),
    ]
    assert all(each.started_at <= each.finished_at for each in step.attempts)
    assert step.attempts[0].finished_at <= step.attempts[1].started_at


async def test_the_record_of_a_run_is_told_entry_by_entry(flow: RedisFlow):
    tried = 0

    @flow.define_workflow("work")
    async def work(step: Step) -> str:
        async def flaky() -> str:
            nonlocal tried
            tried += 1
            if tried == 1:
                msg = "no luck"
                raise ConnectionError(msg)
            return "ok"

        await step.run(StepOptions("flaky", retry=QUICK), flaky)
        await step.sleep("nap", "10ms")
        return "done"

    async with flow.new_worker():
        handle = await work.run()
        assert await handle.result() == "done"
    entries = await flow.get_history(handle.id)
    assert [(entry.what, entry.step, entry.attempt) for entry in entries] == [
        ("attempt failed", "flaky", 1),
        ("step succeeded", "flaky", 2),
        ("timer asked", "nap", None),
        ("timer fired", "nap", None),
    ]
    assert [entry.number for entry in entries] == [0, 1, 2, 3]
    assert entries[0].error is not None
    assert entries[0].error.message == "no luck"
    assert entries[0].due_at is not None
    assert all(entry.counts for entry in entries)
    assert str(entries[1]).endswith("flaky: step succeeded, attempt 2")
    with pytest.raises(RunNotFound):
        await flow.get_history(new_run_id(0))


async def test_what_a_failed_attempt_of_the_workflow_archived_is_told_as_such(flow: RedisFlow):
    tried = 0

    @flow.define_workflow("work", retry=QUICK)
    async def work(step: Step) -> str:
        async def flaky() -> str:
            nonlocal tried
            tried += 1
            if tried == 1:
                msg = "no luck"
                raise NonRetryableError(msg)
            return "ok"

        return await step.run("flaky", flaky)

    async with flow.new_worker():
        handle = await work.run()
        assert await handle.result() == "ok"
    told = [(entry.what, entry.step, entry.counts) for entry in await flow.get_history(handle.id)]
    assert told == [
        ("step failed", "flaky", False),
        ("workflow attempt failed", None, True),
        ("step succeeded", "flaky", True),
    ]
