"""The workflows that `redisflow bench` measures: they do as little as there can be, so what is left is the engine's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from redisflow.authoring.step import Step
from redisflow.client.workflow import Workflow
from redisflow.flow import RedisFlow

STEPS = 10
NAP_S = 0.1


@dataclass(frozen=True, slots=True)
class Profile:
    """A workflow without an input, and how many steps a run of it has."""

    workflow: Workflow[None, Any]
    steps: int


def define_profile(flow: RedisFlow, name: str) -> Profile:
    """`noop`, `steps10` (one after another), `fanout` (ten at once), `sleep` (a durable sleep of 100 ms)."""
    return {"noop": _noop, "steps10": _steps, "fanout": _fan_out, "sleep": _sleep}[name](flow)


async def _body() -> int:
    return 1


async def _body_of(number: int) -> int:
    return number


def _noop(flow: RedisFlow) -> Profile:
    @flow.define_workflow("noop")
    async def noop(_: Step) -> int:
        return 1

    return Profile(noop, 0)


def _steps(flow: RedisFlow) -> Profile:
    @flow.define_workflow("steps10")
    async def steps10(step: Step) -> int:
        return sum([await step.run("step", _body) for _ in range(STEPS)])

    return Profile(steps10, STEPS)


def _fan_out(flow: RedisFlow) -> Profile:
    @flow.define_workflow("fanout")
    async def fanout(step: Step) -> int:
        return sum(await step.map("step", _body_of, range(STEPS)))

    return Profile(fanout, STEPS)


def _sleep(flow: RedisFlow) -> Profile:
    @flow.define_workflow("sleep")
    async def sleep(step: Step) -> None:
        await step.sleep("nap", NAP_S)

    return Profile(sleep, 1)
