"""Dynamic workflows: ordinary Python decides which steps there are."""

from __future__ import annotations

import asyncio

import pytest

from examples import best_practices, dynamic
from redisflow import Step
from tests.stories.world import adopt

pytestmark = pytest.mark.usefixtures("no_key_left")


async def test_premium_or_standard_email(flow):
    workflow = adopt(flow, dynamic.welcome)
    async with flow.new_worker(lease="30s"):
        premium = await workflow.run(dynamic.Customer(email="a@example.com", tier="premium"))
        standard = await workflow.run(dynamic.Customer(email="b@example.com", tier="standard"))
        assert await premium.result(timeout="1m") == ["premium", "call with a@example.com"]
        assert await standard.result(timeout="1m") == ["standard"]
    assert [each.key for each in (await premium.get()).steps] == ["send-premium-email", "book-call"]
    assert [each.key for each in (await standard.get()).steps] == ["send-standard-email"]


async def test_a_loop_over_the_inputs_items(flow):
    workflow = adopt(flow, dynamic.pack_items)
    async with flow.new_worker(lease="30s"):
        handle = await workflow.run(["cup", "pot", "tray"])
        assert await handle.result(timeout="1m") == ["packed cup", "packed pot", "packed tray"]
        assert await (await workflow.run([])).result(timeout="1m") == []
    assert [each.key for each in (await handle.get()).steps] == ["pack", "pack#1", "pack#2"]


async def test_a_context_is_shared_between_steps(flow):
    workflow = adopt(flow, dynamic.set_up_tenant)
    async with flow.new_worker(lease="30s"):
        context = await (await workflow.run("acme")).result(timeout="1m")
    assert context == dynamic.Context(
        tenant="acme", region="eu-acme", log=["bucket in eu-acme", "account for acme in eu-acme"]
    )


async def test_hundreds_of_steps_one_after_another(flow):
    workflow = adopt(flow, dynamic.pack_items)
    async with flow.new_worker(lease="30s"):
        handle = await workflow.run([str(number) for number in range(300)])
        assert await handle.result(timeout="1m") == [f"packed {number}" for number in range(300)]
    run = await handle.get()
    assert len(run.steps) == 300
    assert run.claims == 1


async def test_hundreds_of_steps_at_once_replayed_in_the_middle(flow):
    bodies: list[int] = []

    async def square(number: int) -> int:
        bodies.append(number)
        return number * number

    @flow.define_workflow("wide")
    async def wide(count: int, step: Step) -> int:
        first = await asyncio.gather(*(step.run("square", square, number) for number in range(count)))
        await step.sleep("park", "10ms")
        second = await step.map("square-again", square, first, limit=20)
        return sum(second)

    async with flow.new_worker(lease="30s"):
        assert await (await wide.run(300)).result(timeout="1m") == sum(number**4 for number in range(300))
    assert len(bodies) == 600


async def test_a_loop_that_ends_when_a_step_says_so(flow):
    async def page(cursor: int) -> tuple[list[int], int | None]:
        return [cursor, cursor + 1], cursor + 2 if cursor < 6 else None

    @flow.define_workflow("pages")
    async def pages(step: Step) -> list[int]:
        found: list[int] = []
        cursor: int | None = 0
        while cursor is not None:
            items, cursor = await step.run("fetch-page", page, cursor)
            found += items
        return found

    async with flow.new_worker(lease="30s"):
        assert await (await pages.run()).result(timeout="1m") == list(range(8))


async def test_one_step_instead_of_three(flow):
    workflow = adopt(flow, best_practices.summarize_text)
    async with flow.new_worker(lease="30s"):
        handle = await workflow.run("1 2 -3 4")
        assert await handle.result(timeout="1m") == 7
    assert [each.key for each in (await handle.get()).steps] == ["summarize"]
