"""What type checkers must infer of right uses. It is checked, not run."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_type

from pydantic import BaseModel

from redisflow import (
    Broadcast,
    BulkOutcome,
    BulkProgress,
    ChildRun,
    Control,
    Debounce,
    Event,
    Limit,
    Rate,
    RedisFlow,
    RetryPolicy,
    RunCounts,
    RunPage,
    RunSummary,
    ScheduleInfo,
    StartRules,
    Step,
    StepCall,
    StepError,
    StepOptions,
    SyncWorkflowHandle,
    Throttle,
    Worker,
    WorkerProcesses,
    Workflow,
    WorkflowHandle,
    WorkflowRun,
    WorkflowSpec,
    define_step,
    define_workflow_spec,
)
from redisflow.testing import (
    CrashReport,
    InlineRun,
    VirtualClock,
    assert_replays,
    crash_matrix,
    fresh_namespace,
    run_inline,
    virtual_clock,
)

flow = RedisFlow("memory://")


class Order(BaseModel):
    id: str
    items: list[str]


@dataclass
class Receipt:
    order_id: str


async def charge(order: Order, cents: int = 100) -> Receipt:
    return Receipt(order.id)


def count(items: list[str]) -> int:
    return len(items)


async def nothing() -> None: ...


@define_step(retry=RetryPolicy(maximum_attempts=2), timeout="30s")
async def declared(order: Order, *, express: bool = False) -> str:
    return f"{order.id} express" if express else order.id


@define_step()
def declared_sync(number: int) -> float:
    return number / 2


assert_type(declared_sync(1), float)


class Shop:
    async def find(self, name: str) -> Order:
        return Order(id=name, items=[])


@flow.define_workflow("process-order", version="v1")
async def process_order(order: Order, step: Step) -> Receipt:
    # A step call is what the body returns, async or sync.
    assert_type(step.run("charge", charge, order), StepCall[Receipt])
    assert_type(step.run(StepOptions("charge", timeout="5s"), charge, order, cents=5), StepCall[Receipt])
    assert_type(await step.run("charge", charge, order, 5), Receipt)
    assert_type(await step.run("count", count, order.items), int)
    assert_type(await step.run("nothing", nothing), None)
    step.on_failure("charge-back", charge, order, cents=5)
    step.on_failure(StepOptions("lambda-back", timeout="5s"), lambda: 5)
    assert_type(await step.compensate(), list[StepError])
    assert_type(await step.run("declared", declared, order, express=True), str)
    assert_type(await step.run("declared-sync", declared_sync, 3), float)
    assert_type(await step.run("method", Shop().find, "name"), Order)
    assert_type(await step.run("lambda", lambda: 5), int)

    # Several at once.
    assert_type(
        await asyncio.gather(step.run("a", charge, order), step.run("b", count, order.items), step.sleep("c", "1s")),
        tuple[Receipt, int, None],
    )
    assert_type(await step.gather(step.run("a", charge, order), step.run("b", count, order.items)), tuple[Receipt, int])
    assert_type(await step.gather(*(step.run("a", charge, order) for _ in range(9))), tuple[Receipt, ...])
    assert_type(await step.map("shop", Shop().find, order.items, limit=3), list[Order])
    assert_type(await step.map("declared-sync", declared_sync, [1, 2]), list[float])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(step.run("charge", charge, order))
    assert_type(task, asyncio.Task[Receipt])
    assert_type(task.result(), Receipt)
    assert_type(asyncio.create_task(step.run("count", count, order.items)), asyncio.Task[int])
    async for ended in step.as_completed([step.run("a", charge, order)]):
        assert_type(ended, asyncio.Task[Receipt])

    # Sleeps.
    assert_type(await step.sleep("nap", 1.5), None)
    assert_type(await step.sleep_until("later", "2h"), None)
    assert_type(step.info.tags, Mapping[str, str])
    return Receipt(order.id)


assert_type(process_order, Workflow[Order, Receipt])


@flow.define_workflow("no-input")
async def no_input(step: Step) -> list[int]:
    return [1]


assert_type(no_input, Workflow[None, list[int]])


async def implementation(number: int, step: Step) -> dict[str, int]:
    return {"number": number}


plain_call = flow.define_workflow("plain-call", retry=RetryPolicy())(implementation)
assert_type(plain_call, Workflow[int, dict[str, int]])


spec = define_workflow_spec("declared", input=Order, output=Receipt)
assert_type(spec, WorkflowSpec[Order, Receipt])
assert_type(flow.declare_workflow(spec), Workflow[Order, Receipt])


@flow.implement_workflow(spec)
async def implemented(order: Order, step: Step) -> Receipt:
    return Receipt(order.id)


assert_type(implemented, Workflow[Order, Receipt])


spec_without_input = define_workflow_spec("declared-without-input", output=int)
assert_type(spec_without_input, WorkflowSpec[None, int])
spec_without_output = define_workflow_spec("declared-without-output", input=Order)
assert_type(spec_without_output, WorkflowSpec[Order, None])


@flow.implement_workflow(spec_without_input)
async def implemented_without_input(step: Step) -> int:
    return 1


assert_type(implemented_without_input, Workflow[None, int])


async def callers() -> None:
    handle = await process_order.run(Order(id="1", items=[]), deadline_at="1h", idempotency_key="1")
    assert_type(handle, WorkflowHandle[Receipt])
    assert_type(await handle.result(timeout="1m"), Receipt)
    assert_type(await handle.cancel(), bool)
    assert_type(await handle.rerun(queue="slow"), WorkflowHandle[Receipt])
    assert_type(await handle.fork("charge", steps={"price": 3}), WorkflowHandle[Receipt])
    assert_type(await flow.bulk.retry(workflow="order"), BulkProgress)
    async for outcome in flow.bulk.rerun([handle.id], concurrency=5):
        assert_type(outcome, BulkOutcome)
    assert_type(await flow.controls.get(queue="default"), Control | None)
    assert_type([event async for event in handle.events(after="1-0")], list[Event])
    assert_type(await handle.state(), dict[str, Any])
    assert_type(await (await no_input.run()).result(), list[int])
    assert_type(await process_order.run_many([Order(id="1", items=[])]), list[WorkflowHandle[Receipt]])
    assert_type(await flow.run_workflow(spec, Order(id="1", items=[])), WorkflowHandle[Receipt])
    assert_type(await flow.run_workflow(process_order, Order(id="1", items=[])), WorkflowHandle[Receipt])
    assert_type(await flow.run_workflow(no_input), WorkflowHandle[list[int]])
    assert_type(await flow.run_workflow("by-name", 5), WorkflowHandle[Any])
    assert_type(await flow.get_handle(handle.id, spec), WorkflowHandle[Receipt])
    assert_type(await flow.get_handle(handle.id, process_order), WorkflowHandle[Receipt])
    assert_type(await (await flow.declare_workflow(spec).run(Order(id="1", items=[]))).result(), Receipt)


@flow.define_workflow("ruled", start=StartRules(unique_key=lambda order: order.id, throttle=Throttle(5, per="1m")))
async def ruled(order: Order, step: Step) -> Receipt:
    return Receipt(order.id)


@flow.define_workflow("parent")
async def parent(order: Order, step: Step) -> Receipt:
    child = step.run_workflow(process_order, order, timeout="1h", on_parent_end="leave")
    assert_type(child, StepCall[Receipt])
    assert_type(await child, Receipt)
    assert_type(await step.run_workflow(spec, order, spread=True), Receipt)
    assert_type(await step.run_workflow(no_input), list[int])
    assert_type(
        await step.gather(step.run_workflow(spec, order), step.run_workflow(no_input)), tuple[Receipt, list[int]]
    )
    assert_type(await step.map("orders", process_order, [order], limit=5), list[Receipt])
    assert_type(await step.start_workflow(process_order, order), ChildRun)
    return await child


@flow.define_workflow("signals")
async def signals(step: Step) -> None:
    assert_type(await step.wait_for_signal("paid", Receipt), Receipt)
    assert_type(await step.wait_for_signal("paid", Receipt, timeout="3d"), Receipt | None)
    assert_type(await step.wait_for_signal("paid"), Any)
    assert_type(await step.signal("run", "paid", 1), bool)
    assert_type(await step.send_signal("paid", 1, retain="1h"), Broadcast)
    assert_type((await flow.send_signal("paid", Receipt("1"), idempotency_key="1")).run_ids, tuple[str, ...])


async def starts() -> None:
    handle = await ruled.run(Order(id="1", items=[]), on_conflict="reject", debounce=Debounce("5s", at_most="1m"))
    assert_type(handle, WorkflowHandle[Receipt])
    assert_type(handle.workflow_run.available_at, datetime | None)


async def finders() -> None:
    assert_type(flow.list_runs(status=("failed", "waiting:timer"), tags={"a": "b"}), AsyncIterator[RunSummary])
    assert_type([run async for run in flow.list_runs(workflow="order", created_after="1h")], list[RunSummary])
    assert_type(await flow.list_page(order="oldest", cursor=None, page_size=5), RunPage)
    assert_type(await flow.count_runs(), RunCounts)
    assert_type((await flow.get_run("1")).tags, Mapping[str, str])


async def schedules() -> None:
    order = Order(id="1", items=[])
    made = await flow.schedules.create("s", process_order, cron="0 3 * * *", timezone="Europe/Paris", input=order)
    assert_type(made, ScheduleInfo)
    await flow.schedules.create("s", spec, every="15m", input=order, overlap="queue", catch_up="all")
    await flow.schedules.create("s", no_input, every=60)
    await flow.schedules.create("s", "by-name", every=60, input=5)
    assert_type(await flow.schedules.trigger("s"), WorkflowHandle[Any] | None)
    assert_type(await flow.schedules.list(), list[ScheduleInfo])


async def workers(processes: int) -> None:
    assert_type(flow.new_worker(lease="1m"), Worker)
    assert_type(flow.new_worker(processes=1, resources=contextlib.nullcontext), Worker)
    # One of several has the same life as one alone.
    several = flow.new_worker(processes=processes, queues=["batch"])
    assert_type(several, Worker | WorkerProcesses)
    async with several:
        await several.stop(grace="5s")


async def numbers(most: int, *, step: int = 1) -> AsyncIterator[float]:
    for number in range(0, most, step):
        yield float(number)


def without_a_loop() -> None:
    order = Order(id="1", items=[])
    handle = flow.sync.run_workflow(process_order, order, deadline_at="1h", idempotency_key="1")
    assert_type(handle, SyncWorkflowHandle[Receipt])
    assert_type(handle.result(timeout="1m"), Receipt)
    assert_type(handle.get(), WorkflowRun)
    assert_type(handle.cancel(), bool)
    assert_type(handle.call(lambda run: run.result()), Receipt)
    assert_type(flow.sync.run_workflow(spec, order), SyncWorkflowHandle[Receipt])
    assert_type(flow.sync.run_workflow(no_input), SyncWorkflowHandle[list[int]])
    assert_type(flow.sync.run_workflow("by-name", 5), SyncWorkflowHandle[Any])
    assert_type(flow.sync.get_handle(handle.id, spec), SyncWorkflowHandle[Receipt])
    assert_type(flow.sync.get_run(handle.id), WorkflowRun)
    # Whatever is async comes back as what it returns, and handles as handles that wait here.
    assert_type(flow.sync.call(process_order.run_many, [order]), list[SyncWorkflowHandle[Receipt]])
    assert_type(flow.sync.call(flow.get_handle, handle.id, spec), SyncWorkflowHandle[Receipt])
    assert_type(flow.sync.call(flow.cancel_workflow_run, handle.id), bool)
    assert_type(list(flow.sync.iterate(numbers, 3, step=2)), list[float])
    with flow.sync.worker(concurrency=2):
        pass


class Application:
    def __init__(self, lifespan: Callable[["Application"], contextlib.AbstractAsyncContextManager[None]]) -> None:
        self.lifespan = lifespan


Application(flow.lifespan())
Application(lifespan=flow.lifespan(worker=True, concurrency=10, grace="5s"))


async def tests_of_workflows(history: dict[str, Any]) -> None:
    order = Order(id="1", items=[])
    run = await run_inline(process_order, order, steps={"charge": Receipt("1")}, signals={"go": [1, 2]})
    assert_type(run, InlineRun[Receipt])
    assert_type(run.result(), Receipt)
    assert_type((await run_inline(no_input)).output, list[int] | None)
    report = await crash_matrix(process_order, order)
    assert_type(report, CrashReport[Receipt])
    assert_type(report.undisturbed.result(), Receipt)
    assert_type((await crash_matrix(no_input)).ran_twice, tuple[str, ...])
    assert_replays(history, process_order)
    async with fresh_namespace(flow, "memory://") as namespace, virtual_clock(flow, patience="1s") as clock:
        assert_type(namespace, str)
        assert_type(clock, VirtualClock)
        assert_type(clock.now, datetime)
        await clock.advance("1d", settle=False)
        assert_type(await clock.skip(), datetime | None)


_ = callers, finders, schedules, starts, workers, without_a_loop, tests_of_workflows

# A decorated step keeps its own type.
kept: Callable[[Order], Coroutine[Any, Any, str]] = declared


def key_of(order: Order) -> str:
    return order.id


@flow.define_workflow(
    "limited",
    concurrency=[Limit(10), Limit(2, key=key_of)],
    rate=Rate(100, per="1m", key=lambda order: order.id),
    fair_key=key_of,
    priority=3,
)
async def limited(order: Order, step: Step) -> Receipt:
    return await step.run("charge", charge, order)


async def use_limits(order: Order) -> None:
    flow.limit_queue("mail", Limit(5), Rate(1, per=0.5))
    assert_type(limited, Workflow[Order, Receipt])
    assert_type(await limited.run(order, priority=9), WorkflowHandle[Receipt])
    spec = define_workflow_spec("limited", input=Order, output=Receipt, concurrency=Limit(3, name="bank"), priority=1)
    assert_type(spec, WorkflowSpec[Order, Receipt])
