"""Wrong uses: each line marked as an error must be reported by each checker. It is checked, never run."""

import asyncio
import contextlib
from dataclasses import dataclass

from pydantic import BaseModel

from redisflow import RedisFlow, Step, define_step, define_workflow_spec
from redisflow.testing import assert_replays, crash_matrix, run_inline, virtual_clock

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


@define_step(timeout="30s")
async def declared(order: Order, *, express: bool = False) -> str:
    return f"{order.id} express" if express else order.id


@flow.define_workflow("wrong-steps")
async def wrong_steps(order: Order, step: Step) -> Receipt:
    await step.run("charge", charge, order.id)  # type: ignore[call-overload]  # error: the wrong type of an argument
    await step.run("charge", charge)  # type: ignore[call-overload]  # error: an argument is missing
    await step.run("charge", charge, order, 5, 6)  # type: ignore[call-overload]  # error: one argument too many
    await step.run("charge", charge, order, euros=5)  # type: ignore[call-arg]  # error: no such keyword
    step.on_failure("charge-back", charge, order.id)  # type: ignore[arg-type]  # error: the wrong type of an argument
    await step.run("count", count, order)  # type: ignore[call-overload]  # error: the wrong type, in a sync step
    await step.run("declared", declared, order, express="yes")  # type: ignore[arg-type]  # error: the wrong type, in a declared step
    await step.run(1, charge, order)  # type: ignore[call-overload]  # error: a name is text
    await step.map("count", count, [1, 2])  # type: ignore[arg-type]  # error: items of the wrong type
    await step.sleep("nap", [1])  # type: ignore[arg-type]  # error: no duration
    print(order.identity)  # type: ignore[attr-defined]  # error: no such field of the input
    receipt = await step.run("charge", charge, order)
    print(receipt.total)  # type: ignore[attr-defined]  # error: no such field of a step's result
    text: str = await step.run("count", count, order.items)  # type: ignore[call-overload]  # error: the result has another type
    unawaited: Receipt = step.run("charge", charge, order)  # type: ignore[assignment]  # error: it was not awaited
    first, second = await asyncio.gather(step.run("a", charge, order), step.run("b", count, []))
    print(first.order_id, second.order_id)  # type: ignore[attr-defined]  # error: the second one is a number
    print(text, unawaited)
    return "a receipt"  # type: ignore[return-value]  # error: the wrong type is returned


@flow.define_workflow("wrong-children")
async def wrong_children(order: Order, step: Step) -> None:
    await step.run_workflow(wrong_steps, 5)  # type: ignore[misc]  # error: the wrong type of input
    await step.run_workflow(wrong_steps, order, on_parent_end="wait")  # type: ignore[call-overload]  # error: cancel or leave
    await step.map("many", wrong_steps, [5])  # type: ignore[misc]  # error: the wrong type of items


@flow.define_workflow("no-input")
async def no_input(step: Step) -> int:
    return 1


spec = define_workflow_spec("declared", input=Order, output=Receipt)


async def another_result(order: Order, step: Step) -> int:
    return 1


async def another_input(number: int, step: Step) -> Receipt:
    return Receipt(str(number))


def not_async(order: Order, step: Step) -> Receipt:
    return Receipt(order.id)


async def three_arguments(order: Order, step: Step, more: int) -> Receipt:
    return Receipt(order.id)


flow.implement_workflow(spec)(another_result)  # type: ignore[arg-type]  # error: it returns something else than its spec says
flow.implement_workflow(spec)(another_input)  # type: ignore[arg-type]  # error: it takes something else than its spec says
flow.define_workflow("not-async")(not_async)  # type: ignore[arg-type]  # error: a workflow is async
flow.define_workflow("three-arguments")(three_arguments)  # type: ignore[arg-type]  # error: a workflow takes an input and the step


async def wrong_callers() -> None:
    await wrong_steps.run("order-1")  # type: ignore[arg-type]  # error: the wrong type of input
    await wrong_steps.run()  # type: ignore[call-arg]  # error: the input is missing
    await no_input.run(5)  # type: ignore[call-overload]  # error: it takes no input
    await wrong_steps.run(Order(id="1", items=[]), deadline="1h")  # type: ignore[call-arg]  # error: no such option
    await wrong_steps.run(Order(id="1", items=[]), on_conflict="replace")  # type: ignore[arg-type]  # error: no such policy
    await wrong_steps.run(Order(id="1", item=[]))  # type: ignore[call-arg]  # error: no such field of the input
    await flow.run_workflow(spec, 5)  # type: ignore[misc]  # error: the wrong type of input
    handle = await wrong_steps.run(Order(id="1", items=[]))
    number: int = await handle.result()  # type: ignore[assignment]  # error: the result is a Receipt
    print((await handle.result()).total)  # type: ignore[attr-defined]  # error: no such field of the result
    print(handle.result().order_id)  # type: ignore[attr-defined]  # error: it was not awaited
    flow.new_worker(processes="2")  # type: ignore[call-overload]  # error: a number of processes is an int
    flow.new_worker(processes=2, resources=contextlib.nullcontext)  # type: ignore[call-overload]  # error: no process gets it
    await flow.schedules.create("s", wrong_steps, every="1h", input=5)  # type: ignore[misc]  # error: the wrong type of input
    await flow.schedules.create("s", wrong_steps, every="1h")  # type: ignore[arg-type]  # error: the input is missing
    await flow.schedules.create("s", no_input, every="1h", overlap="maybe")  # type: ignore[call-overload]  # error: no such policy
    print(number)


def wrong_callers_without_a_loop() -> None:
    flow.sync.run_workflow(spec, 5)  # type: ignore[misc]  # error: the wrong type of input
    handle = flow.sync.run_workflow(wrong_steps, Order(id="1", items=[]))
    number: int = handle.result()  # type: ignore[assignment]  # error: the result is a Receipt
    flow.sync.call(flow.get_run, 5)  # type: ignore[call-overload]  # error: a run's id is text
    flow.lifespan(worker=True, processes=2)  # type: ignore[call-arg]  # error: an application has one worker
    print(number)


async def wrong_tests() -> None:
    await run_inline(wrong_steps, "order-1")  # type: ignore[misc]  # error: the wrong type of input
    await run_inline(wrong_steps)  # type: ignore[arg-type]  # error: the input is missing
    await crash_matrix(wrong_steps, 5)  # type: ignore[misc]  # error: the wrong type of input
    await crash_matrix(wrong_steps, Order(id="1", items=[]), step={})  # type: ignore[call-overload]  # error: no such option
    run = await run_inline(no_input)
    text: str = run.result()  # type: ignore[assignment]  # error: the result is a number
    assert_replays("history.json", wrong_steps.fn)  # type: ignore[arg-type]  # error: its function is not the workflow
    async with virtual_clock(flow) as clock:
        await clock.advance()  # type: ignore[call-arg]  # error: by how much?
    print(text)


_ = wrong_callers, wrong_callers_without_a_loop, wrong_tests
