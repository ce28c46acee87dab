"""The code of one deploy: workflows of the version in the environment, as its worker processes load them."""

from __future__ import annotations

import asyncio
import os

from redisflow import RedisFlow, Step
from tests.faults.noted import note

VERSION = os.environ["DEPLOY_VERSION"]
flow = RedisFlow(os.environ["REDISFLOW_URL"], namespace=os.environ["FAULTS_NAMESPACE"])


async def work(name: str) -> str:
    note("start")
    await asyncio.sleep(0.01)  # the work itself
    note("end")
    return f"{name} by {VERSION}"


@flow.define_workflow("order", version=VERSION)
async def order(step: Step) -> list[str]:
    first = await step.run("first", work, "first")
    await step.sleep("nap", "150ms")
    return [first, await step.run("second", work, "second")]


if VERSION == "v2":

    @flow.define_workflow("refund", version=VERSION)
    async def refund(step: Step) -> str:
        """What only the new code has."""
        return await step.run("refund", work, "refund")
