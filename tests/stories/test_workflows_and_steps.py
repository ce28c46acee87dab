"""Workflows and steps: names and options, async and sync bodies, types in and out."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from uuid import UUID

import pytest
from pydantic import BaseModel

from examples import typed
from redisflow import Step, StepOptions, define_step, define_workflow_spec
from tests.stories.world import QUICK, adopt, until


async def double(number: int) -> int:
    return 2 * number


async def test_a_workflow_is_an_async_function_whose_steps_run_once(flow):
    bodies: list[int] = []

    async def count(number: int) -> int:
        bodies.append(number)
        return number + 1

    @flow.define_workflow("count")
    async def counting(number: int, step: Step) -> int:
        first = await step.run("first", count, number)
        await step.sleep("park", "20ms")  # the run leaves the worker, and is replayed when it comes back
        return await step.run("second", count, first)

    async with flow.new_worker(lease="30s"):
        assert await (await counting.run(1)).result(timeout="1m") == 3
    assert bodies == [1, 2]


async def test_a_workflow_may_take_no_input(flow):
    @flow.define_workflow("no-input")
    async def no_input(step: Step) -> str:
        return step.info.workflow

    async with flow.new_worker(lease="30s"):
        assert await (await no_input.run()).result(timeout="1m") == "no-input"


async def test_a_workflow_is_defined_by_a_plain_call_too(flow):
    async def implementation(number: int, step: Step) -> int:
        return await step.run("double", double, number)

    workflow = flow.define_workflow("plain-call")(implementation)
    async with flow.new_worker(lease="30s"):
        assert await (await workflow.run(21)).result(timeout="1m") == 42


async def test_a_workflow_is_declared_in_one_process_and_implemented_in_another(server_url, namespace, flow):
    spec = define_workflow_spec("declared", input=int, output=int)

    @flow.implement_workflow(spec)
    async def implementation(number: int, step: Step) -> int:
        return await step.run("double", double, number)

    async with type(flow)(server_url, namespace=namespace) as web, flow.new_worker(lease="30s"):
        assert await (await web.declare_workflow(spec).run(4)).result(timeout="1m") == 8
        assert await (await web.run_workflow(spec, 5)).result(timeout="1m") == 10


async def test_sync_bodies_run_in_threads_beside_the_event_loop(flow):
    def where() -> str:
        return threading.current_thread().name

    @flow.define_workflow("threads")
    async def threads(step: Step) -> str:
        return await step.run("where", where)

    async with flow.new_worker(lease="30s"):
        assert (await (await threads.run()).result(timeout="1m")).startswith("redisflow-step")


async def test_a_step_may_be_any_callable(flow):
    class Adder:
        def __init__(self, plus: int) -> None:
            self.plus = plus

        async def add(self, number: int) -> int:
            return number + self.plus

        def __call__(self, number: int) -> int:
            return number + self.plus

    @flow.define_workflow("callables")
    async def callables(number: int, step: Step) -> list[int]:
        return [
            await step.run("method", Adder(1).add, number),
            await step.run("object", Adder(2), number),
            await step.run("partial", partial(double, number=number)),
            await step.run("lambda", lambda: number + 4),
            await step.run("keyword", double, number=number),
        ]

    async with flow.new_worker(lease="30s"):
        assert await (await callables.run(1)).result(timeout="1m") == [2, 3, 2, 5, 2]


async def test_options_come_with_the_call_or_with_the_function(flow):
    attempts: list[str] = []

    @define_step(retry=QUICK)
    async def declared() -> str:
        attempts.append("declared")
        if len(attempts) < 3:
            raise ConnectionError
        return "ok"

    @flow.define_workflow("options")
    async def options(step: Step) -> str:
        await step.run("from-the-function", declared)
        return await step.run(StepOptions("from-the-call", timeout="5s"), declared)

    async with flow.new_worker(lease="30s"):
        assert await (await options.run()).result(timeout="1m") == "ok"
    assert len(attempts) == 4


async def test_an_order_goes_in_typed_and_an_invoice_comes_out_typed(flow):
    workflow = adopt(flow, typed.invoice_order)
    async with flow.new_worker(lease="30s"):
        invoice = await (await workflow.run(typed.ORDER)).result(timeout="1m")
    assert invoice == typed.Invoice(order_id="order-1", customer="Ada", total=Decimal("22.500"))


async def test_a_typed_user_goes_from_step_to_step(flow):
    seen: list[object] = []

    async def look(user: typed.User) -> None:
        seen.append(user)

    @flow.define_workflow("user")
    async def user_between_steps(user_id: int, step: Step) -> typed.User:
        user = await step.run("find-user", typed.find_user, user_id)
        await step.sleep("park", "20ms")
        await step.run("look", look, user)
        return user

    async with flow.new_worker(lease="30s"):
        user = await (await user_between_steps.run(7)).result(timeout="1m")
    assert seen == [user] == [typed.User(id=7, name="Ada", plan=typed.Plan.PRO)]


async def test_two_workflows_share_their_model_types(flow):
    invoice, welcome = adopt(flow, typed.invoice_order), adopt(flow, typed.welcome_user)
    async with flow.new_worker(lease="30s"):
        user = await typed.find_user(7)
        assert await (await welcome.run(user)).result(timeout="1m") == "Welcome to pro, Ada"
        assert (await (await invoice.run(typed.ORDER)).result(timeout="1m")).customer == user.name


@dataclass
class Point:
    x: int
    y: int


class Everything(BaseModel):
    when: datetime
    price: Decimal
    tags: set[str]
    point: Point
    data: bytes


def everything() -> Everything:
    return Everything(
        when=datetime(2030, 1, 2, tzinfo=UTC),
        price=Decimal("1.10"),
        tags={"a", "b"},
        point=Point(1, 2),
        data=b"\x00\xff",
    )


@pytest.mark.parametrize("before_replay", [True, False])
async def test_values_come_back_as_what_they_were_on_every_pass(flow, before_replay):
    plain = (1, "two", 3.0, {4, 5}, UUID(int=6), Decimal("7.0"), b"8", datetime(2030, 1, 2, tzinfo=UTC), None)

    @flow.define_workflow("values")
    async def values(step: Step) -> list[str]:
        made = await step.run("model", everything)
        built_in = await step.run("built-in", lambda: plain)
        if not before_replay:
            await step.sleep("park", "20ms")
        assert (made.tags, made.point) == ({"a", "b"}, Point(1, 2))
        return [repr(made == everything()), repr(built_in == plain), type(made).__name__, type(built_in).__name__]

    async with flow.new_worker(lease="30s"):
        assert await (await values.run()).result(timeout="1m") == ["True", "True", "Everything", "tuple"]


async def test_a_run_tells_what_it_is(flow):
    @flow.define_workflow("info", version="v7")
    async def info(step: Step) -> list[object]:
        first = [step.now(), step.uuid(), step.random.random(), step.info.created_at]
        await step.sleep("park", "20ms")
        return [step.info.id, step.info.workflow, step.version, step.info.attempt, *first]

    async with flow.new_worker(lease="30s"):
        handle = await info.run()
        run_id, name, version, attempt, now, unique, chance, created_at = await handle.result(timeout="1m")
    run = await handle.get()
    assert (run_id, name, version, attempt) == (handle.id, "info", "v7", 1)
    assert created_at == run.created_at <= now
    assert isinstance(unique, UUID)
    assert 0 <= chance < 1


async def test_what_a_body_does_to_its_arguments_is_not_seen_by_the_workflow(flow):
    async def spoil(items: list[int]) -> None:
        items.clear()

    @flow.define_workflow("copies")
    async def copies(items: list[int], step: Step) -> list[int]:
        await step.run("spoil", spoil, items)
        return items

    async with flow.new_worker(lease="30s"):
        assert await (await copies.run([1, 2])).result(timeout="1m") == [1, 2]


async def test_a_run_shows_its_input_steps_and_output_to_people(flow):
    workflow = adopt(flow, typed.invoice_order)
    async with flow.new_worker(lease="30s"):
        handle = await workflow.run(typed.ORDER)
        await handle.result(timeout="1m")
    run = await until(flow, handle.id, lambda run: run.is_finished)
    assert run.input["id"] == "order-1"
    assert run.output["customer"] == "Ada"
    assert [(each.key, each.status, each.attempt) for each in run.steps] == [
        ("find-user", "succeeded", 1),
        ("make-invoice", "succeeded", 1),
    ]
    assert run.steps[0].output == {"id": 7, "name": "Ada", "plan": "pro"}
    assert run.created_at <= run.started_at <= run.steps[0].started_at <= run.steps[1].finished_at
