"""The workflows that are measured: 0, 1, 5 and 50 steps with small values, one that sleeps, one with larger values."""

import os

from redisflow import RedisFlow, Step
from redisflow.durability import Level

level: Level = os.environ.get("BENCH_DURABILITY", "redis")  # type: ignore[assignment]  # refused where it is none
flow = RedisFlow(os.environ.get("REDISFLOW_URL"), namespace="bench", durability=level)

INPUT_60 = "i" * 58
"""With its msgpack header 60 bytes."""
OUTPUT_40 = "o" * 38
LARGE = "l" * 497


async def body() -> str:
    """A step that does nothing."""
    return OUTPUT_40


async def large_body() -> str:
    """A step with a result of 500 bytes."""
    return LARGE


@flow.define_workflow("steps-0")
async def steps_0(value: str, step: Step) -> str:
    """No step."""
    return OUTPUT_40


@flow.define_workflow("steps-1")
async def steps_1(value: str, step: Step) -> str:
    """One step."""
    return await step.run("only", body)


@flow.define_workflow("steps-5")
async def steps_5(value: str, step: Step) -> str:
    """Five steps, one after another."""
    for _ in range(5):
        await step.run("step", body)
    return OUTPUT_40


@flow.define_workflow("steps-50")
async def steps_50(value: str, step: Step) -> str:
    """Fifty steps, one after another."""
    for _ in range(50):
        await step.run("step", body)
    return OUTPUT_40


@flow.define_workflow("large")
async def large(value: str, step: Step) -> str:
    """One step with values of 500 bytes."""
    return await step.run("only", large_body)


@flow.define_workflow("sleep")
async def sleep(value: float, step: Step) -> None:
    """A durable sleep."""
    await step.sleep("nap", value)


BY_STEPS = {0: steps_0, 1: steps_1, 5: steps_5, 50: steps_50}
