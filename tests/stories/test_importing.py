"""Runs that were exported in one place and imported in another: whole, once, and as if they had ended there."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redisflow import (
    AesGcm,
    FileStore,
    InvalidExport,
    Limit,
    Payloads,
    RedisFlow,
    Retention,
    RetryPolicy,
    RunAlreadyActive,
    RunExists,
    RunNotFound,
    RunStateConflict,
    StartRules,
    Step,
    StepError,
    StepOptions,
    WorkflowFailed,
)
from redisflow.names import partition_prefix
from redisflow.testing import assert_replays
from tests.keyspace import breaches, raw_calls
from tests.leaks import leaks, purge_all
from tests.stories.world import QUICK, eventually, until

ONCE = RetryPolicy(maximum_attempts=1)
KEYS = {"k": b"1" * 32}


@pytest.fixture
async def elsewhere(flow: RedisFlow, server_url: str) -> AsyncIterator[RedisFlow]:
    """Return another namespace with as many partitions, in which everything is as it must be at the end."""
    partitions = (await flow.open()).partitions
    async with RedisFlow(server_url, namespace=f"{flow.namespace}-2", partitions=partitions) as made:
        yield made
        raw, close = raw_calls(server_url)
        assert not breaches(raw, made.namespace, partitions)
        await purge_all(made, raw)
        assert not leaks(raw, made.namespace, partitions)
        close()


def define(flow: RedisFlow) -> Any:
    """A workflow with one of everything; a negative number fails, and what failed once goes well when it is retried."""
    attempts: list[int] = []

    async def flaky(step: Step) -> str:
        step.emit({"try": len(attempts)}, kind="attempt")
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError("not yet")
        return "done"

    async def check(number: int) -> int:
        if number < 0:
            raise ValueError(f"no such number: {number}")
        return number

    @flow.define_workflow("inner")
    async def inner(number: int, step: Step) -> int:
        return await step.run("twice", lambda: number * 2)

    @flow.define_workflow("everything", version="2", queue="slow", concurrency=Limit(3, key=lambda _: "all"))
    async def everything(number: int, step: Step) -> list[Any]:
        step.set_state("phase", "begun")
        seen: list[Any] = [await step.run(StepOptions("flaky", retry=QUICK), flaky, step)]
        await step.sleep("nap", "5ms")
        seen.append(await step.run_workflow(inner, number))
        seen.append(await step.wait_for_signal("go", timeout="5ms"))
        step.log.info("nearly there")
        seen.append(await step.run(StepOptions("check", retry=ONCE), check, number))
        step.set_state("phase", "done")
        return seen

    return everything


async def ended(flow: RedisFlow, workflow: Any, number: int, **options: Any) -> Any:
    handle = await workflow.run(number, **options)
    async with flow.new_worker(grace=0):
        await until(flow, handle.id, lambda run: run.is_finished)
    return handle


async def same_in_both(one: RedisFlow, other: RedisFlow, run_id: str) -> None:
    """Every field of the run, its record, and what it said."""
    run, imported = await one.get_run(run_id), await other.get_run(run_id)
    assert imported.imported_at is not None
    assert replace(imported, imported_at=run.imported_at) == run
    assert await one.get_history(run_id) == await other.get_history(run_id)
    first, second = [await flow.get_handle(run_id) for flow in (one, other)]
    assert [event async for event in first.events(live=False)] == [event async for event in second.events(live=False)]
    assert await first.state() == await second.state()
    exported = [await flow.export_run(run_id) for flow in (one, other)]
    assert exported[0] == {**exported[1], "namespace": one.namespace}


@pytest.mark.parametrize("number", [21, -1])
async def test_a_finished_run_is_elsewhere_what_it_was_here(flow: RedisFlow, elsewhere: RedisFlow, number: int):
    everything = define(flow)
    handle = await ended(flow, everything, number, tags={"customer": "c1"}, deadline_at="1h", priority=3)
    document = json.loads(json.dumps(await flow.export_run(handle.id)))
    imported = await elsewhere.import_run(document)
    assert (imported.id, imported.exported_id, imported.is_new) == (handle.id, handle.id, True)
    await same_in_both(flow, elsewhere, handle.id)
    run = await elsewhere.get_run(handle.id)
    assert [step.key for step in run.steps] == ["flaky", "nap", "inner", "go", "check"]
    assert await (await elsewhere.get_handle(handle.id)).state() == {"phase": "done" if number > 0 else "begun"}
    if number > 0:
        assert await (await elsewhere.get_handle(handle.id)).result(timeout="1m") == ["done", 42, None, 21]
    else:
        with pytest.raises(WorkflowFailed, match="no such number"):
            await (await elsewhere.get_handle(handle.id)).result(timeout="1m")
    assert_replays(await elsewhere.export_run(handle.id), everything)


async def test_it_is_listed_and_counted_as_any_run(flow: RedisFlow, elsewhere: RedisFlow):
    handle = await ended(flow, define(flow), -1, tags={"customer": "c1"})
    await elsewhere.import_run(await flow.export_run(handle.id))
    run = await flow.get_run(handle.id)
    second = timedelta(seconds=1)
    assert run.finished_at is not None
    for query in (
        {"status": "failed", "workflow": "everything", "version": "2"},
        {"tags": {"customer": "c1"}},
        {"created_after": run.created_at - second, "created_before": run.created_at + second},
        {"finished_after": run.finished_at - second, "finished_before": run.finished_at + second},
    ):
        assert [found.id async for found in elsewhere.list_runs(**query)] == [handle.id], query
    for query in ({"status": "succeeded"}, {"tags": {"customer": "c2"}}, {"finished_after": run.finished_at + second}):
        assert [found.id async for found in elsewhere.list_runs(**query)] == []
    counts = await elsewhere.count_runs()
    assert (counts.failed, counts.succeeded, counts.pending, counts.running, counts.waiting) == (1, 0, 0, 0, 0)
    assert (await elsewhere.audit()).is_clean


async def test_what_is_imported_again_is_left_as_it_is(flow: RedisFlow, elsewhere: RedisFlow):
    handle = await ended(flow, define(flow), 1)
    document = await flow.export_run(handle.id)
    assert (await elsewhere.import_run(document, dry_run=True)).is_new
    with pytest.raises(RunNotFound):
        await elsewhere.get_run(handle.id)
    assert (await elsewhere.import_run(document)).is_new
    assert not (await elsewhere.import_run(document)).is_new
    # Here it has never left.
    assert not (await flow.import_run(document)).is_new
    other = {**document, "finished_at_ms": document["finished_at_ms"] - 1}
    with pytest.raises(RunExists, match=f"another run of the id {handle.id} is stored.*new id"):
        await elsewhere.import_run(other)
    first = await elsewhere.import_run(document, new_id=True)
    assert (first.is_new, first.exported_id) == (True, handle.id)
    again = await elsewhere.import_run(document, new_id=True)
    assert (again.id, again.is_new) == (first.id, False)
    copy, original = await elsewhere.get_run(first.id), await elsewhere.get_run(handle.id)
    assert replace(copy, id=handle.id, imported_at=original.imported_at) == original
    assert (await elsewhere.count_runs()).succeeded == 2


async def test_many_imports_of_one_run_at_once_store_it_once(flow: RedisFlow, elsewhere: RedisFlow):
    handle = await ended(flow, define(flow), 1)
    document = await flow.export_run(handle.id)
    done = await asyncio.gather(*(elsewhere.import_run(document) for _ in range(10)))
    assert sum(each.is_new for each in done) == 1
    await same_in_both(flow, elsewhere, handle.id)


async def test_a_run_that_goes_on_is_not_imported(flow: RedisFlow, elsewhere: RedisFlow):
    everything = define(flow)
    handle = await everything.run(1)
    with pytest.raises(RunStateConflict, match=r"was pending when it was exported.*there and here"):
        await elsewhere.import_run(await flow.export_run(handle.id))
    await handle.cancel()
    await elsewhere.import_run(await flow.export_run(handle.id))
    await same_in_both(flow, elsewhere, handle.id)
    assert (await elsewhere.get_run(handle.id)).status == "canceled"


async def test_it_is_retried_forked_and_run_again_where_it_came_to(flow: RedisFlow, elsewhere: RedisFlow):
    handle = await ended(flow, define(flow), -1)
    runs = 0

    async def check(number: int) -> int:
        nonlocal runs
        runs += 1
        return abs(number)

    async def never(_: Step) -> str:
        raise AssertionError("it has a result")

    @elsewhere.define_workflow("inner")
    async def inner(number: int, step: Step) -> int:
        return await step.run("twice", lambda: number * 2)

    @elsewhere.define_workflow("everything", version="2", queue="slow")
    async def everything(number: int, step: Step) -> list[Any]:
        seen: list[Any] = [await step.run(StepOptions("flaky", retry=QUICK), never, step)]
        await step.sleep("nap", "5ms")
        seen.append(await step.run_workflow(inner, number))
        seen.append(await step.wait_for_signal("go", timeout="5ms"))
        seen.append(await step.run("check", check, number))
        return seen

    await elsewhere.import_run(await flow.export_run(handle.id))
    here = await elsewhere.get_handle(handle.id, everything)
    fork = await here.fork("check")
    async with elsewhere.new_worker(grace=0):
        assert await fork.result(timeout="1m") == ["done", -2, None, 1]
        assert runs == 1
        await here.retry()
        assert await here.result(timeout="1m") == ["done", -2, None, 1]
        assert runs == 2
        assert (await here.get()).imported_at is None  # by now it has ended here
        # Nothing of the run that it came from has changed.
        assert (await flow.get_run(handle.id)).status == "failed"
        again = await elsewhere.get_run((await here.rerun()).id)
        assert (again.forked_from, again.queue, again.input) == (handle.id, "slow", -1)


async def test_runs_come_however_they_ended(flow: RedisFlow, elsewhere: RedisFlow):
    """By a deadline, by nobody taking it up, continued as new, and undone."""
    undone: list[str] = []

    async def fail() -> None:
        raise ValueError("no")

    async def undo() -> None:
        undone.append("it")

    @flow.define_workflow("late")
    async def late(step: Step) -> None:
        await step.sleep("nap", "1h")

    @flow.define_workflow("anew")
    async def anew(number: int, step: Step) -> int:
        await step.run("one", lambda: number)
        return number if number == 2 else await step.continue_as_new(number + 1)

    @flow.define_workflow("undone")
    async def compensated(step: Step) -> None:
        step.on_failure("undo", undo)
        await step.run(StepOptions("fail", retry=ONCE), fail)

    expired = await late.run(expires_at="1ms")
    await asyncio.sleep(0.01)  # so long nobody takes it up
    handles: list[Any] = [expired, await late.run(deadline_at="20ms"), await anew.run(0), await compensated.run()]
    async with flow.new_worker(grace=0):
        for handle in handles:
            await until(flow, handle.id, lambda run: run.is_finished)
    for handle in handles:
        await elsewhere.import_run(json.loads(json.dumps(await flow.export_run(handle.id))))
        await same_in_both(flow, elsewhere, handle.id)
    runs = [await elsewhere.get_run(handle.id) for handle in handles]
    assert [run.status for run in runs] == ["canceled", "failed", "succeeded", "failed"]
    errors = [run.error.error_type.rpartition(".")[2] for run in runs if run.error]
    assert errors == ["WorkflowExpired", "DeadlineExceeded", "StepError"]
    assert (runs[2].continued, undone) == (2, ["it"])
    with pytest.raises(RunStateConflict, match="compensations have undone"):
        await (await elsewhere.get_handle(handles[3].id)).retry()


async def test_its_unique_key_counts_once_it_is_retried(flow: RedisFlow, elsewhere: RedisFlow):
    async def fail(_number: int, step: Step) -> None:
        raise ValueError("no")

    workflows = [made.define_workflow("one", start=StartRules(unique_key=str))(fail) for made in (flow, elsewhere)]
    handle = await ended(flow, workflows[0], 1)
    await elsewhere.import_run(await flow.export_run(handle.id))
    # Until then another run may have it.
    other = await workflows[1].run(1)
    assert other.id != handle.id
    here = await elsewhere.get_handle(handle.id)
    with pytest.raises(RunAlreadyActive):
        await here.retry()
    await other.cancel()
    await here.retry()
    assert (await elsewhere.get_run(handle.id)).status == "pending"


async def test_it_is_kept_from_its_import_on(flow: RedisFlow, elsewhere: RedisFlow, server_url: str):
    handle = await ended(flow, define(flow), 1, tags={"a": "b"})
    document = await flow.export_run(handle.id)
    for name in ("created_at_ms", "started_at_ms", "finished_at_ms"):
        document[name] -= 30 * 86_400_000

    @elsewhere.define_workflow("everything", version="2", retention=Retention(succeeded="3s"))
    async def everything(step: Step) -> None: ...

    async with elsewhere.new_worker(lease="500ms", grace=0):
        await eventually(lambda: _is_known(elsewhere, server_url))
        await elsewhere.import_run(document)
        backend = await elsewhere.open()
        for partition in range(backend.partitions):
            assert (await backend.retention.purge_runs(partition)).runs == 0
        assert (await elsewhere.get_run(handle.id)).status == "succeeded"

        async def is_over() -> bool:
            return not [run.id async for run in elsewhere.list_runs()]

        await eventually(is_over)
    with pytest.raises(RunNotFound):
        await elsewhere.get_run(handle.id)
    assert everything.definition is not None


async def _is_known(flow: RedisFlow, server_url: str) -> bool:
    raw, close = raw_calls(server_url)
    try:
        return bool(raw("HGET", f"{partition_prefix(flow.namespace, 0)}meta", "keep:everything"))
    finally:
        close()


async def test_it_is_deleted_as_any_run(flow: RedisFlow, elsewhere: RedisFlow):
    handle = await ended(flow, define(flow), 1, tags={"a": "b"})
    await elsewhere.import_run(await flow.export_run(handle.id))
    await elsewhere.delete_run(handle.id)
    with pytest.raises(RunNotFound):
        await elsewhere.get_run(handle.id)
    assert (await elsewhere.import_run(await flow.export_run(handle.id))).is_new


async def test_a_run_of_a_partition_that_is_not_there_comes_under_a_new_id(server_url: str, namespace: str):
    async with (
        RedisFlow(server_url, namespace=f"{namespace}-wide", partitions=8) as wide,
        RedisFlow(server_url, namespace=f"{namespace}-2", partitions=1) as narrow,
    ):

        @wide.define_workflow("plain")
        async def plain(number: int, step: Step) -> int:
            return number

        handles = await plain.run_many(range(20))
        async with wide.new_worker(grace=0):
            assert [await handle.result(timeout="1m") for handle in handles] == list(range(20))
        refused = 0
        for handle in handles:
            document = await wide.export_run(handle.id)
            try:
                await narrow.import_run(document)
            except InvalidExport as error:
                refused += 1
                assert "is of partition" in str(error)  # noqa: PT017  # some of them are refused
                done = await narrow.import_run(document, new_id=True)
                assert (await narrow.get_run(done.id)).output == (await wide.get_run(handle.id)).output
        assert refused
        assert (await narrow.count_runs()).succeeded == 20
        assert (await narrow.audit()).is_clean


@pytest.mark.usefixtures("one_partition")
async def test_sealed_runs_travel_opened_and_are_sealed_where_they_come_to(
    server_url: str, namespace: str, tmp_path: Path
):
    def sealed(folder: str) -> Payloads:
        store = FileStore(tmp_path / folder)
        return Payloads(compress=True, encrypt=AesGcm(write="k", keys=KEYS), store=store, store_above="2KB")

    async def shout(step: Step, words: str) -> str:
        step.emit("secret: " + words)
        step.set_state("words", "secret")
        return "secret " + words * 4000

    async with (
        RedisFlow(server_url, namespace=namespace, payloads=sealed("one")) as one,
        RedisFlow(server_url, namespace=f"{namespace}-2", payloads=sealed("two")) as two,
        RedisFlow(server_url, namespace=f"{namespace}-3") as plain,
        RedisFlow(server_url, namespace=namespace) as keyless,
    ):

        @one.define_workflow("shout")
        async def workflow(words: str, step: Step) -> str:
            step.emit("secret of the code")
            return await step.run("shout", shout, step, words)

        handle = await ended(one, workflow, "secret word")  # type: ignore[arg-type]  # this one takes words
        document = await one.export_run(handle.id)
        await two.import_run(document)
        await same_in_both(one, two, handle.id)
        raw, close = raw_calls(server_url)
        stored = repr(raw("HGETALL", f"{partition_prefix(two.namespace, 0)}run:{handle.id}"))
        stored += repr(raw("XRANGE", f"{partition_prefix(two.namespace, 0)}events:{handle.id}", "-", "+"))
        close()
        assert "secret" not in stored
        assert (await two.audit()).is_clean
        # And where nothing is sealed, it is plain; what was exported without the key is refused.
        await plain.import_run(document)
        await same_in_both(one, plain, handle.id)
        with pytest.raises(InvalidExport, match="sealed"):
            await two.import_run(await keyless.export_run(handle.id))
        await two.delete_run(handle.id)
        assert not [path for path in (tmp_path / "two").rglob("*") if path.is_file() and handle.id in str(path)]


# -- any run ----------------------------------------------------------------------------------------------------------

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=20) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_STEPS = st.lists(st.sampled_from(["run", "fail", "sleep", "emit", "state", "signal"]), max_size=6)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS, value=_VALUES, is_failing=st.booleans())
async def test_any_run_comes_through(memory_url: str, namespace: str, steps: list[str], value: Any, is_failing: bool):
    async with (
        RedisFlow(memory_url, namespace=f"{namespace}-1") as one,
        RedisFlow(memory_url, namespace=f"{namespace}-2") as two,
    ):

        async def fail() -> None:
            raise ValueError(repr(value))

        @one.define_workflow("any")
        async def any_run(given_value: Any, step: Step) -> Any:
            for what in steps:
                match what:
                    case "run":
                        await step.run("run", lambda: given_value)
                    case "fail":
                        with contextlib.suppress(StepError):
                            await step.run(StepOptions("fail", retry=ONCE), fail)
                    case "sleep":
                        await step.sleep("sleep", "1ms")
                    case "emit":
                        step.emit(given_value)
                    case "state":
                        step.set_state("value", given_value)
                    case _:
                        await step.wait_for_signal("word", timeout="1ms")
            if is_failing:
                raise ValueError("failing")
            return given_value

        handle = await ended(one, any_run, value)
        await two.import_run(json.loads(json.dumps(await one.export_run(handle.id))))
        await same_in_both(one, two, handle.id)
