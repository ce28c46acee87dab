"""Rules for starts: unique keys, debounce, throttle, start-by times. Their edges; the example has the rest."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from examples import starts
from redisflow import (
    Debounce,
    InvalidStart,
    RedisFlow,
    RunAlreadyActive,
    StartRules,
    StartThrottled,
    Step,
    Throttle,
    WorkflowCanceled,
    WorkflowExpired,
    define_workflow_spec,
)
from tests.stories.world import adopt, eventually


def define_echo(flow: RedisFlow, start: StartRules | None = None) -> Any:
    @flow.define_workflow("echo", start=start)
    async def echo(text: str, step: Step) -> str:
        return await step.run("echo", str, text)

    return echo


# -- unique -----------------------------------------------------------------------------------------------------------


async def test_while_a_run_has_its_unique_key_a_start_returns_it(flow):
    sync = adopt(flow, starts.sync_account)
    first, again = await sync.run("acme"), await sync.run("acme")
    assert (again.id, again.workflow_run.existing, first.workflow_run.existing) == (first.id, True, False)
    async with flow.new_worker():
        assert await again.result(timeout="1m") == "done: acme"
        following = await sync.run("acme")
        assert following.id != first.id
        assert await following.result(timeout="1m") == "done: acme"


async def test_a_rejected_start_names_the_run_that_has_the_key(flow):
    echo = define_echo(flow)
    first = await echo.run("a", unique_key="k")
    with pytest.raises(RunAlreadyActive, match=f"{first.id} of 'echo' has this unique key") as rejected:
        await echo.run("b", unique_key="k", on_conflict="reject")
    assert rejected.value.run_id == first.id
    assert (await echo.run("b", unique_key="another")).id != first.id


async def test_cancel_older_stops_the_run_that_is_under_way(flow):
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    @flow.define_workflow("report")
    async def report(text: str, step: Step) -> str:
        if text == "old":
            await step.run("wait", wait)
        return text

    async with flow.new_worker():
        older = await report.run("old", unique_key="k")
        await began.wait()
        newer = await report.run("new", unique_key="k", on_conflict="cancel_older")
        assert await newer.result(timeout="1m") == "new"
        with pytest.raises(WorkflowCanceled, match="a newer run with its unique key") as replaced:
            await older.result(timeout="1m")
        assert replaced.value.cause == "replaced"
        await cancelled.wait()
    run = await older.get()
    assert (run.status, run.error.error_type) == ("canceled", "WorkflowReplaced")


async def test_of_many_starts_at_once_one_run_of_each_key_is_active(flow):
    active, most = Counter[str](), Counter[str]()

    async def work(key: str) -> None:
        active[key] += 1
        most[key] = max(most[key], active[key])
        await asyncio.sleep(0.005)
        active[key] -= 1

    @flow.define_workflow("work", start=StartRules(unique_key=lambda key: key))
    async def one_at_a_time(key: str, step: Step) -> None:
        await step.run("work", work, key)

    keys = [f"key-{number}" for number in range(8)]

    async def start_and_wait(key: str) -> str:
        handle = await one_at_a_time.run(key)
        await handle.result(timeout="1m")
        return str(handle.id)

    async with flow.new_worker(), flow.new_worker():
        made = await asyncio.gather(*(start_and_wait(key) for _ in range(64) for key in keys))
    assert most == Counter(dict.fromkeys(keys, 1))
    assert len(set(made)) >= len(keys)


async def test_a_key_that_is_none_lets_a_start_go_without_the_rule(flow):
    echo = define_echo(flow, StartRules(unique_key=lambda text: None if text == "free" else text))
    assert (await echo.run("free")).id != (await echo.run("free")).id
    assert (await echo.run("kept")).id == (await echo.run("kept")).id
    assert (await echo.run("kept", unique_key="other")).id != (await echo.run("kept")).id
    handles = await echo.run_many(["kept", "kept", "free", "free"])
    assert len({handle.id for handle in handles}) == 3


async def test_a_spec_that_is_only_declared_here_brings_its_rules(flow):
    spec = define_workflow_spec("elsewhere", input=str, output=str, start=StartRules(unique_key="one"))
    first = await flow.run_workflow(spec, "a")
    assert (await flow.declare_workflow(spec).run("b")).id == first.id


# -- debounce and throttle --------------------------------------------------------------------------------------------


async def test_all_whose_starts_were_debounced_get_the_result_of_the_last_input(flow):
    echo = define_echo(flow, StartRules(debounce=Debounce("500ms", at_most="10s")))
    handles = await asyncio.gather(*(echo.run(text) for text in ("a", "b", "c")))
    assert [handle.workflow_run.existing for handle in handles] == [False, True, True]
    assert all(handle.workflow_run.available_at > datetime.now(UTC) - timedelta(minutes=1) for handle in handles)
    async with flow.new_worker():
        assert {await handle.result(timeout="1m") for handle in handles} == {"c"}


async def test_a_throttled_start_is_delayed_rejected_or_answered_with_the_last_run(flow):
    echo = define_echo(flow)

    def per_hour(**changes: Any) -> Throttle:
        return Throttle(1, per="1h", key="k", **changes)

    first = await echo.run("a", throttle=per_hour())
    delayed = await echo.run("b", throttle=per_hour())
    assert (first.workflow_run.available_at, delayed.workflow_run.existing) == (None, False)
    run = await delayed.get()
    assert (run.waiting_for, run.available_at) == ("start", delayed.workflow_run.available_at)
    assert timedelta(minutes=59) < run.available_at - run.created_at <= timedelta(hours=1)
    with pytest.raises(StartThrottled, match="try again from") as rejected:
        await echo.run("c", throttle=per_hour(on_excess="reject"))
    assert rejected.value.run_id == delayed.id
    last = await echo.run("d", throttle=per_hour(on_excess="existing"))
    assert (last.id, last.workflow_run.existing) == (delayed.id, True)


async def test_a_delayed_run_begins_when_its_window_has_room(flow):
    echo = define_echo(flow, StartRules(throttle=Throttle(1, per="300ms")))
    async with flow.new_worker():
        handles = [await echo.run(text) for text in ("a", "b", "c")]
        assert [await handle.result(timeout="1m") for handle in handles] == ["a", "b", "c"]
        runs = [await handle.get() for handle in handles]
    gaps = [later.started_at - earlier.created_at for earlier, later in itertools.pairwise(runs)]
    assert all(gap >= timedelta(milliseconds=300) for gap in gaps)


# -- start-by ---------------------------------------------------------------------------------------------------------


async def test_a_run_that_nobody_takes_up_in_time_is_canceled(flow):
    echo = define_echo(flow, StartRules(expires_at="50ms"))
    handle = await echo.run("a", queue="nobody-serves-this")
    later = await echo.run("b", queue="nobody-serves-this", expires_at=datetime.now(UTC) + timedelta(hours=1))
    async with flow.new_worker():
        with pytest.raises(WorkflowExpired, match="no worker had taken it up by its expires_at") as expired:
            await handle.result(timeout="1m")
        assert isinstance(expired.value, WorkflowCanceled)
    run = await handle.get()
    assert (run.status, run.claims, run.error.error_type) == ("canceled", 0, "WorkflowExpired")
    assert run.finished_at >= run.expires_at
    assert (await later.get()).status == "pending"


async def test_a_unique_key_is_free_when_its_run_has_expired(flow):
    echo = define_echo(flow)
    first = await echo.run("a", unique_key="k", queue="nobody-serves-this", expires_at="50ms")
    async with flow.new_worker():
        await eventually(lambda: _is_canceled(first))
        assert await (await echo.run("b", unique_key="k")).result(timeout="1m") == "b"


async def _is_canceled(handle: Any) -> bool:
    return bool((await handle.get()).status == "canceled")


# -- wrong use --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_conflict": "reject"}, "give a unique_key, too"),
        ({"unique_key": "k", "on_conflict": "replace"}, "'existing', 'reject', 'cancel_older', not 'replace'"),
        ({"unique_key": ""}, "a key has 1 to 256 bytes, the one of unique_key has 0"),
        ({"unique_key": "k" * 257}, "has 257"),
        ({"unique_key": 5}, "the key of unique_key is text .* not int"),
        ({"debounce": Debounce("5s", key=len)}, "the key of debounce is text"),  # type: ignore[arg-type]
        ({"debounce": Debounce("5s"), "throttle": Throttle(1, "1s")}, "debounce and throttle each say when"),
        ({"debounce": Debounce("5s"), "available_at": "1h"}, "debounce and available_at each say when"),
    ],
)
async def test_options_that_contradict_each_other_are_refused(
    memory_url: str, namespace: str, options: Any, message: str
):
    async with RedisFlow(memory_url, namespace=namespace) as flow:
        with pytest.raises(InvalidStart, match=message):
            await define_echo(flow).run("a", **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Throttle(0, "1s"), "a whole number from 1 to 10000, not 0"),
        (lambda: Throttle(1, "0s"), "longer than 0 ms"),
        (lambda: Throttle(1, "1s", on_excess="drop"), "one of 'delay', 'existing', 'reject', not 'drop'"),  # type: ignore[arg-type]
        (lambda: Debounce(0), "of a debounce is longer than 0 ms"),
        (lambda: Debounce("5s", at_most="1s"), "not shorter than delay"),
        (lambda: StartRules(on_conflict="other"), "not 'other'"),  # type: ignore[arg-type]
    ],
)
def test_rules_that_cannot_be_meant_are_refused_where_they_are_written(make: Any, message: str):
    with pytest.raises(InvalidStart, match=message):
        make()


async def test_keys_of_a_start_live_in_one_partition(valkey_url: str, namespace: str):
    async with RedisFlow(valkey_url, namespace=namespace, partitions=8) as flow:
        echo = define_echo(flow)
        keys = [f"key-{number}" for number in range(32)]
        first = [await echo.run(key, unique_key=key, idempotency_key=key) for key in keys]
        assert len({handle.id[-4:] for handle in first}) > 1
        again = [await echo.run("other", unique_key=key) for key in keys]
        assert [handle.id for handle in again] == [handle.id for handle in first]
        with pytest.raises(InvalidStart, match="idempotency_key 'a', unique_key 'b'"):
            await echo.run("a", unique_key="b", idempotency_key="a")
