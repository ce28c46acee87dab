"""Unit tests of steps need neither Redis nor a worker: a step is a function.

Test the workflow itself on `memory://`, where it runs as it does in production.
"""

import asyncio
import contextlib
import os

from redisflow import NonRetryableError, RedisFlow, Step, WorkflowFailed

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="unit-test-a-step")


async def price(sku: str) -> int:
    """The step's function; it knows nothing of workflows."""
    if not sku:
        msg = "an empty sku"
        raise NonRetryableError(msg)
    return 100 * len(sku)


@flow.define_workflow("quote")
async def quote(sku: str, step: Step) -> str:
    cents = await step.run("price", price, sku)
    return f"{sku}: {cents / 100:.2f}"


async def test_price_by_length() -> None:
    """A unit test: call the function."""
    assert await price("teapot") == 600  # noqa: S101  # a test


async def test_quote() -> None:
    """A test of the workflow: run it."""
    async with flow, flow.new_worker():
        assert await (await quote.run("cup")).result(timeout="1m") == "cup: 3.00"  # noqa: S101  # a test
        failed = await quote.run("")
        with contextlib.suppress(WorkflowFailed):
            await failed.result(timeout="1m")
        run = await failed.get()
        assert run.error is not None  # noqa: S101  # a test
        assert "an empty sku" in run.error.message  # noqa: S101  # a test


async def main() -> None:
    for test in (test_price_by_length, test_quote):
        await test()
        print("passed:", test.__name__)


if __name__ == "__main__":
    asyncio.run(main())
