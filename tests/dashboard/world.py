"""Workflows that do everything that a page shows, and how their runs come to where they are."""

from __future__ import annotations

from typing import Any

from redisflow import NonRetryableError, RedisFlow, RetryPolicy, Step, StepOptions
from tests.stories.world import until

QUICK = RetryPolicy(initial_interval="1ms", maximum_attempts=3, jitter=0)
SLOW = RetryPolicy(initial_interval="1h", maximum_interval="1h", maximum_attempts=5, jitter=0)


async def give(value: Any) -> Any:
    return value


async def decline() -> None:
    try:
        raise KeyError("card")
    except KeyError as error:
        raise NonRetryableError("declined") from error


async def refuse() -> None:
    raise OSError("the bank is away")


def define_world(flow: RedisFlow) -> None:
    @flow.define_workflow("order")
    async def order(value: dict[str, Any], step: Step) -> dict[str, Any]:
        step.on_failure("refund", give, "refunded")
        charged = await step.run("charge", give, value)

        async def reserve() -> str:
            step.log.info("the shelf is asked, attempt %d", step.attempt)
            if step.attempt < 3:
                raise ConnectionError(f"no stock at attempt {step.attempt}")
            return "reserved"

        await step.run(StepOptions("reserve", retry=QUICK), reserve)
        step.emit({"parcel": 1}, kind="packed")
        return {"charged": charged}

    @flow.define_workflow("declined")
    async def declined(step: Step) -> None:
        step.on_failure("refund", give, "refunded")
        await step.run("check", give, 1)
        await step.run("charge", decline)

    @flow.define_workflow("hopeless")
    async def hopeless(step: Step) -> None:
        await step.run("charge", decline)

    @flow.define_workflow("approval")
    async def approval(within: str | None, step: Step) -> Any:
        if within is None:
            return await step.wait_for_signal("approved")
        return await step.wait_for_signal("approved", timeout=within)

    @flow.define_workflow("sleeper")
    async def sleeper(step: Step) -> None:
        await step.sleep("long", "30d")

    @flow.define_workflow("retrying")
    async def retrying(step: Step) -> None:
        await step.run(StepOptions("call the bank", retry=SLOW), refuse)

    @flow.define_workflow("child")
    async def child(number: int, step: Step) -> int:
        return await step.run("double", give, 2 * number)

    @flow.define_workflow("parent")
    async def parent(number: int, step: Step) -> int:
        return await step.run_workflow(child, number)

    @flow.define_workflow("counting")
    async def counting(number: int, step: Step) -> int:
        if number < 2:
            step.continue_as_new(number + 1)
        return number

    @flow.define_workflow("scripted")
    async def scripted(step: Step) -> Any:
        return await step.redis("count", "return redis.call('INCR', KEYS[1])", keys=["counter"])

    @flow.define_workflow("echo")
    async def echo(value: Any, step: Step) -> Any:
        step.emit(value, kind="said")
        return await step.run("say", give, value)

    @flow.define_workflow("many")
    async def many(count: int, step: Step) -> int:
        for number in range(count):
            await step.run(f"step {number}", give, number)
        return count


async def start(flow: RedisFlow, name: str, value: Any = None, **options: Any) -> str:
    """The id of a run of one of these workflows."""
    return (await flow.find_workflow(name).run(value, **options)).id


async def finish(flow: RedisFlow, name: str, value: Any = None, **options: Any) -> str:
    """The same, once it has ended."""
    run_id = await start(flow, name, value, **options)
    await until(flow, run_id, lambda run: run.is_finished)
    return run_id
