"""Parallel steps: each branch is memoized on its own."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from examples import failures, parallel
from redisflow import NonRetryableError, Step, StepError, StepOptions, WorkflowFailed
from tests.stories.world import QUICK, adopt, eventually, until


async def test_three_things_are_fetched_in_parallel(flow):
    workflow = adopt(flow, parallel.build_dashboard)
    async with flow.new_worker(lease="30s"):
        handle = await workflow.run("ada")
        dashboard = await handle.result(timeout="1m")
    assert dashboard == parallel.Dashboard(user="user ada", orders=["ada-order-1", "ada-order-2"], unread=3)
    steps = (await handle.get()).steps
    # Each began before any had ended.
    assert max(each.started_at for each in steps) < min(each.finished_at for each in steps)


async def test_validate_then_three_in_parallel_then_confirm(flow):
    workflow = adopt(flow, parallel.book_trip)
    async with flow.new_worker(lease="30s"):
        handle = await workflow.run(parallel.Booking(trip="Oslo", days=3))
        confirmation = await handle.result(timeout="1m")
    assert confirmation == "Oslo: flight for 3 days in Oslo, hotel for 3 days in Oslo, car for 3 days in Oslo"
    validate, flight, hotel, car, confirm = (await handle.get()).steps
    assert validate.finished_at <= min(flight.started_at, hotel.started_at, car.started_at)
    assert confirm.started_at >= max(flight.finished_at, hotel.finished_at, car.finished_at)


async def test_one_of_two_parallel_steps_fails_and_the_workflow_cleans_up_and_raises_again(flow):
    failures.disks.clear()
    workflow = adopt(flow, failures.create_machine)
    async with flow.new_worker(lease="30s"):
        handle = await workflow.run("m1")
        with pytest.raises(WorkflowFailed, match="no address is left for m1"):
            await handle.result(timeout="1m")
    assert failures.disks == set()
    assert [(each.key, each.status) for each in (await handle.get()).steps] == [
        ("create-disk", "succeeded"),
        ("create-address", "failed"),
        ("delete-disk", "succeeded"),
    ]


async def square(number: int) -> int:
    await asyncio.sleep(0)
    return number * number


async def test_gather_task_groups_and_anyio_all_serve(flow):
    @flow.define_workflow("ways")
    async def ways(step: Step) -> list[int]:
        first = await asyncio.gather(*(step.run("gather", square, number) for number in (1, 2)))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(step.run("group", square, number)) for number in (3, 4)]
        by_anyio: list[int] = []

        async def branch(number: int) -> None:
            by_anyio.append(await step.run(f"anyio-{number}", square, number))

        async with anyio.create_task_group() as anyio_group:
            anyio_group.start_soon(branch, 5)
            anyio_group.start_soon(branch, 6)
        await step.sleep("park", "20ms")
        typed = await step.gather(step.run("a", square, 7), step.run("b", square, 8))
        mapped = await step.map("mapped", square, [9, 10], limit=1)
        return [*first, *(task.result() for task in tasks), *sorted(by_anyio), *typed, *mapped]

    async with flow.new_worker(lease="30s"):
        assert await (await ways.run()).result(timeout="1m") == [number * number for number in range(1, 11)]


async def test_sequences_may_run_beside_each_other(flow):
    order: list[str] = []

    async def note(name: str) -> str:
        order.append(name)
        return name

    @flow.define_workflow("nested")
    async def nested(step: Step) -> list[str]:
        async def branch(name: str) -> str:
            first = await step.run(f"{name}-1", note, f"{name}-1")
            both = await step.gather(step.run(f"{name}-2a", note, "2a"), step.run(f"{name}-2b", note, "2b"))
            return first + "".join(both)

        return list(await asyncio.gather(branch("left"), branch("right")))

    async with flow.new_worker(lease="30s"):
        assert await (await nested.run()).result(timeout="1m") == ["left-12a2b", "right-12a2b"]
    assert sorted(order) == ["2a", "2a", "2b", "2b", "left-1", "right-1"]


async def test_after_a_lost_worker_completed_branches_answer_and_those_in_flight_run_again(flow):
    bodies: list[str] = []
    blocked = asyncio.Event()

    async def quick() -> str:
        bodies.append("quick")
        return "quick"

    async def slow() -> str:
        bodies.append("slow")
        if bodies.count("slow") == 1:
            blocked.set()
            await asyncio.Event().wait()
        return "slow"

    @flow.define_workflow("branches")
    async def branches(step: Step) -> list[str]:
        return list(await asyncio.gather(step.run("quick", quick), step.run("slow", slow)))

    first = flow.new_worker(lease="30s", grace=0)
    await first.start()
    handle = await branches.run()
    await blocked.wait()
    await until(flow, handle.id, lambda run: (run.step("quick") or run).status == "succeeded")
    await first.stop()
    async with flow.new_worker(lease="30s"):
        assert await handle.result(timeout="1m") == ["quick", "slow"]
    assert sorted(bodies) == ["quick", "slow", "slow"]


async def test_a_failing_branch_of_a_task_group_cancels_the_others(flow):
    cancelled: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append("endless")

    async def broken() -> None:
        raise NonRetryableError("broken")

    @flow.define_workflow("abort")
    async def abort(step: Step) -> str:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(step.run("endless", endless))
                group.create_task(step.run("broken", broken))
        except* StepError as errors:
            caught = errors.exceptions[0]
        return str(caught)

    async with flow.new_worker(lease="30s"):
        handle = await abort.run()
        assert "broken" in await handle.result(timeout="1m")

        async def seen() -> bool:
            return cancelled == ["endless"]

        await eventually(seen)
    assert [each.key for each in (await handle.get()).steps] == ["broken"]


async def test_a_retry_is_made_beside_a_running_branch(flow):
    attempts: list[int] = []
    enough = asyncio.Event()

    async def flaky(step: Step) -> int:
        attempts.append(step.attempt)
        if step.attempt < 3:
            raise ConnectionError
        enough.set()
        return step.attempt

    @flow.define_workflow("beside")
    async def beside(step: Step) -> tuple[int, bool]:
        flaked, waited = await asyncio.gather(
            step.run(StepOptions("flaky", retry=QUICK), flaky, step), step.run("wait", enough.wait)
        )
        return flaked, bool(waited)

    async with flow.new_worker(lease="30s"):
        handle = await beside.run()
        assert await handle.result(timeout="1m") == (3, True)
    assert (await handle.get()).claims == 1


async def test_as_completed_gives_what_ends_first_first(flow):
    gates = {name: asyncio.Event() for name in "ab"}

    async def pass_gate(name: str) -> str:
        await gates[name].wait()
        return name

    @flow.define_workflow("as-completed")
    async def as_completed(step: Step) -> list[str]:
        return [
            task.result()
            async for task in step.as_completed([step.run(f"gate-{name}", pass_gate, name) for name in "ab"])
        ]

    async with flow.new_worker(lease="30s"):
        handle = await as_completed.run()
        gates["b"].set()
        await until(flow, handle.id, lambda run: run.step("gate-b"))
        gates["a"].set()
        assert await handle.result(timeout="1m") == ["b", "a"]
