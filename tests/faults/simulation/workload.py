"""Workflow code that does what a program says, and what must come of it."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from redisflow import Limit, NonRetryableError, Rate, RedisFlow, RetryPolicy, Step, StepError, StepOptions
from redisflow.authoring.body import current_body
from redisflow.schedule import Schedule

RETRY = RetryPolicy(initial_interval="150ms", backoff_coefficient=2, maximum_attempts=3)
LIMITED_TO = 2
RATED_TO = 2
RATED_PER_S = 1.0
ANY: Any = "<any>"
"""In what is expected: timing decides."""


class Journal(Protocol):
    """Who is told of bodies."""

    def body_began(self, body: Any) -> None: ...
    def body_ended(self, body: Any) -> None: ...


class Failed(Exception):
    """A program that fails."""


def define(
    flow: RedisFlow, journal: Journal, *, old: bool = False, schedule_every_s: float | None = None
) -> dict[str, Any]:
    """The workflows of a process; those of old code are fewer."""

    async def work(name: str, fails: int, ms: int) -> str:
        body: Any = current_body.get()
        journal.body_began(body)
        try:
            if ms:
                await asyncio.sleep(ms / 1000)
            if body.attempt <= fails:
                raise ValueError(f"attempt {body.attempt}")
            return f"{name}!"
        finally:
            journal.body_ended(body)

    def work_at_once(name: str) -> str:
        body: Any = current_body.get()
        journal.body_began(body)
        journal.body_ended(body)
        return f"{name}!"

    async def do(op: list[Any], step: Step, program: list[Any]) -> Any:
        match op:
            case ["step", name, fails, ms]:
                return await step.run(StepOptions(name, retry=RETRY), work, name, fails, ms)
            case ["sync", name]:
                return await step.run(name, work_at_once, name)
            case ["sleep", name, ms]:
                return await step.sleep(name, ms / 1000)
            case ["gather", ops]:
                return await asyncio.gather(*(do(each, step, program) for each in ops))
            case ["signal", name]:
                # Which of several of one name comes first is the clients' business; none comes twice.
                return str(await step.wait_for_signal(name)).partition(" #")[0]
            case ["hear", name, ms]:
                return await step.wait_for_signal("all", timeout=ms / 1000)
            case ["cast", name]:
                await step.send_signal(name, "heard")
                return None
            case ["child", name, inner, spread, workflow]:
                return await step.run_workflow(flows[workflow], inner, name=name, spread=spread)
            case ["count", name]:
                count = "return redis.call('INCR', KEYS[1])"
                return await step.redis(name, count, keys=[f"{step.info.id}:{step.info.continued}"])
            case ["undo", name, fails]:
                return step.on_failure(StepOptions(name, retry=RETRY), work, name, fails, 0)
            case ["say", times]:
                for number in range(times):
                    step.emit(number)
                    step.set_state("said", number)
                return None
            case ["caught", inner]:
                try:
                    return await do(inner, step, program)
                except StepError:
                    return "caught"
            case ["fail"]:
                raise NonRetryableError("as it was told")
            case ["again", times]:
                if step.info.continued < times:
                    step.continue_as_new(program)
                return step.info.continued
            case _:
                raise AssertionError(op)

    async def play(program: list[Any], step: Step) -> list[Any]:
        return [await do(op, step, program) for op in program]

    async def tick(step: Step) -> str:
        return await step.run("tick", work, "tick", 0, 0)

    flows: dict[str, Any] = {}
    flows["play"] = flow.define_workflow("play")(play)
    flows["limited"] = flow.define_workflow("limited", concurrency=Limit(LIMITED_TO))(play)
    if not old:
        by_kind = Limit(LIMITED_TO, key=lambda program: program[0][0], name="kind")
        flows["spread"] = flow.define_workflow("spread", concurrency=[Limit(3, name="all"), by_kind])(play)
        flows["rated"] = flow.define_workflow("rated", rate=Rate(RATED_TO, per=RATED_PER_S))(play)
        flows["fair"] = flow.define_workflow("fair", fair_key=lambda program: program[0][0])(play)
        if schedule_every_s is not None:
            schedule = Schedule(every=schedule_every_s, overlap="skip")
            flows["tick"] = flow.define_workflow("tick", schedule=schedule)(tick)
    return flows


def expected(program: list[Any]) -> list[Any]:
    """What comes of a program that nobody disturbs; Failed where it fails."""
    counted = [0]
    return [_value(op, counted) for op in program]


def _value(op: list[Any], counted: list[int]) -> Any:
    match op:
        case ["step", name, fails, _]:
            if fails >= RETRY.maximum_attempts:
                raise Failed
            return f"{name}!"
        case ["sync", name]:
            return f"{name}!"
        case ["gather", ops]:
            return [_value(each, counted) for each in ops]
        case ["signal", name]:
            return f"{name} came"
        case ["hear", *_]:
            return ANY
        case ["child", _, program, *_]:
            return expected(program)
        case ["count", _]:
            counted[0] += 1
            return counted[0]
        case ["caught", inner]:
            try:
                return _value(inner, counted)
            except Failed:
                return "caught"
        case ["fail"]:
            raise Failed
        case ["again", times]:
            return times
        case _:
            return None


def fits(value: Any, wanted: Any) -> bool:
    """Whether an output is the expected one."""
    if wanted is ANY or wanted == ANY:
        return value in (None, "heard")
    if isinstance(wanted, list):
        return isinstance(value, list) and len(value) == len(wanted) and all(map(fits, value, wanted))
    return bool(value == wanted)


def signals_of(program: list[Any]) -> list[str]:
    """The signals for which a program waits for ever, outside of its children: the name of each wait."""
    rounds = next((op[1] + 1 for op in program if op[0] == "again"), 1)
    return [name for op in program for name in _waits_of(op)] * rounds


def _waits_of(op: list[Any]) -> list[str]:
    match op:
        case ["signal", name]:
            return [name]
        case ["gather", ops]:
            return [name for inner in ops for name in _waits_of(inner)]
        case ["caught", inner]:
            return _waits_of(inner)
        case _:
            return []
