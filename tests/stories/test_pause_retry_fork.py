"""What a person can do to a run: pause and resume it, retry it in place, run it again, fork it."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel

from redisflow import (
    NonDeterminismError,
    RedisFlow,
    RetryPolicy,
    RunStateConflict,
    Step,
    StepError,
    StepNotFound,
    StepOptions,
    WorkflowFailed,
)
from redisflow.authoring.body import current_body
from tests.stories.world import QUICK, until

ONCE = RetryPolicy(maximum_attempts=1)


class Quote(BaseModel):
    """What a step gives."""

    total: int
    currency: str = "EUR"


class Shop:
    """A workflow of three steps, whose outside world can be broken and mended."""

    def __init__(self, flow: RedisFlow) -> None:
        self.is_broken = True
        self.keys: list[str] = []

        def note() -> None:
            body = current_body.get()
            assert body is not None
            self.keys.append(body.idempotency_key.partition(":")[2])

        async def price(item: str) -> Quote:
            note()
            return Quote(total=len(item))

        async def charge(quote: Quote) -> str:
            note()
            if self.is_broken:
                raise ConnectionError("the bank is away")
            return f"paid {quote.total} {quote.currency}"

        async def ship(item: str) -> str:
            note()
            return f"{item} is on its way"

        @flow.define_workflow("order")
        async def order(item: str, step: Step) -> list[str]:
            quote = await step.run("price", price, item)
            paid = await step.run(StepOptions("charge", retry=ONCE), charge, quote)
            return [paid, await step.run("ship", ship, item)]

        self.order = order


# -- pause and resume -----------------------------------------------


async def test_a_paused_run_stops_what_it_is_doing_and_does_it_again_when_it_is_resumed(flow: RedisFlow):
    starts: list[str] = []
    may_end = asyncio.Event()
    was_cancelled = asyncio.Event()

    async def work() -> str:
        starts.append("work")
        try:
            await may_end.wait()
        except asyncio.CancelledError:
            was_cancelled.set()
            raise
        return "done"

    async def before() -> int:
        starts.append("before")
        return 1

    @flow.define_workflow("long")
    async def long(step: Step) -> str:
        await step.run("before", before)
        return await step.run("work", work)

    async with flow.new_worker():
        handle = await long.run()
        await until(flow, handle.id, lambda _: "work" in starts)
        await handle.pause()
        await handle.pause()
        await asyncio.wait_for(was_cancelled.wait(), 60)
        run = await handle.get()
        assert (run.status, run.waiting_for) == ("waiting", "paused")
        may_end.set()
        await handle.resume()
        assert await handle.result(timeout="1m") == "done"
    assert starts == ["before", "work", "work"]
    with pytest.raises(RunStateConflict, match=r"is succeeded: it cannot be paused any more") as refused:
        await handle.pause()
    assert refused.value.status == "succeeded"


async def test_a_sleep_that_ends_during_a_pause_ends_when_the_run_is_resumed(flow: RedisFlow):
    @flow.define_workflow("nap")
    async def nap(step: Step) -> str:
        await step.sleep("nap", "300ms")
        return "awake"

    async with flow.new_worker():
        handle = await nap.run()
        await until(flow, handle.id, lambda run: run.waiting_for == "timer")
        await handle.pause()
        other = await nap.run()
        assert await other.result(timeout="1m") == "awake"
        assert (await handle.get()).waiting_for == "paused"
        await handle.resume()
        assert await handle.result(timeout="1m") == "awake"


async def test_a_paused_run_can_be_canceled_and_ends_at_its_deadline(flow: RedisFlow):
    shop = Shop(flow)
    canceled, late = await shop.order.run("cup"), await shop.order.run("cup", deadline_at="200ms")
    await canceled.pause()
    await late.pause()
    assert await canceled.cancel()
    async with flow.new_worker():
        run = await until(flow, late.id, lambda run: run.is_finished)
    assert run.error.error_type == "DeadlineExceeded"


# -- retry in place -----------------------------------------------


async def test_a_retried_run_runs_only_what_had_not_completed(flow: RedisFlow):
    shop = Shop(flow)
    async with flow.new_worker():
        handle = await shop.order.run("cup")
        with pytest.raises(WorkflowFailed):
            await handle.result(timeout="1m")
        await handle.retry()
        with pytest.raises(WorkflowFailed):  # of this retry: the bank is still away
            await handle.result(timeout="1m")
        shop.is_broken = False
        await handle.retry()
        assert await handle.result(timeout="1m") == ["paid 3 EUR", "cup is on its way"]
    run = await handle.get()
    assert (run.retries, run.error) == (2, None)
    # The step that failed runs under a new key each time: outside, it is not the one that failed.
    assert shop.keys == ["price", "charge", "charge#01", "charge#02", "ship#02"]
    with pytest.raises(RunStateConflict, match=r"is succeeded: there is nothing to retry; rerun\(\)"):
        await handle.retry()


async def test_retry_runs_every_step_that_failed_beside_the_first(flow: RedisFlow):
    broken = True
    runs: list[str] = []

    async def part(name: str) -> str:
        runs.append(name)
        if broken and name != "good":
            raise OSError(name)
        return name

    @flow.define_workflow("parts")
    async def parts(step: Step) -> list[str]:
        names = ("good", "one", "two")
        calls = [step.run(StepOptions(name, retry=ONCE), part, name) for name in names]
        found = await asyncio.gather(*calls, return_exceptions=True)
        for one in found:
            if isinstance(one, BaseException):
                raise RuntimeError("a part is missing") from one
        return [str(one) for one in found]

    async with flow.new_worker():
        handle = await parts.run()
        with pytest.raises(WorkflowFailed, match="a part is missing"):
            await handle.result(timeout="1m")
        broken = False
        await handle.retry()
        assert await handle.result(timeout="1m") == ["good", "one", "two"]
    assert sorted(runs) == ["good", "one", "one", "two", "two"]


async def test_a_failure_that_the_workflow_had_handled_is_not_undone_by_a_retry(flow: RedisFlow):
    is_bad = True

    async def fails() -> None:
        raise OSError("no")

    @flow.define_workflow("fallback")
    async def fallback(step: Step) -> str:
        try:
            await step.run(StepOptions("first", retry=ONCE), fails)
        except StepError:
            await step.sleep("breathe", "1ms")
        if is_bad:
            raise ValueError("of the code itself")
        return "fallen back"

    async with flow.new_worker():
        handle = await fallback.run()
        with pytest.raises(WorkflowFailed, match="of the code itself"):
            await handle.result(timeout="1m")
        is_bad = False  # fixed code is deployed
        await handle.retry()
        assert await handle.result(timeout="1m") == "fallen back"
    assert [step.status for step in (await handle.get()).steps] == ["failed", "succeeded"]


async def test_a_retried_run_starts_those_children_anew_that_had_not_succeeded(flow: RedisFlow):
    is_broken = True
    may_end = asyncio.Event()
    runs: list[str] = []

    async def work(name: str) -> str:
        runs.append(name)
        if name == "slow":
            await may_end.wait()
        if is_broken and name in {"failing", "failing step"}:
            raise OSError(name)
        return name

    @flow.define_workflow("child")
    async def child(name: str, step: Step) -> str:
        return await step.run(StepOptions("work", retry=ONCE), work, name)

    @flow.define_workflow("parent")
    async def parent(fails: str, step: Step) -> list[str]:
        slow = step.run_workflow(child, "slow", name="slow")

        async def others() -> list[str]:
            first = await step.run_workflow(child, "fine", name="fine")
            second = await step.run("step", work, "step")
            if fails == "child":
                return [first, second, await step.run_workflow(child, "failing", name="failing")]
            return [first, second, await step.run(StepOptions("failing", retry=ONCE), work, "failing step")]

        one, more = await asyncio.gather(slow, others())
        return [one, *more]

    async with flow.new_worker():
        for fails, failing in (("child", "failing"), ("step", "failing step")):
            is_broken = True
            runs.clear()
            handle = await parent.run(fails)
            with pytest.raises(WorkflowFailed):
                await handle.result(timeout="1m")
            is_broken = False
            may_end.set()
            await handle.retry()
            assert await handle.result(timeout="1m") == ["slow", "fine", "step", failing]
            assert sorted(runs) == sorted(["slow", "fine", "step", failing, "slow", failing])
            may_end.clear()
        # A fork waits for children of its own.
        may_end.set()
        fork = await handle.fork("failing")
        assert await fork.result(timeout="1m") == ["slow", "fine", "step", "failing step"]
        assert (await handle.get()).attempt == 2


async def test_a_run_that_missed_its_deadline_is_retried_with_a_new_one(flow: RedisFlow):
    shop = Shop(flow)
    shop.is_broken = False
    handle = await shop.order.run("cup", deadline_at="1ms", available_at="10ms")
    async with flow.new_worker():
        with pytest.raises(WorkflowFailed):
            await handle.result(timeout="1m")
        with pytest.raises(RunStateConflict, match=r"give a new one, retry\(deadline_at=...\)"):
            await handle.retry()
        await handle.retry(deadline_at="1m")
        assert (await handle.result(timeout="1m"))[0] == "paid 3 EUR"


async def test_to_cancel_is_final_for_retry_but_not_for_rerun(flow: RedisFlow):
    shop = Shop(flow)
    shop.is_broken = False
    handle = await shop.order.run("cup")
    await handle.cancel()
    with pytest.raises(RunStateConflict, match="to cancel is final"):
        await handle.retry()
    again = await handle.rerun()
    async with flow.new_worker():
        assert (await again.result(timeout="1m"))[1] == "cup is on its way"
    assert (await again.get()).forked_from == handle.id


# -- rerun and fork -----------------------------------------------


async def test_a_rerun_takes_input_version_and_queue_from_the_run_unless_told_otherwise(flow: RedisFlow):
    shop = Shop(flow)
    first = await shop.order.run("cup", queue="slow")
    same, other = await first.rerun(), await first.rerun(queue="fast", idempotency_key="once")
    assert other.id == (await first.rerun(queue="fast", idempotency_key="once")).id
    runs = [await handle.get() for handle in (same, other)]
    assert [(run.input, run.queue, run.forked_from) for run in runs] == [
        ("cup", "slow", first.id),
        ("cup", "fast", first.id),
    ]


async def test_a_fork_runs_from_the_step_on_with_what_was_before_it(flow: RedisFlow):
    shop = Shop(flow)
    shop.is_broken = False
    async with flow.new_worker():
        handle = await shop.order.run("cup")
        await handle.result(timeout="1m")
        shop.keys.clear()
        fork = await handle.fork("charge")
        assert await fork.result(timeout="1m") == ["paid 3 EUR", "cup is on its way"]
        assert shop.keys == ["charge", "ship"]
        shop.keys.clear()
        edited = await handle.fork("ship", input="pot", steps={"charge": "paid by hand"})
        assert await edited.result(timeout="1m") == ["paid by hand", "pot is on its way"]
        typed = await handle.fork("charge", steps={"price": Quote(total=7, currency="CHF")})
        assert (await typed.result(timeout="1m"))[0] == "paid 7 CHF"
    run = await fork.get()
    assert (run.forked_from, run.started_at) == (handle.id, run.created_at), "its first steps are older than itself"
    listed = {each.id: each.started_at async for each in flow.list_runs()}
    assert listed[fork.id] == run.created_at
    assert [step.key for step in run.steps] == ["price", "charge", "ship"]


async def test_a_failed_step_is_given_a_result_by_hand(flow: RedisFlow):
    shop = Shop(flow)
    async with flow.new_worker():
        handle = await shop.order.run("cup")
        with pytest.raises(WorkflowFailed):
            await handle.result(timeout="1m")
        mended = await handle.fork(steps={"charge": "paid in cash"})
        assert await mended.result(timeout="1m") == ["paid in cash", "cup is on its way"]


async def test_a_pause_keeps_signals_for_the_run_and_a_fork_can_be_given_another_one(flow: RedisFlow):
    @flow.define_workflow("approve")
    async def approve(step: Step) -> str:
        said = await step.wait_for_signal("approval", str, timeout="1h")
        await step.sleep("think", "1ms")
        return said or "nobody"

    async with flow.new_worker():
        handle = await approve.run()
        await until(flow, handle.id, lambda run: run.waiting_for == "signal")
        await handle.pause()
        await handle.signal("approval", "yes")
        assert (await handle.get()).waiting_for == "paused"
        await handle.resume()
        assert await handle.result(timeout="1m") == "yes"
        other = await handle.fork(steps={"approval": "no"})
        assert await other.result(timeout="1m") == "no"


async def test_a_fork_names_the_steps_that_there_are(flow: RedisFlow):
    shop = Shop(flow)
    async with flow.new_worker():
        handle = await shop.order.run("cup")
        with pytest.raises(WorkflowFailed):
            await handle.result(timeout="1m")
    with pytest.raises(StepNotFound, match=r"has no step 'ship' to fork from; it has 'price', 'charge'"):
        await handle.fork("ship")
    with pytest.raises(StepNotFound, match=r"has no step 'charge' whose result could be edited before that point"):
        await handle.fork("charge", steps={"charge": "paid"})
    with pytest.raises(ValueError, match="a fork begins at a step"):
        await handle.fork()


async def test_a_fork_whose_edited_value_takes_another_way_is_suspended_with_a_diff(flow: RedisFlow):
    async def choose() -> str:
        return "left"

    async def walk() -> None:
        pass

    @flow.define_workflow("way")
    async def way(step: Step) -> str:
        side = await step.run("choose", choose)
        await step.run(f"go-{side}", walk)
        return await step.run("arrive", choose)

    async with flow.new_worker():
        handle = await way.run()
        await handle.result(timeout="1m")
        fork = await handle.fork("arrive", steps={"choose": "right"})
        run = await until(flow, fork.id, lambda run: run.waiting_for == "suspended")
    assert run.error.error_type.endswith(NonDeterminismError.__name__)
    assert "go-right" in run.error.message


async def test_a_long_record_is_forked_too(flow: RedisFlow):
    async def number(n: int) -> int:
        return n

    @flow.define_workflow("count")
    async def count(step: Step) -> int:
        return sum(await step.gather(*(step.run(f"n{n}", number, n) for n in range(1200)))) + await step.run(
            StepOptions("last", retry=QUICK), number, 1
        )

    async with flow.new_worker():
        handle = await count.run()
        expected = await handle.result(timeout="1m")
        fork = await handle.fork("last", steps={"n7": 1007})
        assert await fork.result(timeout="1m") == expected + 1000
