"""The audit as its users see it: of a busy namespace it reports nothing that is not so; of a damaged one it reports
what is wrong; and what it repairs lets every run end.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import redisflow
from redisflow import AuditReport, Limit, Rate, RedisFlow, Rule, RunDamaged, Step, WorkflowCanceled
from tests.keyspace import Raw, breaches, key_names, prefix_of, raw_calls
from tests.stories.world import eventually, until

# What may be lost without anybody noticing: it is made anew when it is needed, or only says what has been.
NO_HINTS = ("run:", "meta", "worker", "idem:", "turn:", "upkeep", "bell:", "alarm", "joined:", "events:", "state:")
# It is said by nothing else: mail that has not been read yet, and words between partitions.
SAID_ONCE = ("mail:", "kids:", "outbox", "fx:")


@pytest.fixture
def raw(server_url: str) -> Iterator[Raw]:
    """Return bare commands to the server."""
    call, close = raw_calls(server_url)
    yield call
    close()


@dataclass(frozen=True)
class Order:
    customer: str
    number: int


def define_shop(flow: RedisFlow) -> Any:
    """Workflows that come to wait for all that a run can wait for."""

    async def work(number: int) -> int:
        await asyncio.sleep(0)
        return number

    @flow.define_workflow("part", concurrency=Limit(5), queue="parts")
    async def part(number: int, step: Step) -> int:
        await step.run("work", work, number)
        return number

    @flow.define_workflow("order", fair_key=lambda order: order.customer, rate=Rate(10_000, per="1s"))
    async def order(order: Order, step: Step) -> int:
        total = await step.run("first", work, order.number)
        match order.number % 5:
            case 0:
                await step.sleep("nap", "20ms")
            case 1:
                total += await step.run_workflow(part, order.number, name="part")
            case 2:
                total += sum(await asyncio.gather(*(step.run(f"side-{n}", work, n) for n in range(3))))
            case 3:
                await step.wait_for_signal("approval", bool, timeout="50ms")
            case _:
                total += await step.run("last", work, 1)
        return total

    return order


@pytest.mark.timeout(600)
@pytest.mark.parametrize("partitions", [1, 4])
async def test_of_a_busy_namespace_nothing_is_reported_that_is_not_so(
    server_kind: str, server_url: str, namespace: str, partitions: int
) -> None:
    # An audit of a server inside this process keeps all others from it: then there are few, and pauses.
    is_memory = server_kind == "memory"
    total, batch = (40, 20) if is_memory else (2_000, 100) if partitions == 1 else (600, 100)
    async with RedisFlow(server_url, namespace=namespace, partitions=partitions) as flow:
        order = define_shop(flow)
        reports: list[AuditReport] = []

        async def watch() -> None:
            while True:
                # A repair of what is not broken changes nothing.
                reports.append(await flow.audit(repair=len(reports) % 2 == 1))
                await asyncio.sleep(1 if is_memory else 0)

        async with flow.new_worker(), flow.new_worker(), flow.new_worker(), flow.new_worker():
            watching = asyncio.create_task(watch())
            ended = 0
            for first in range(0, total, batch):
                handles = [
                    await order.run(Order(f"c{number % 7}", number), tags={"batch": str(first)}, priority=number % 3)
                    for number in range(first, first + batch)
                ]
                for handle in handles[::20]:
                    await handle.cancel()
                results = await asyncio.gather(
                    *(handle.result(timeout="2m") for handle in handles), return_exceptions=True
                )
                assert all(isinstance(result, int | WorkflowCanceled) for result in results), results
                ended += len(results)
            watching.cancel()
            await asyncio.wait([watching])
            if not watching.cancelled():
                watching.result()
        reports.append(await flow.audit())
    found = [str(breach) for report in reports for breach in report.breaches]
    assert not found, found[:20]
    assert not [report.done for report in reports if report.done]
    assert ended == total
    assert len(reports) > 1
    assert reports[-1].runs >= total, "children come to it"


@pytest.mark.usefixtures("one_partition")
@pytest.mark.parametrize("repair", [True, False], ids=["repair", "upkeep"])
async def test_whatever_key_is_lost_every_run_ends(server_url: str, namespace: str, raw: Raw, repair: bool) -> None:
    kinds = await lose_each(server_url, namespace, raw, partitions=1, repair=repair)
    assert kinds >= {"q", "delayed", "runs", "workflows", "queues", "lanes", "tag", "signal", "unique", "stuck"}
    assert kinds >= {"limit", "blocked", "fair", "held", "controls"}


async def test_whatever_key_is_lost_of_several_partitions_every_run_ends(valkey_url: str, namespace: str) -> None:
    call, close = raw_calls(valkey_url)
    kinds = await lose_each(valkey_url, namespace, call, partitions=3, repair=True)
    assert kinds >= {"q", "delayed", "runs", "workflows"}
    close()


async def lose_each(url: str, namespace: str, raw: Raw, *, partitions: int, repair: bool) -> set[str]:
    """In a namespace for each auxiliary key, lose that key; the kinds of keys that these were."""
    async with RedisFlow(url, namespace=namespace, partitions=partitions) as flow:
        await fill(flow)
        names = list(auxiliary(raw, flow, partitions))
    at_once = asyncio.Semaphore(8)
    if url == "memory://":  # a server that works in this process, and is slow: one key of each kind
        names = list({_kind(name): (partition, name) for partition, name in names}.values())
        at_once = asyncio.Semaphore(3)

    async def lose(number: int, partition: int, name: str) -> None:
        async with at_once, RedisFlow(url, namespace=f"{namespace}:{number}", partitions=partitions) as flow:
            handles = await fill(flow)
            raw("DEL", prefix_of(flow.namespace, partition) + name)
            if repair:
                wrong = {breach.rule for breach in breaches(raw, flow.namespace, partitions)}
                report = await flow.audit(repair=True)
                assert report.counts.keys() >= wrong, f"{name}: {wrong}, {report}"
                assert report.is_clean, f"{name}: {report}"
                after = await flow.audit()
                assert not after.total, f"{name}: {after}"
            await let_all_end(flow, handles, name)
            last = await flow.audit(repair=not repair)
            assert last.is_clean, f"{name}: {last}"
            assert not breaches(raw, flow.namespace, partitions), name

    await asyncio.gather(*(lose(number, *lost) for number, lost in enumerate(names)))
    return {_kind(name) for _, name in names}


def _kind(name: str) -> str:
    return re.split("[:0-9]", name)[0]


def auxiliary(raw: Raw, flow: RedisFlow, partitions: int) -> Iterator[tuple[int, str]]:
    """Every key that can be derived from the runs, by partition."""
    for partition in range(partitions):
        for name in key_names(raw, prefix_of(flow.namespace, partition)):
            if not name.startswith((*NO_HINTS, *SAID_ONCE)):
                yield partition, name


async def fill(flow: RedisFlow) -> list[Any]:
    """Runs in all kinds of places, and nobody who works; their handles."""

    @flow.define_workflow("wait")
    async def wait(step: Step) -> str:
        await step.wait_for_signal("go", str, timeout="1h")
        return "gone on"

    @flow.define_workflow("nap")
    async def nap(step: Step) -> str:
        await step.sleep("long", "1s")
        return "slept"

    @flow.define_workflow("one", concurrency=Limit(1))
    async def one(step: Step) -> str:
        await step.wait_for_signal("go", str, timeout="1h")
        return "done"

    @flow.define_workflow("fair", fair_key=lambda number: "all", queue="idle")
    async def fair(number: int, step: Step) -> str:
        await asyncio.sleep(0)
        return step.info.workflow

    @flow.define_workflow("later", queue="other")
    async def later(step: Step) -> str:
        return step.info.workflow

    lone = flow.declare_workflow(redisflow.define_workflow_spec("unknown", input=None, output=str, queue="default"))
    await flow.controls.pause(workflow="later")
    handles = [await wait.run(tags={"kind": "wait"}), await nap.run(), await lone.run()]
    async with flow.new_worker(queues=("default",)):
        await until(flow, handles[0].id, lambda run: run.waiting_for == "signal")
        # On a busy machine it may have slept already, and then there is one timer less to be lost.
        await until(flow, handles[1].id, lambda run: run.waiting_for == "timer" or run.status == "succeeded")
        await until(flow, handles[2].id, lambda run: run.waiting_for == "stranded")
    handles += [await one.run(unique_key="u1"), await one.run(unique_key="u2", priority=7)]
    handles += [await fair.run(number) for number in range(6)]
    handles.append(await later.run())
    # Claimed by somebody who does nothing: a run, and one that waits for it; and the run of what is paused.
    backend = await flow.open()
    for partition in range(backend.partitions):
        await backend.claim_runs(partition, "sleepy", "op1", 10, ["default"])
    for partition in range(backend.partitions):
        await backend.claim_runs(partition, "sleepy", "op2", 1, ["other"])
    return handles


async def let_all_end(flow: RedisFlow, handles: list[Any], what: str) -> None:
    """A worker comes, those that wait are told, and all of them end."""

    @flow.define_workflow("unknown")
    async def unknown(step: Step) -> str:
        return step.info.workflow

    await flow.controls.resume(workflow="later")
    async with flow.new_worker(lease="2s", queues=("default", "idle", "other")):
        for handle in handles:

            async def ends(handle: Any = handle) -> bool:
                run = await handle.get()
                if run.waiting_for == "signal":
                    await handle.signal("go", "now")
                return bool(run.status == "succeeded")

            try:
                await eventually(ends, within=180)
            except AssertionError as error:
                run = await handle.get()
                raise AssertionError(
                    f"{what} was lost, and {run.workflow} is {run.status} {run.waiting_for}"
                ) from error


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2))
async def test_keys_are_lost_at_random_while_workers_run_and_repairs_too(
    valkey_url: str, namespace: str, seed: int
) -> None:
    chance, (raw, close) = random.Random(seed), raw_calls(valkey_url)
    async with RedisFlow(valkey_url, namespace=namespace) as flow:
        order = define_shop(flow)
        lost: Counter[str] = Counter()
        repaired: list[AuditReport] = []

        async def lose() -> None:
            while True:
                names = list(auxiliary(raw, flow, 1))
                if names:
                    _, name = chance.choice(names)
                    raw("DEL", prefix_of(flow.namespace) + name)
                    lost[_kind(name)] += 1
                repaired.append(await flow.audit(repair=True))

        async with flow.new_worker(lease="2s"), flow.new_worker(lease="2s"):
            losing = asyncio.create_task(lose())
            handles = [await order.run(Order(f"c{number % 5}", number)) for number in range(300)]
            results = await asyncio.gather(*(handle.result(timeout="3m") for handle in handles))
            losing.cancel()
            await asyncio.wait([losing])
            assert losing.cancelled(), losing.exception()
        assert len(results) == len(handles)
        assert sum(lost.values()) > 1, lost
        await flow.audit(repair=True)
        last = await flow.audit()
        assert not last.total, f"{seed}: {last}"
        assert not [str(breach) for breach in breaches(raw, flow.namespace)]
    close()


@pytest.mark.usefixtures("one_partition")
async def test_a_gap_in_a_long_record_is_found_and_left_alone(flow: RedisFlow, raw: Raw) -> None:
    @flow.define_workflow("long")
    async def long(step: Step) -> int:
        return len([await step.run(f"step-{number}", len, "x") for number in range(500)])

    async with flow.new_worker():
        handle = await long.run()
        assert await handle.result(timeout="2m") == 500
    assert not (await flow.audit()).total
    key = f"{prefix_of(flow.namespace)}run:{handle.id}"
    before = raw("HGET", key, "450")
    raw("HDEL", key, "450")
    report = await flow.audit(repair=True)
    assert (report.counts, report.left, report.done) == ({Rule.DAMAGE: 1}, 1, {}), str(report)
    told = str(report)
    assert "for a person to look at: nothing says what was there:\n" in told
    assert "of 500 records it lacks 450" in told
    raw("HSET", key, "450", before)
    assert not (await flow.audit()).total


@pytest.mark.usefixtures("one_partition")
async def test_the_report_says_what_was_walked_what_is_wrong_and_what_a_repair_would_do(
    flow: RedisFlow, raw: Raw
) -> None:
    @flow.define_workflow("order")
    async def order(step: Step) -> str:
        return step.info.workflow

    handle, seen = await order.run(), []
    assert str(await flow.audit(progress=lambda report: seen.append(report.keys))).endswith("all is as it must be")
    assert seen
    assert seen[-1] == len(key_names(raw, prefix_of(flow.namespace)))
    raw("DEL", f"{prefix_of(flow.namespace)}runs:order")
    report = await flow.audit()
    assert (report.total, report.repaired, report.left, report.is_clean) == (1, 0, 1, False)
    (breach,) = report.breaches
    assert (breach.rule, breach.run_id) == (Rule.LISTING, handle.id)
    told = str(report)
    assert "1 breach, 0 repaired, 1 left" in told
    assert "  a repair would do this: what points to the run is rebuilt from its hash:\n" in told
    assert told.endswith(f"    {breach.key}: {handle.id} (pending) is not listed")
    repaired = str(await flow.audit(repair=True))
    assert "  repaired:\n" in repaired
    assert "done: rebuilt listing 1" in repaired


def test_code_without_an_event_loop_audits_as_well(server_url: str, namespace: str) -> None:
    flow = RedisFlow(server_url, namespace=namespace)
    report = flow.sync.audit()
    assert (report.total, report.runs, report.namespace) == (0, 0, namespace)
    flow.sync.close()


@pytest.mark.usefixtures("one_partition")
async def test_a_namespace_is_audited_by_its_name(flow: RedisFlow, server_url: str, raw: Raw) -> None:
    raw("SADD", f"{prefix_of(flow.namespace)}stranger", "1")
    # One whose name begins with this one's is not looked at.
    async with RedisFlow(server_url, namespace=f"{flow.namespace}:more") as other:
        raw("SADD", f"{prefix_of(other.namespace)}stranger", "1")
    report = await redisflow.audit(flow.namespace, server_url, repair=True)
    assert [breach.key for breach in report.breaches] == [f"{prefix_of(flow.namespace)}stranger"]
    assert raw("EXISTS", f"{prefix_of(flow.namespace)}stranger")


@pytest.mark.usefixtures("one_partition")
async def test_whoever_looks_at_a_damaged_run_is_led_to_the_audit(flow: RedisFlow, raw: Raw) -> None:
    @flow.define_workflow("order")
    async def order(step: Step) -> None: ...

    mangled, replaced = [await order.run() for _ in range(2)]
    raw("HSET", f"{prefix_of(flow.namespace)}run:{mangled.id}", "h", "xx")
    raw("DEL", f"{prefix_of(flow.namespace)}run:{replaced.id}")
    raw("SET", f"{prefix_of(flow.namespace)}run:{replaced.id}", "hello")
    for handle in (mangled, replaced):
        for look in (handle.get(), flow.export_run(handle.id)):
            with pytest.raises(RunDamaged, match=rf"run {handle.id} cannot be read, .*redisflow audit.*flow\.audit"):
                await look
    report = await flow.audit(repair=True)
    assert {breach.run_id for breach in report.breaches if breach.rule is Rule.DAMAGE} == {mangled.id, replaced.id}
