"""Child workflows: waited for without a worker, typed, and never left alone by accident."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from redisflow import (
    ChildCanceled,
    ChildFailed,
    ChildRun,
    ChildTimedOut,
    InvalidInput,
    InvalidTags,
    NonRetryableError,
    RedisFlow,
    Step,
    WorkflowCanceled,
)
from redisflow.run_id import partition_of
from tests.stories.world import eventually, until


class Part(BaseModel):
    number: int
    of: str


class Built(BaseModel):
    name: str
    parts: list[Part]


def define_part(flow: RedisFlow) -> Any:
    async def make(number: int) -> Part:
        return Part(number=number, of="car")

    @flow.define_workflow("make-part")
    async def make_part(number: int, step: Step) -> Part:
        if number < 0:
            raise NonRetryableError("there are no negative parts")
        return await step.run("make", make, number)

    return make_part


def define_patient(flow: RedisFlow) -> Any:
    @flow.define_workflow("patient")
    async def patient(step: Step) -> str:
        return await step.wait_for_signal("go", str)

    return patient


def waits_for_child(run: Any) -> bool:
    return bool(run.waiting_for == "child")


def child_id(run: Any, key: str = "patient") -> str:
    found = run.step(key).child_id
    assert found is not None
    return str(found)


async def test_a_child_gives_its_typed_output_and_its_parent_holds_no_worker_meanwhile(flow: RedisFlow):
    make_part, patient = define_part(flow), define_patient(flow)

    @flow.define_workflow("build")
    async def build(name: str, step: Step) -> Built:
        first = await step.run_workflow(make_part, 1)
        assert isinstance(first, Part)
        said = await step.run_workflow(patient)
        rest = await asyncio.gather(*(step.run_workflow(make_part, n, name=f"part-{n}") for n in (2, 3)))
        return Built(name=f"{name} {said}", parts=[first, *rest])

    async with flow.new_worker(concurrency=1):
        handle = await build.run("car")
        run = await until(flow, handle.id, lambda run: waits_for_child(run) and run.step("patient") is not None)
        assert (run.status, run.step("patient").kind, run.step("patient").status) == ("waiting", "child", "waiting")
        await eventually(lambda: waiting_for_signal(flow, child_id(run)))
        await flow.signal(child_id(run), "go", "red")
        built = await handle.result(timeout="1m")
    assert built == Built(name="car red", parts=[Part(number=n, of="car") for n in (1, 2, 3)])


async def waiting_for_signal(flow: RedisFlow, run_id: str) -> bool:
    return (await flow.get_run(run_id)).waiting_for == "signal"


async def test_a_child_that_fails_times_out_or_is_canceled_raises_an_error_of_its_own(flow: RedisFlow):
    make_part, patient = define_part(flow), define_patient(flow)

    @flow.define_workflow("careful")
    async def careful(step: Step) -> list[str]:
        seen: list[str] = []
        try:
            await step.run_workflow(make_part, -1)
        except ChildFailed as error:
            seen.append(f"{error.error_type.rpartition('.')[2]}: {error.failure.message}")
        try:
            await step.run_workflow(patient, name="late", timeout="1s")
        except ChildTimedOut as error:
            seen.append(f"too late: {error.run_id == child_ids['late']}")
        try:
            await step.run_workflow(patient, name="canceled")
        except ChildCanceled:
            seen.append("canceled")
        return seen

    child_ids: dict[str, str] = {}
    async with flow.new_worker():
        handle = await careful.run()
        run = await until(flow, handle.id, lambda run: run.step("late") is not None)
        child_ids["late"] = child_id(run, "late")
        run = await until(flow, handle.id, lambda run: run.step("canceled") is not None)
        await eventually(lambda: waiting_for_signal(flow, child_id(run, "canceled")))
        await flow.cancel_workflow_run(child_id(run, "canceled"))
        seen = await handle.result(timeout="1m")
    assert seen == ["NonRetryableError: there are no negative parts", "too late: True", "canceled"]


@pytest.mark.parametrize("end", ["cancel", "deadline", "failure"])
async def test_what_ends_a_parent_ends_the_children_that_it_waits_for_unless_they_are_to_be_left(
    flow: RedisFlow, end: str
):
    patient = define_patient(flow)

    async def fail() -> None:
        raise NonRetryableError("no")

    @flow.define_workflow("parent")
    async def parent(step: Step) -> None:
        tasks = [
            asyncio.ensure_future(step.run_workflow(patient, name="with me")),
            asyncio.ensure_future(step.run_workflow(patient, name="without me", on_parent_end="leave")),
        ]
        if end == "failure":
            await step.wait_for_signal("fail")
            await step.run("fail", fail)
        await asyncio.gather(*tasks)

    async with flow.new_worker():
        handle = await parent.run(deadline_at="1s" if end == "deadline" else None)
        run = await until(flow, handle.id, lambda run: run.step("without me") and run.status == "waiting")
        with_me, without_me = child_id(run, "with me"), child_id(run, "without me")
        await eventually(lambda: waiting_for_signal(flow, without_me))
        if end == "cancel":
            await handle.cancel()
        elif end == "failure":
            await handle.signal("fail")
        await until(flow, with_me, lambda run: run.status == "canceled")
        await flow.signal(without_me, "go", "on my own")
        await until(flow, without_me, lambda run: run.output == "on my own")
        assert (await handle.get()).status == ("canceled" if end == "cancel" else "failed")


async def test_a_child_that_is_given_up_is_canceled_while_its_parent_goes_on(flow: RedisFlow):
    make_part, patient = define_part(flow), define_patient(flow)

    @flow.define_workflow("race")
    async def race(step: Step) -> int:
        slow = asyncio.ensure_future(step.run_workflow(patient))
        fast = asyncio.ensure_future(step.run_workflow(make_part, 7))
        done, pending = await asyncio.wait({slow, fast}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        assert done == {fast}
        await step.wait_for_signal("end")
        part: Part = await fast
        return part.number

    async with flow.new_worker():
        handle = await race.run()
        run = await until(flow, handle.id, lambda run: run.waiting_for == "signal")
        await until(flow, child_id(run), lambda run: run.status == "canceled")
        await handle.signal("end")
        assert await handle.result(timeout="1m") == 7


async def test_a_started_child_lives_on_its_own(flow: RedisFlow):
    patient = define_patient(flow)

    @flow.define_workflow("starter")
    async def starter(step: Step) -> ChildRun:
        return await step.start_workflow(patient)

    async with flow.new_worker():
        child = await (await starter.run()).result(timeout="1m")
        assert child.workflow == "patient"
        handle = await flow.get_handle(child.id, patient)
        await flow.signal(child.id, "go", "alone")
        assert await handle.result(timeout="1m") == "alone"


async def test_a_bad_input_is_refused_where_the_child_is_asked_for(flow: RedisFlow):
    make_part = define_part(flow)

    @flow.define_workflow("wrong")
    async def wrong(step: Step) -> str:
        try:
            await step.run_workflow(make_part, "many")
        except InvalidInput as error:
            return str(error)
        return "accepted"

    async with flow.new_worker():
        assert "make-part" in await (await wrong.run()).result(timeout="1m")


async def test_a_run_knows_its_parent(flow: RedisFlow):
    @flow.define_workflow("whose")
    async def whose(step: Step) -> str | None:
        return step.info.parent

    @flow.define_workflow("mine")
    async def mine(step: Step) -> bool:
        parent: str | None = await step.run_workflow(whose)
        return parent == step.info.id

    async with flow.new_worker():
        assert await (await mine.run()).result(timeout="1m")
        assert await (await whose.run()).result(timeout="1m") is None


async def test_a_child_has_the_tags_that_it_is_given_and_none_of_its_parents(flow: RedisFlow):
    @flow.define_workflow("tagged")
    async def tagged(step: Step) -> dict[str, str]:
        return dict(step.info.tags)

    @flow.define_workflow("parent")
    async def parent(step: Step) -> list[dict[str, str]]:
        with pytest.raises(InvalidTags):
            step.run_workflow(tagged, name="wrong", tags={"no=name": "x"})
        await step.start_workflow(tagged, tags={"kind": "detached"})
        calls = [step.run_workflow(tagged, name="bare"), step.run_workflow(tagged, name="own", tags={"kind": "own"})]
        handed_on = step.run_workflow(tagged, name="handed-on", tags=step.info.tags)
        return list(await asyncio.gather(*calls, handed_on))

    async with flow.new_worker():
        handle = await parent.run(tags={"customer": "c1"})
        assert await handle.result(timeout="1m") == [{}, {"kind": "own"}, {"customer": "c1"}]
    assert len([run async for run in flow.list_runs(tags={"customer": "c1"})]) == 2
    assert len([run async for run in flow.list_runs(tags={"kind": "detached"})]) == 1


async def test_a_thousand_children_share_the_work_of_all_partitions(valkey_url: str, namespace: str):
    async with RedisFlow(valkey_url, namespace=namespace, partitions=4) as flow:
        seen: set[int] = set()

        @flow.define_workflow("square")
        async def square(number: int, step: Step) -> int:
            seen.add(partition_of(step.info.id))
            return number * number

        @flow.define_workflow("sum")
        async def total(count: int, step: Step) -> int:
            squares: list[int] = await step.map("square", square, range(count), limit=100)
            return sum(squares)

        async with flow.new_worker():
            assert await (await total.run(1_000)).result(timeout="2m") == sum(n * n for n in range(1_000))
        assert seen == {0, 1, 2, 3}


async def test_awaiting_a_parent_that_was_canceled_says_so(flow: RedisFlow):
    patient = define_patient(flow)

    @flow.define_workflow("nested")
    async def nested(step: Step) -> str:
        return await step.run_workflow(patient)

    @flow.define_workflow("outer")
    async def outer(step: Step) -> str:
        return await step.run_workflow(nested, name="patient")

    async with flow.new_worker():
        handle = await outer.run()
        middle = child_id(await until(flow, handle.id, waits_for_child))
        inner = child_id(await eventually(lambda: child_of(flow, middle)))
        await handle.cancel()
        with pytest.raises(WorkflowCanceled):
            await handle.result(timeout="1m")
        # From parent to child to grandchild.
        await until(flow, inner, lambda run: run.status == "canceled")


async def child_of(flow: RedisFlow, run_id: str) -> Any:
    run = await flow.get_run(run_id)
    return run if waits_for_child(run) else None
