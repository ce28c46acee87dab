"""Flow control: limits, rates, priorities and fair keys, as users of a server see them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import pytest

from redisflow import (
    IdempotencyConflict,
    InvalidLimit,
    Limit,
    Rate,
    RedisFlow,
    RetryPolicy,
    Schedule,
    Step,
    StepError,
    StepOptions,
    WorkflowFailed,
    WorkflowRun,
)
from redisflow.run_id import partition_of
from tests.stories.world import PUNCTUAL, at_best, eventually, until


@dataclass(frozen=True)
class Order:
    customer: str
    number: int = 0


class Gauge:
    """How many bodies run at once, and the most that ever did, by label."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.order: list[str] = []
        # Closed, nobody leaves: then those that may run at once are seen together.
        self.gate = asyncio.Event()
        self.gate.set()

    async def work(self, *labels: str) -> None:
        self.order.append("-".join(labels))
        self.now.update(labels)
        self.most |= self.now
        try:
            await asyncio.sleep(0.002)  # the work itself: long enough to be seen beside another
            await self.gate.wait()
        finally:
            self.now.subtract(labels)

    async def open_when(self, **wanted: int) -> None:
        """Let go on who is there, once so many of each label are."""
        await eventually(lambda: _true(all(self.now[label] >= count for label, count in wanted.items())))
        self.gate.set()


async def test_no_more_runs_at_a_time_than_the_limit_over_several_workers(flow):
    gauge = Gauge()

    @flow.define_workflow("limited", concurrency=Limit(3))
    async def limited(step: Step) -> None:
        await step.run("work", gauge.work, "run")
        await step.sleep("nap", "5ms")
        await step.run("more", gauge.work, "run")

    gauge.gate.clear()
    async with flow.new_worker(), flow.new_worker(), flow.new_worker():
        handles = [await limited.run() for _ in range(20)]
        await gauge.open_when(run=3)
        await asyncio.gather(*(handle.result(timeout="1m") for handle in handles))
    assert gauge.most["run"] == 3


async def test_each_customer_has_a_limit_and_all_of_them_another(flow):
    gauge = Gauge()

    @flow.define_workflow("order", concurrency=[Limit(4), Limit(2, key=lambda order: order.customer)])
    async def process(order: Order, step: Step) -> None:
        await step.run("work", gauge.work, order.customer, "all")

    async with flow.new_worker():
        orders = [Order(customer, number) for number in range(6) for customer in ("ada", "bob", "cy")]
        gauge.gate.clear()
        handles = await process.run_many(orders)
        await gauge.open_when(all=4)
        await asyncio.gather(*(handle.result(timeout="1m") for handle in handles))
    assert gauge.most["all"] == 4
    assert max(gauge.most[customer] for customer in ("ada", "bob", "cy")) == 2


async def test_a_run_that_waits_for_a_limit_says_so_and_can_be_canceled(flow):
    gauge = Gauge()
    gauge.gate.clear()

    @flow.define_workflow("one-at-a-time", concurrency=Limit(1))
    async def limited(step: Step) -> str:
        await step.run("work", gauge.work)
        return "done"

    async with flow.new_worker():
        first = await limited.run()
        await eventually(lambda: _true(gauge.order))
        second, third = await limited.run(), await limited.run()
        run = await until(flow, third.id, lambda run: run.status == "waiting")
        assert run.waiting_for == "limited"
        assert await second.cancel()
        gauge.gate.set()
        assert await first.result(timeout="1m") == "done"
        assert await third.result(timeout="1m") == "done"


async def test_a_run_that_sleeps_leaves_its_place_to_another(flow):
    @flow.define_workflow("sleeper", concurrency=Limit(1))
    async def sleeper(how: str, step: Step) -> str:
        if how == "long":
            await step.sleep("nap", "1h")
        return how

    async with flow.new_worker():
        long = await sleeper.run("long")
        await until(flow, long.id, lambda run: run.waiting_for == "timer")
        assert await (await sleeper.run("short")).result(timeout="1m") == "short"
        assert await long.cancel()


async def test_the_next_run_begins_within_milliseconds_of_the_end_of_the_one_before(flow):
    """Nobody looks again and again whether there is room: whoever ends rings for the next."""
    ends: list[float] = []
    starts: list[float] = []

    async def note() -> None:
        starts.append(time.monotonic())
        await asyncio.sleep(0.01)  # the work itself
        ends.append(time.monotonic())

    @flow.define_workflow("chain", concurrency=Limit(1))
    async def chain(step: Step) -> None:
        await step.run("note", note)

    async def measure() -> timedelta:
        starts.clear()
        ends.clear()
        handles = [await chain.run() for _ in range(3)]
        await asyncio.gather(*(handle.result(timeout="1m") for handle in handles))
        return timedelta(seconds=max(start - end for start, end in zip(starts[1:], ends[:-1], strict=True)))

    async with flow.new_worker(), flow.new_worker():
        assert await at_best(measure, PUNCTUAL) < PUNCTUAL


async def test_a_queue_has_a_limit_whichever_workflows_it_serves(flow):
    gauge = Gauge()
    flow.limit_queue("mail", Limit(2))

    @flow.define_workflow("letter", queue="mail")
    async def letter(step: Step) -> None:
        await step.run("work", gauge.work, "mail")

    @flow.define_workflow("card")
    async def card(step: Step) -> None:
        await step.run("work", gauge.work, "mail")

    gauge.gate.clear()
    async with flow.new_worker(queues=["mail"]):
        handles = [await letter.run() for _ in range(6)] + [await card.run(queue="mail") for _ in range(6)]
        await gauge.open_when(mail=2)
        await asyncio.gather(*(handle.result(timeout="1m") for handle in handles))
    assert gauge.most["mail"] == 2
    with pytest.raises(InvalidLimit, match="a queue's limit is"):
        flow.limit_queue("mail", 5)


async def test_a_rate_lets_no_more_runs_begin_in_any_period(flow):
    period = timedelta(milliseconds=300)

    @flow.define_workflow("call", rate=Rate(4, per=period, key=lambda order: order.customer))
    async def call(order: Order, step: Step) -> None:
        """Begin."""

    async with flow.new_worker(), flow.new_worker():
        handles = await call.run_many([Order("ada", number) for number in range(12)])
        await asyncio.gather(*(handle.result(timeout="1m") for handle in handles))
        runs = [await handle.get() for handle in handles]
    begun = sorted(run.started_at for run in runs)
    assert all(later - earlier >= period for earlier, later in zip(begun, begun[4:], strict=False))


async def test_the_more_urgent_run_goes_first(flow):
    gauge = Gauge()

    @flow.define_workflow("task")
    async def task(name: str, step: Step) -> None:
        await step.run("work", gauge.work, name)

    @flow.define_workflow("alert", priority=9)
    async def alert(step: Step) -> None:
        await step.run("work", gauge.work, "alert")

    handles = [await task.run("plain") for _ in range(40)]
    handles += [await task.run("urgent", priority=5), await alert.run()]
    async with flow.new_worker(concurrency=1):
        await asyncio.gather(*(handle.result(timeout="1m") for handle in handles))
    # About one time in eight it is the turn of the others.
    assert max(gauge.order.index("alert"), gauge.order.index("urgent")) < 20
    assert Counter(gauge.order) == {"plain": 40, "urgent": 1, "alert": 1}
    with pytest.raises(InvalidLimit, match="a priority is"):
        await task.run("never", priority=10)


async def test_a_customer_with_few_runs_need_not_wait_for_one_with_many(flow):
    gauge = Gauge()

    @flow.define_workflow("render", fair_key=lambda order: order.customer)
    async def render(order: Order, step: Step) -> None:
        await step.run("work", gauge.work, order.customer)

    many = await render.run_many([Order("many", number) for number in range(200)])
    few = await render.run_many([Order("few", number) for number in range(2)])
    async with flow.new_worker(concurrency=2):
        await asyncio.gather(*(handle.result(timeout="1m") for handle in few))
        # A worker serves the partitions in turn, and in each of them the customers.
        assert len([name for name in gauge.order if name == "many"]) < 20 * min((await flow.open()).partitions, 5)
        await asyncio.gather(*(handle.result(timeout="1m") for handle in many))
    assert Counter(gauge.order) == {"many": 200, "few": 2}


async def test_child_runs_have_the_limits_of_their_workflow_and_queue(flow):
    gauge = Gauge()
    flow.limit_queue("slow", Limit(1))

    @flow.define_workflow("child", concurrency=Limit(2))
    async def child(queue: str, step: Step) -> str:
        await step.run("work", gauge.work, queue)
        return queue

    @flow.define_workflow("parent", concurrency=Limit(1))
    async def parent(step: Step) -> list[str]:
        # Parked while it waits: it holds no slot then.
        queues = ["fast", "slow"] * 4
        calls = [step.run_workflow(child, queue, queue=queue) for queue in queues]
        return list(await asyncio.gather(*calls))

    async with flow.new_worker(queues=["default", "fast", "slow"]):
        assert await (await parent.run()).result(timeout="1m") == ["fast", "slow"] * 4
    assert gauge.most["slow"] == 1
    assert gauge.most["fast"] <= 2


async def test_what_a_person_does_to_limited_runs_keeps_to_their_limits(flow):
    gauge = Gauge()
    is_away = True

    async def charge(customer: str) -> str:
        await gauge.work(customer)
        if is_away:
            raise ConnectionError("the bank is away")
        return f"paid by {customer}"

    @flow.define_workflow("order", concurrency=Limit(1, key=lambda order: order.customer), priority=2)
    async def process(order: Order, step: Step) -> str:
        once = StepOptions("charge", retry=RetryPolicy(maximum_attempts=1))
        await step.run("price", lambda: 3)
        return await step.run(once, charge, order.customer)

    handles = [await process.run(Order("c1", number)) for number in range(4)]
    async with flow.new_worker(), flow.new_worker():
        for handle in handles:
            with pytest.raises(WorkflowFailed):
                await handle.result(timeout="1m")
        is_away = False
        gauge.gate.clear()
        progress = await flow.bulk.retry(workflow="order")
        assert progress.done == 4
        await eventually(lambda: _true(gauge.now["c1"] == 1))
        copies = [await handles[0].rerun(priority=9), await handles[1].fork(steps={"price": 4}, input=Order("c2"))]
        ids = [handle.id for handle in (*handles, *copies)]
        # Last the one that runs: with the slot that it gives back another one would begin while its body still ends.
        busy = [run_id for run_id in ids if (await flow.get_run(run_id)).status == "running"]
        assert len(busy) == 1
        assert (await flow.bulk.pause([run_id for run_id in ids if run_id not in busy])).done == 5
        assert (await flow.bulk.pause(busy)).done == 1
        await eventually(lambda: _true(gauge.now["c1"] == 0))
        assert {(await flow.get_run(run_id)).waiting_for for run_id in ids} == {"paused"}
        assert (await flow.bulk.resume([*ids])).done == 6
        gauge.gate.set()
        for run_id in ids:
            handle = await flow.get_handle(run_id, process)
            assert (await handle.result(timeout="1m")).startswith("paid by c")
    assert gauge.most["c1"] == 1


async def test_runs_of_schedules_have_the_limits_of_their_workflow_and_queue(flow):
    gauge = Gauge()
    gauge.gate.clear()
    own = Limit(1, key=lambda order: order.customer)
    declared = Schedule(every="150ms", input=Order("c1"), overlap="queue", id="declared")

    @flow.define_workflow("order", concurrency=own, priority=3, schedule=declared)
    async def process(order: Order, step: Step) -> None:
        await step.run("work", gauge.work, order.customer, "all")

    flow.limit_queue("default", Limit(2))
    for number in (1, 2, 3):
        name = f"created-{number}"
        await flow.schedules.create(name, process, every="150ms", input=Order(f"c{number}"), overlap="queue")
    names = ["declared", "created-1", "created-2", "created-3"]
    async with flow.new_worker(), flow.new_worker():

        async def waiting() -> list[str]:
            runs = [run async for run in flow.list_runs(workflow="order", status="waiting")]
            return [run.id for run in runs if run.waiting_for == "limited"]

        async def two_run_and_two_wait() -> bool:
            return gauge.now["all"] == 2 and len(await waiting()) >= 2

        await eventually(two_run_and_two_wait)
        gauge.gate.set()

        async def four_of_each() -> bool:
            runs = [run async for run in flow.list_runs(workflow="order", status="succeeded")]
            ended = Counter([(await flow.get_run(run.id)).schedule for run in runs])
            return all(ended[name] >= 4 for name in names)

        await eventually(four_of_each)
        for name in names:
            await flow.schedules.delete(name)
    assert gauge.most == Counter({"all": 2, "c1": 1, "c2": 1, "c3": 1})


async def test_schedules_of_limited_runs_live_in_any_partition(valkey_url, namespace):
    gauge = Gauge()
    async with RedisFlow(valkey_url, namespace=namespace, partitions=4) as flow:

        @flow.define_workflow("order", concurrency=[Limit(3), Limit(1, key=lambda order: order.customer)])
        async def process(order: Order, step: Step) -> None:
            await step.run("work", gauge.work, order.customer, "all")

        handles = []
        for number in range(12):
            await flow.schedules.create(f"s{number}", process, every="1h", input=Order(f"c{number % 6}"))
            handle = await flow.schedules.trigger(f"s{number}")
            assert handle is not None
            handles.append(handle)
        assert {partition_of(handle.id) for handle in handles} == {0, 1, 2, 3}
        gauge.gate.clear()
        async with flow.new_worker(), flow.new_worker():
            await gauge.open_when(all=3)
            await asyncio.gather(*(handle.result(timeout="1m") for handle in handles))
        assert gauge.most == Counter({"all": 3, **{f"c{number}": 1 for number in range(6)}})


async def test_children_are_limited_wherever_their_parents_live(valkey_url, namespace):
    gauge = Gauge()
    async with RedisFlow(valkey_url, namespace=namespace, partitions=4) as flow:

        @flow.define_workflow("child", concurrency=[Limit(4), Limit(2, key=lambda order: order.customer)])
        async def child(order: Order, step: Step) -> int:
            await step.run("work", gauge.work, order.customer, "all")
            return order.number

        @flow.define_workflow("parent")
        async def parent(customer: str, step: Step) -> int:
            orders = [Order(customer, number) for number in range(5)]
            return sum(await asyncio.gather(*(step.run_workflow(child, order) for order in orders)))

        handles = await parent.run_many([f"c{number % 3}" for number in range(6)])
        gauge.gate.clear()
        async with flow.new_worker(), flow.new_worker():
            await gauge.open_when(all=4)
            assert [await handle.result(timeout="1m") for handle in handles] == [10] * 6
        assert gauge.most["all"] == 4
        assert max(gauge.most[f"c{number}"] for number in range(3)) == 2


async def test_nobody_waits_behind_those_that_came_later_from_other_partitions(valkey_url, namespace):
    order: list[int] = []
    gate = asyncio.Event()

    async def work(number: int) -> None:
        order.append(number)
        await gate.wait()

    async with RedisFlow(valkey_url, namespace=namespace, partitions=4) as flow:

        @flow.define_workflow("order", concurrency=[Limit(1), Limit(1, key=lambda order: order.customer)])
        async def process(placed: Order, step: Step) -> None:
            await step.run("work", work, placed.number)

        async with flow.new_worker():
            handles = []
            for number in range(30):
                key = None if number == 2 else f"order-{number}"
                handles.append(await process.run(Order("c", number), idempotency_key=key))
                wanted = "running" if number == 0 else "waiting"
                await until(flow, handles[-1].id, partial(_is, wanted))
            gate.set()
            await asyncio.gather(*(handle.result(timeout="1m") for handle in handles))
        # By the time of their creation, but for one in eight, whose turn it is then.
        assert order.index(2) < 15


async def test_a_rate_holds_over_partitions(valkey_url, namespace):
    began: list[float] = []
    async with RedisFlow(valkey_url, namespace=namespace, partitions=4) as flow:

        @flow.define_workflow("order", rate=Rate(3, per="300ms"))
        async def process(order: Order, step: Step) -> None: ...

        handles = [await process.run(Order("c", number), unique_key=f"order-{number}") for number in range(10)]
        assert len({partition_of(handle.id) for handle in handles}) > 1
        async with flow.new_worker():
            await asyncio.gather(*(handle.result(timeout="1m") for handle in handles))
        for handle in handles:
            run = await handle.get()
            assert run.started_at is not None
            began.append(run.started_at.timestamp())
    began.sort()
    gaps = [later - first for first, later in zip(began, began[3:], strict=False)]
    assert min(gaps) >= 0.2999, "by the server's clock, in whole milliseconds"


async def test_the_runs_of_a_key_live_in_one_partition_which_differs_from_key_to_key(valkey_url, namespace):
    gauge = Gauge()
    async with RedisFlow(valkey_url, namespace=namespace, partitions=4) as flow:

        @flow.define_workflow("order", concurrency=Limit(1, key=lambda order: order.customer))
        async def process(order: Order, step: Step) -> None:
            await step.run("work", gauge.work, order.customer, "all")

        async def run_all() -> list[set[int]]:
            handles = await process.run_many([Order(f"c{number % 8}", number) for number in range(32)])
            async with flow.new_worker(), flow.new_worker():
                await gauge.open_when(all=3)
                await asyncio.gather(*(handle.result(timeout="1m") for handle in handles))
            return [{partition_of(handle.id) for handle in handles[number::8]} for number in range(8)]

        gauge.gate.clear()
        homes = await run_all()
        assert all(len(home) == 1 for home in homes)
        assert len(set().union(*homes)) > 1
        # A limit of all of them is lent to where they are.
        flow.limit_queue("default", Limit(3))
        gauge.most.pop("all")
        gauge.gate.clear()
        assert await run_all() == homes
        assert gauge.most == Counter({"all": 3, **{f"c{number}": 1 for number in range(8)}})


@pytest.mark.parametrize("partitions", [1, 4])
async def test_a_limit_holds_over_partitions(valkey_url, namespace, partitions):
    gauge = Gauge()
    async with RedisFlow(valkey_url, namespace=namespace, partitions=partitions) as flow:
        limit = Limit(2, key=lambda order: order.customer)

        @flow.define_workflow("order", concurrency=[limit, Limit(5, name="bank")])
        async def process(order: Order, step: Step) -> None:
            await step.run("work", gauge.work, order.customer, "bank")

        handles = [
            await process.run(
                Order(f"c{number % 4}", number),
                idempotency_key=f"order-{number}" if number % 3 == 0 else None,
            )
            for number in range(24)
        ]
        gauge.gate.clear()
        async with flow.new_worker(), flow.new_worker():
            await gauge.open_when(bank=5)
            await asyncio.gather(*(handle.result(timeout="1m") for handle in handles))
        assert max(gauge.most[f"c{number}"] for number in range(4)) == 2
        assert gauge.most["bank"] == 5
        async with flow.new_worker():
            another = [await handles[0].rerun(unique_key=f"again-{number}") for number in range(8)]
            another += [await handles[0].rerun(idempotency_key=f"once-{number}") for number in range(8)]
            await asyncio.gather(*(handle.result(timeout="1m") for handle in another))
        assert len({partition_of(handle.id) for handle in another}) == (1 if partitions == 1 else 4)
        assert gauge.most["bank"] == 5
        again = await process.run(Order("c0", 0), idempotency_key="order-0")
        assert (again.id, again.workflow_run.existing) == (handles[0].id, True)
        with pytest.raises(IdempotencyConflict, match="another input"):
            await process.run(Order("c1", 0), idempotency_key="order-0")


async def _true(value: object) -> bool:
    return bool(value)


def _is(status: str, run: WorkflowRun) -> bool:
    return run.status == status


async def test_a_child_whose_limits_cannot_be_met_fails_in_its_parent_instead_of_being_tried_for_ever(flow):
    def no_key(number: int) -> str:
        raise LookupError(number)

    @flow.define_workflow("child", concurrency=Limit(2, key=no_key))
    async def child(number: int, step: Step) -> None: ...

    @flow.define_workflow("parent")
    async def parent(step: Step) -> str:
        try:
            await step.run_workflow(child, 1)
        except StepError as error:
            return error.error_type
        return "nothing"

    handle = await parent.run()
    async with flow.new_worker():
        assert await handle.result(timeout="20s") == "redisflow.errors.InvalidLimit"
