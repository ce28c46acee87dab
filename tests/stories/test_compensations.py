"""Compensations: a run that fails, is canceled or is late undoes what it has done, on whatever worker is alive."""

from __future__ import annotations

import asyncio

import pytest

from redisflow import (
    DeadlineExceeded,
    NonRetryableError,
    RedisFlow,
    RetryPolicy,
    RunStateConflict,
    Step,
    StepError,
    StepNotFound,
    StepOptions,
    WorkflowCanceled,
    WorkflowFailed,
)
from tests.stories.world import WITHIN_S, until

ONCE = RetryPolicy(maximum_attempts=1)


class Shop:
    """What steps did to the world."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.ships = asyncio.Event()
        self.stopped = asyncio.Event()

    async def do(self, what: str) -> str:
        self.did.append(what)
        return what

    async def ship(self) -> None:
        self.ships.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()

    async def refuse(self) -> None:
        raise NonRetryableError("out of stock")


@pytest.fixture
async def shop() -> Shop:
    return Shop()


def define_order(flow: RedisFlow, shop: Shop):
    @flow.define_workflow("order")
    async def order(step: Step) -> None:
        step.on_failure("refund", shop.do, "refund")
        await step.run("charge", shop.do, "charge")
        await step.run("reserve", shop.do, "reserve")
        step.on_failure("release", shop.do, "release")
        await step.run("ship", shop.ship)

    return order


async def test_a_run_that_fails_is_undone_and_keeps_its_own_failure(flow: RedisFlow, shop: Shop):
    @flow.define_workflow("order")
    async def order(step: Step) -> None:
        step.on_failure("refund", shop.do, "refund")
        await step.run("charge", shop.do, "charge")
        step.on_failure(StepOptions("release", retry=ONCE), shop.refuse)
        await step.run("ship", shop.refuse)

    async with flow.new_worker():
        handle = await order.run()
        with pytest.raises(WorkflowFailed, match=r"step 'ship' failed.*\[compensations that failed: release\]") as told:
            await handle.result(timeout="1m")
    assert any("compensation step 'release' failed" in note for note in told.value.__notes__)
    assert shop.did == ["charge", "refund"]
    run = await handle.get()
    assert [(step.key, step.kind, step.status) for step in run.steps] == [
        ("refund", "compensation", "succeeded"),
        ("charge", "run", "succeeded"),
        ("release", "compensation", "failed"),
        ("ship", "run", "failed"),
    ]


async def test_a_canceled_run_stops_its_body_and_is_undone_before_its_result_is_known(flow: RedisFlow, shop: Shop):
    order = define_order(flow, shop)
    async with flow.new_worker(lease="1h"):
        handle = await order.run()
        result = asyncio.create_task(handle.result(timeout="1m"))
        await asyncio.wait_for(shop.ships.wait(), WITHIN_S)
        assert await handle.cancel()
        with pytest.raises(WorkflowCanceled):
            await result
        assert shop.stopped.is_set()
        assert shop.did == ["charge", "reserve", "release", "refund"]
        assert await handle.cancel()
    run = await handle.get()
    assert (run.status, run.ending, run.error) == ("canceled", None, None)


async def test_until_a_worker_has_undone_it_a_run_says_that_it_is_being_canceled(flow: RedisFlow, shop: Shop):
    order = define_order(flow, shop)
    async with flow.new_worker(grace=0):
        handle = await order.run(deadline_at="1h")
        await asyncio.wait_for(shop.ships.wait(), WITHIN_S)
    deadline_at = (await handle.get()).deadline_at
    assert await handle.cancel()
    assert await handle.cancel()
    run = await handle.get()
    assert (run.status, run.ending, run.deadline_at) == ("pending", "canceled", deadline_at)
    assert "canceled: its compensations run" in str(run)
    async with flow.new_worker():
        with pytest.raises(WorkflowCanceled):
            await handle.result(timeout="1m")
    assert shop.did == ["charge", "reserve", "release", "refund"]


async def test_a_late_run_is_undone(flow: RedisFlow, shop: Shop):
    order = define_order(flow, shop)
    async with flow.new_worker():
        handle = await order.run(deadline_at="500ms")
        with pytest.raises(DeadlineExceeded):
            await handle.result(timeout="1m")
    assert shop.did in (["charge", "reserve", "release", "refund"], [], ["charge", "refund"])
    run = await handle.get()
    assert run.error is not None
    assert (run.status, run.error.error_type) == ("failed", "DeadlineExceeded")


async def test_a_run_that_succeeds_shows_nothing_of_what_it_did_not_need(flow: RedisFlow, shop: Shop):
    @flow.define_workflow("fine")
    async def fine(step: Step) -> str:
        step.on_failure("refund", shop.do, "refund")
        return await step.run("charge", shop.do, "charge")

    async with flow.new_worker():
        handle = await fine.run()
        assert await handle.result(timeout="1m") == "charge"
    assert [step.key for step in (await handle.get()).steps] == ["charge"]


async def test_what_was_done_can_be_undone_early_and_something_else_tried(flow: RedisFlow, shop: Shop):
    @flow.define_workflow("travel")
    async def travel(step: Step) -> str:
        step.on_failure("cancel-hotel", shop.do, "cancel hotel")
        await step.run("book-hotel", shop.do, "hotel")
        try:
            await step.run("book-flight", shop.refuse)
        except StepError:
            assert await step.compensate() == []
        return await step.run("book-train", shop.do, "train")

    async with flow.new_worker():
        assert await (await travel.run()).result(timeout="1m") == "train"
    assert shop.did == ["hotel", "cancel hotel", "train"]


async def test_a_run_that_was_undone_is_not_retried_in_place_but_run_again_or_forked(flow: RedisFlow, shop: Shop):
    @flow.define_workflow("fails")
    async def fails(step: Step) -> None:
        step.on_failure("refund", shop.do, "refund")
        await step.run("charge", shop.do, "charge")
        await step.run("ship", shop.ship if shop.did.count("refund") else shop.refuse)

    async with flow.new_worker():
        handle = await fails.run()
        with pytest.raises(WorkflowFailed):
            await handle.result(timeout="1m")
        with pytest.raises(RunStateConflict, match="compensations have undone what it did; rerun"):
            await handle.retry()
        with pytest.raises(StepNotFound, match="'refund'"):
            await handle.fork(steps={"refund": None})
        # A fork has the stack of its beginning.
        fork = await handle.fork(from_step="ship")
        await asyncio.wait_for(shop.ships.wait(), WITHIN_S)
        assert await fork.cancel()
        with pytest.raises(WorkflowCanceled):
            await fork.result(timeout="1m")
    assert shop.did == ["charge", "refund", "refund"]


async def test_a_parent_hears_of_a_canceled_child_once_it_is_undone(flow: RedisFlow, shop: Shop):
    order = define_order(flow, shop)

    @flow.define_workflow("parent")
    async def parent(step: Step) -> str:
        try:
            await step.run_workflow(order)
        except StepError as error:
            return f"{type(error).__name__} after {len(shop.did)}"
        return "not canceled"

    async with flow.new_worker():
        handle = await parent.run()
        await asyncio.wait_for(shop.ships.wait(), WITHIN_S)
        run = await until(flow, handle.id, lambda run: run.steps and run.steps[0].child_id)
        await flow.cancel_workflow_run(run.steps[0].child_id)
        assert await handle.result(timeout="1m") == "ChildCanceled after 4"


@pytest.mark.parametrize("end", ["cancel", "failure"])
async def test_children_that_are_waited_for_are_canceled_before_their_parent_is_undone(flow: RedisFlow, end: str):
    child_ended, undone = asyncio.Event(), asyncio.Event()

    @flow.define_workflow("child")
    async def child(step: Step) -> None:
        await step.wait_for_signal("never sent")

    async def undo() -> None:
        await asyncio.wait_for(child_ended.wait(), WITHIN_S)
        undone.set()

    @flow.define_workflow("parent")
    async def parent(step: Step) -> None:
        step.on_failure("undo", undo)
        waits = asyncio.ensure_future(step.run_workflow(child))
        if end == "failure":
            await step.wait_for_signal("fail")
            msg = "no"
            raise NonRetryableError(msg)
        await waits

    async with flow.new_worker():
        handle = await parent.run()
        started = await until(flow, handle.id, lambda run: run.status == "waiting" and run.step("child"))
        found = started.step("child")
        assert found is not None
        assert found.child_id is not None
        await until(flow, found.child_id, lambda run: run.waiting_for == "signal")
        await (handle.cancel() if end == "cancel" else handle.signal("fail"))
        await until(flow, found.child_id, lambda run: run.status == "canceled")
        assert not undone.is_set()
        assert not (await handle.get()).is_finished
        child_ended.set()
        await until(flow, handle.id, lambda run: run.status == ("canceled" if end == "cancel" else "failed"))
    assert undone.is_set()
