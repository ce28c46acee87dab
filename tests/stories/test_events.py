"""Following a run from outside: its events as they come, and its state."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from redisflow import (
    CannotRecord,
    Event,
    InvalidName,
    NonRetryableError,
    NotAllowedInWorkflow,
    RedisFlow,
    RetryPolicy,
    RunNotFound,
    Step,
    StepError,
    StepOptions,
    WorkflowFailed,
)
from redisflow.contract import EVENTS_KEPT
from redisflow.run_id import new_run_id
from tests.stories.world import QUICK, eventually, until


@dataclass
class Draft:
    text: str
    words: int


def shown(events: list[Event]) -> list[Any]:
    return [event.data for event in events]


async def test_an_agent_streams_its_tokens_and_waits_for_a_person(flow: RedisFlow):
    async def write(prompt: str, step: Step) -> Draft:
        words = [f"{prompt}-{number}" for number in range(5)]
        for word in words:
            step.emit(word, kind="token")
            await asyncio.sleep(0)
        return Draft(" ".join(words), len(words))

    @flow.define_workflow("agent")
    async def agent(prompt: str, step: Step) -> str:
        step.set_state("phase", "writing")
        while True:
            draft = await step.run("write", write, prompt, step)
            step.set_state("phase", "waiting for approval")
            step.emit(draft, kind="draft")
            answer = await step.wait_for_signal("review", str)
            if answer == "fine":
                step.set_state("phase", "published")
                return draft.text
            step.log.info("again, because of %s", answer)
            prompt = answer

    async with flow.new_worker():
        handle = await agent.run("sun")
        seen: list[Event] = []
        async with contextlib.aclosing(handle.events()) as events:
            async for event in events:
                seen.append(event)
                if event.kind == "draft":
                    break
        assert [(event.kind, event.step) for event in seen] == [("token", "write")] * 5 + [("draft", None)]
        assert seen[-1].data == {"text": "sun-0 sun-1 sun-2 sun-3 sun-4", "words": 5}
        assert await handle.state() == {"phase": "waiting for approval"}
        await until(flow, handle.id, lambda run: run.waiting_for == "signal")
        await handle.signal("review", "moon")
        async with asyncio.timeout(60):
            async for event in handle.events(after=seen[-1].id):
                seen.append(event)
                if event.kind == "draft":
                    await handle.signal("review", "fine")
        assert shown(seen[6:8]) == [{"level": "INFO", "message": "again, because of moon"}, "moon-0"]
        assert seen[-1].data["text"] == await handle.result(timeout="1m")
        assert await handle.state() == {"phase": "published"}
        assert [event async for event in handle.events()] == seen


async def test_everything_a_body_said_is_stored_before_its_result(flow: RedisFlow):
    async def stream(step: Step) -> int:
        for number in range(250):
            step.emit(number)
        step.set_state("last", 249)
        return 250

    def stream_in_thread(step: Step) -> int:
        for number in range(250, 500):
            step.emit(number)
        step.log.warning("that was all")
        return 500

    @flow.define_workflow("stream")
    async def workflow(step: Step) -> list[int]:
        return [await step.run("stream", stream, step), await step.run("thread", stream_in_thread, step)]

    async with flow.new_worker():
        handle = await workflow.run()
        assert await handle.result(timeout="1m") == [250, 500]
        events = [event async for event in handle.events(live=False)]
        assert shown(events) == [*range(500), {"level": "WARNING", "message": "that was all"}]
        assert {event.step for event in events[250:]} == {"thread"}
        assert [event.id for event in events] == sorted(
            {event.id for event in events}, key=lambda one: [int(part) for part in one.split("-")]
        )
        assert await handle.state() == {"last": 249}


async def test_what_the_code_said_before_a_step_stands_before_what_its_body_says(flow: RedisFlow):
    def say(step: Step, number: int) -> None:
        step.emit(number)

    @flow.define_workflow("ordered")
    async def workflow(step: Step) -> None:
        for number in range(250):  # more than one commit takes
            step.emit(number)
        step.emit("x" * 60_000)
        step.emit("y" * 60_000)  # a commit that takes the way of what is large
        await asyncio.gather(*(step.run("say", say, step, 250) for _ in range(3)))
        step.emit(251)

    async with flow.new_worker():
        handle = await workflow.run()
        await handle.result(timeout="1m")
    seen = [event.data async for event in handle.events() if not isinstance(event.data, str)]
    assert seen == [*range(250), 250, 250, 250, 251]
    events = [event async for event in handle.events()]
    assert [event.data[0] for event in events[250:252]] == ["x", "y"]


async def test_an_attempt_that_is_made_again_says_it_again_and_tells_so(flow: RedisFlow):
    async def flaky(step: Step) -> None:
        step.emit("half")
        if step.attempt == 1:
            raise ValueError("no")
        step.emit("whole")

    @flow.define_workflow("flaky")
    async def workflow(step: Step) -> None:
        step.emit("begin")
        await step.run(StepOptions("flaky", retry=QUICK), flaky, step)
        step.emit("end")

    async with flow.new_worker():
        handle = await workflow.run()
        async with asyncio.timeout(60):
            seen = [(event.data, event.attempt) async for event in handle.events()]
    assert seen == [("begin", None), ("half", 1), ("half", 2), ("whole", 2), ("end", None)]


async def test_who_follows_from_the_start_sees_what_comes_later(flow: RedisFlow):
    go_on = asyncio.Event()

    async def hold(step: Step) -> None:
        step.emit("held")
        await go_on.wait()
        step.emit("freed")

    @flow.define_workflow("late")
    async def workflow(step: Step) -> None:
        await step.run("hold", hold, step)

    handle = await workflow.run()
    followers = [handle.events(), (await flow.get_handle(handle.id, workflow)).events()]
    firsts = [asyncio.ensure_future(anext(follower)) for follower in followers]
    async with flow.new_worker(), asyncio.timeout(60):
        assert [(await first).data for first in firsts] == ["held", "held"]
        assert await handle.state() == {}
        go_on.set()
        assert [[event.data async for event in follower] for follower in followers] == [["freed"], ["freed"]]


async def test_a_canceled_run_has_said_its_last(flow: RedisFlow):
    @flow.define_workflow("patient")
    async def workflow(step: Step) -> None:
        step.emit("waiting")
        await step.sleep("long", "1h")
        step.emit("never")

    async with flow.new_worker(), asyncio.timeout(60):
        handle = await workflow.run()
        seen = []
        async for event in handle.events():
            seen.append(event.data)
            await handle.cancel()
    assert seen == ["waiting"]


async def test_what_nobody_can_follow_is_refused(flow: RedisFlow):
    @flow.define_workflow("quiet")
    async def quiet(step: Step) -> None:
        with pytest.raises(CannotRecord):
            step.emit(lambda: None)

    stranger = await flow.get_handle(new_run_id(0), quiet)
    with pytest.raises(RunNotFound, match=stranger.id):
        await anext(stranger.events())
    with pytest.raises(RunNotFound):
        await stranger.state()
    handle = await quiet.run()
    with pytest.raises(ValueError, match=r"event\.id"):
        await anext(handle.events(after="yesterday"))
    async with flow.new_worker():
        await handle.result(timeout="1m")
    assert [event async for event in handle.events()] == []


async def test_a_thread_of_ones_own_must_know_its_body(valkey_flow: RedisFlow):
    problems: list[BaseException] = []

    async def body(step: Step) -> None:
        def emit() -> None:
            try:
                step.emit("from nowhere")
            except NotAllowedInWorkflow as error:
                problems.append(error)

        thread = threading.Thread(target=emit)
        thread.start()
        await asyncio.to_thread(thread.join)
        await asyncio.to_thread(step.emit, "from a thread that knows")

    @valkey_flow.define_workflow("threads")
    async def workflow(step: Step) -> None:
        await step.run("body", body, step)

    async with valkey_flow.new_worker():
        handle = await workflow.run()
        await handle.result(timeout="1m")
    assert [event.data async for event in handle.events()] == ["from a thread that knows"]
    assert "copy_context" in str(problems[0])


async def test_a_body_in_a_thread_waits_for_room_and_one_on_the_loop_loses_the_oldest(
    valkey_flow: RedisFlow, caplog: pytest.LogCaptureFixture
):
    many = EVENTS_KEPT + 5_000

    def in_thread(step: Step) -> None:
        step.set_state("said before the flood", step.attempt)
        for number in range(many):
            step.emit(number)

    async def on_loop(step: Step) -> None:
        in_thread(step)

    @valkey_flow.define_workflow("flood")
    async def workflow(step: Step, /) -> None:
        await step.run("thread", in_thread, step)
        await step.wait_for_signal("go on")
        await step.run("loop", on_loop, step)

    async with valkey_flow.new_worker():
        handle = await workflow.run()
        await until(valkey_flow, handle.id, lambda run: run.waiting_for == "signal")
        events = [event async for event in handle.events(live=False)]
        assert shown(events) == list(range(many))[-len(events) :]
        assert events[0].is_after_gap
        assert not any(event.is_after_gap for event in events[1:])
        assert not caplog.records
        with caplog.at_level(logging.WARNING, "redisflow.worker"):
            await handle.signal("go on")
            await handle.result(timeout="1m")
        assert "events were dropped" in caplog.text
        seen = [event.data async for event in handle.events() if event.step == "loop"]
        assert seen == list(range(many))[-len(seen) :]
        assert seen[-1] == many - 1
        assert await handle.state() == {"said before the flood": 1}


async def test_a_state_with_too_many_keys_refuses_the_next(valkey_flow: RedisFlow):
    async def body(step: Step) -> str:
        for number in range(100):
            step.set_state(f"key {number}", number)
        try:
            step.set_state("one more", 1)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "taken"

    @valkey_flow.define_workflow("full")
    async def workflow(step: Step) -> str:
        return await step.run("body", body, step)

    async with valkey_flow.new_worker():
        handle = await workflow.run()
        assert (await handle.result(timeout="1m")).startswith(f"StateFull: the state of run {handle.id} has 100 keys")
        assert len(await handle.state()) == 100


async def test_a_worker_that_stops_in_the_middle_leaves_a_stream_that_goes_on(flow: RedisFlow):
    @flow.define_workflow("handed-over")
    async def workflow(step: Step) -> None:
        for number in range(3):
            step.emit(number)
            await step.wait_for_signal("next")

    handle = await workflow.run()
    seen: list[Any] = []

    async def follow() -> None:
        async for event in handle.events():
            seen.append(event.data)  # noqa: PERF401  # looked at while it grows

    following = asyncio.ensure_future(follow())
    for number in range(3):
        async with flow.new_worker():
            await eventually(partial(_has, seen, number + 1))
            await until(flow, handle.id, lambda run: run.waiting_for == "signal")
        await handle.signal("next")
    async with flow.new_worker(), asyncio.timeout(60):
        await following
    assert seen == [0, 1, 2]


async def _has(seen: list[Any], count: int) -> bool:
    return len(seen) == count


async def test_a_failed_run_that_goes_on_in_place_says_nothing_again_and_a_fork_tells_it_all(flow: RedisFlow):
    broken = [True]

    async def work() -> None:
        if broken:
            raise NonRetryableError("no")

    @flow.define_workflow("mended")
    async def workflow(step: Step) -> None:
        step.emit("begin")
        try:
            await step.run("work", work)
        except StepError:
            step.emit("it failed")
            raise
        step.emit("done")

    async with flow.new_worker():
        handle = await workflow.run()
        with pytest.raises(WorkflowFailed):
            await handle.result(timeout="1m")
        broken.clear()
        await handle.retry()
        await handle.result(timeout="1m")
        assert [event.data async for event in handle.events()] == ["begin", "it failed", "done"]
        forked = await handle.fork("work")
        await forked.result(timeout="1m")
        assert [event.data async for event in forked.events()] == ["begin", "done"]


async def test_a_run_cannot_say_what_people_did_to_it(rf: RedisFlow):
    async def forge(step: Step) -> None:
        step.emit({"action": "approve", "by": "ada"}, kind="audit")

    @rf.define_workflow("forger")
    async def forger(step: Step) -> list[str]:
        refused: list[str] = []
        for kind in ("audit", "audited"):
            try:
                step.emit({"action": "approve", "by": "ada"}, kind=kind)
            except InvalidName as error:
                refused.append(str(error))
        try:
            await step.run(StepOptions("forge", retry=RetryPolicy(maximum_attempts=1)), forge, step)
        except StepError as error:
            refused.append(str(error))
        return refused

    async with rf.new_worker():
        run = await rf.run_workflow("forger")
        first, second = await run.result(10)
    assert "flow.note" in first
    assert "flow.note" in second
    assert [event.kind async for event in run.events(live=False)] == ["audited"]
