"""Best practices: what is enforced, what is made easy, and what an error explains."""

from __future__ import annotations

import itertools
import time

from examples import best_practices, unit_test_a_step
from redisflow import Step
from tests.stories.world import adopt, until


async def test_an_idempotent_step_shows_the_outside_world_the_same_key_on_every_attempt(flow):
    best_practices.provider.clear()
    workflow = adopt(flow, best_practices.pay)
    async with flow.new_worker(lease="30s"):
        handle = await workflow.run(4200)
        assert await handle.result(timeout="1m") == "paid"
    assert (await handle.get()).steps[0].attempt == 2
    assert list(best_practices.provider.values()) == [4200]


async def test_idempotency_keys_differ_between_steps_and_between_runs(flow):
    async def key(step: Step) -> str:
        return step.idempotency_key

    @flow.define_workflow("keys")
    async def keys(step: Step) -> list[str]:
        return [await step.run("key", key, step), await step.run("key", key, step)]

    async with flow.new_worker(lease="30s"):
        seen = [*await (await keys.run()).result(timeout="1m"), *await (await keys.run()).result(timeout="1m")]
    assert len(set(seen)) == 4


async def test_a_step_is_unit_tested_as_the_function_that_it_is():
    await unit_test_a_step.test_price_by_length()


async def test_clock_made_step_names_are_drift_which_suspends_the_run(flow):
    @flow.define_workflow("clock-made")
    async def clock_made(step: Step) -> str:
        await step.run(f"at-{time.monotonic_ns()}", unit_test_a_step.price, "cup")
        await step.sleep("nap", "10ms")
        return "never"

    async with flow.new_worker(lease="30s"):
        handle = await clock_made.run()
        run = await until(flow, handle.id, lambda run: run.waiting_for == "suspended")
    assert run.status == "waiting"
    assert run.error is not None
    assert run.error.error_type == "redisflow.errors.NonDeterminismError"
    recorded, asked, *_ = (line for line in run.error.message.splitlines() if line.startswith("  "))
    assert recorded.startswith("  - record: step.run('at-")
    assert asked.startswith("  + code:   step.run('at-")
    assert len(run.steps) == 2, "nothing is lost"


async def test_state_outside_of_steps_is_drift_and_a_fixed_deploy_goes_on(flow):
    passes = itertools.count()
    bodies: list[str] = []

    async def body(name: str) -> str:
        bodies.append(name)
        return name

    fixed = False

    @flow.define_workflow("outside-state")
    async def outside_state(step: Step) -> list[str]:
        first = await step.run("first" if fixed or next(passes) == 0 else "another", body, "first")
        await step.sleep("nap", "10ms")
        return [first, await step.run("last", body, "last")]

    async with flow.new_worker(lease="30s"):
        handle = await outside_state.run()
        await until(flow, handle.id, lambda run: run.waiting_for == "suspended")
    fixed = True
    async with flow.new_worker(lease="30s"):
        assert await handle.result(timeout="1m") == ["first", "last"]
    assert bodies == ["first", "last"]


async def test_now_uuid_and_random_are_the_same_on_every_pass(flow):
    passes: list[tuple[object, ...]] = []

    @flow.define_workflow("same")
    async def same(step: Step) -> int:
        passes.append((step.now(), step.uuid(), step.uuid(), step.random.random()))
        for _ in range(3):
            await step.sleep("nap", "5ms")
        return len(passes)

    async with flow.new_worker(lease="30s"):
        assert await (await same.run()).result(timeout="1m") == 4
    assert len(set(passes)) == 1
