"""A run that cannot be read here hides no other: where runs are shown beside each other, its row says why."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.asyncio

from redisflow import AesGcm, FileStore, Payloads, RedisFlow, Step
from redisflow.dashboard.words import short
from tests.dashboard.browsing import Browser, browsing
from tests.dashboard.world import define_world, start
from tests.stories.world import eventually, until

OLD, NEW = (Payloads(encrypt=AesGcm(write=name, keys={name: name.encode() * 8})) for name in ("kold", "knew"))


async def wait_for_a_signal(flow: RedisFlow) -> str:
    """The id of a run that waits for `approved`."""
    run_id = await start(flow, "approval")
    await until(flow, run_id, lambda run: run.waiting_for == "signal")
    return run_id


async def damage(flow: RedisFlow, run_id: str, field: str, value: bytes, url: str) -> None:
    async with redis.asyncio.Redis.from_url(url) as raw:
        await raw.hset(f"rf:{{{flow.namespace}:0}}:run:{run_id}", field, value)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("h", b"nonsense", "its key is damaged, `redisflow audit` says where"),
        ("i", b"\xc1\xff", "what is stored is sealed, damaged or of a later version"),
        ("0", b"garbage", "what is stored is sealed, damaged or of a later version"),
    ],
)
async def test_a_damaged_run_is_one_row_of_those_that_wait_for_signals(
    working: RedisFlow, browser: Browser, valkey_url: str, field: str, value: bytes, why: str
):
    good, bad = await wait_for_a_signal(working), await wait_for_a_signal(working)
    await working.signal(good, "another")
    await damage(working, bad, field, value, valkey_url)
    rows = (await browser.see("/signals")).rows()
    assert [name.partition("-")[0] for name in rows] == [bad, good]
    told, whole = rows.values()
    assert f"approval{short(bad)}It cannot be read here: {why}" in told
    assert whole.startswith("approved")
    assert "another" in whole


async def test_a_run_of_another_key_is_one_row_of_those_that_wait_for_signals(valkey_url: str, namespace: str):
    ids: list[str] = []
    for payloads in (OLD, NEW):
        async with RedisFlow(valkey_url, namespace=namespace, payloads=payloads) as flow:
            define_world(flow)
            async with flow.new_worker(grace=0):
                ids.append(await wait_for_a_signal(flow))
    async with RedisFlow(valkey_url, namespace=namespace, payloads=NEW) as flow, browsing(flow) as browser:
        new, old = (await browser.see("/signals")).rows().values()
    assert new.startswith("approved")
    assert "It cannot be read here: its payloads do not open here" in old


async def test_while_the_store_of_payloads_is_away_what_is_not_in_it_is_shown(
    valkey_url: str, namespace: str, tmp_path: Any
):
    payloads = Payloads(store=FileStore(tmp_path / "store"), store_above=1024)
    async with RedisFlow(valkey_url, namespace=namespace, payloads=payloads, call_timeout=0.5) as flow:

        @flow.define_workflow("large")
        async def large(text: str, step: Step) -> Any:
            return await step.wait_for_signal("read")

        define_world(flow)
        async with flow.new_worker(grace=0):
            in_store = (await large.run("x" * 5000)).id
            await until(flow, in_store, lambda run: run.waiting_for == "signal")
            await wait_for_a_signal(flow)
        (tmp_path / "store").rename(tmp_path / "away")
        (tmp_path / "store").write_text("no folder")
        async with browsing(flow) as browser:
            small, large_row = (await browser.see("/signals")).rows().values()
    assert small.startswith("approved")
    assert "It cannot be read here: the store of its payloads is away" in large_row


async def test_a_child_that_cannot_be_read_is_one_row_of_its_family(flow: RedisFlow, browser: Browser, valkey_url: str):
    @flow.define_workflow("two-children")
    async def two_children(step: Step) -> None:
        child = flow.find_workflow("approval")
        await asyncio.gather(step.run_workflow(child, None, name="a"), step.run_workflow(child, None, name="b"))

    async with flow.new_worker(grace=0):
        run_id = await start(flow, "two-children")
        await until(flow, run_id, lambda run: len([each for each in run.steps if each.child_id]) == 2)
        bad, good = (str(each.child_id) for each in (await flow.get_run(run_id)).steps)
        for child_id in (bad, good):
            await until(flow, child_id, lambda run: run.waiting_for == "signal")
    await damage(flow, bad, "h", b"nonsense", valkey_url)
    page = await browser.see(f"/runs/{run_id}?tab=children")
    assert f"{short(bad)} cannot be read here: its key is damaged, `redisflow audit` says where" in page.rows()[bad]
    assert "waiting: signal" in page.rows()[good]
    assert f"/runs/{bad}" in set(page.links())


async def test_a_generation_that_is_not_read_says_that_its_own_page_goes_on(flow: RedisFlow, browser: Browser):
    def define(number: int) -> None:
        @flow.define_workflow(f"generation-{number}")
        async def generation(step: Step) -> Any:
            if number == 6:
                return await step.wait_for_signal("leaf")
            return await step.run_workflow(flow.find_workflow(f"generation-{number + 1}"))

    for number in range(7):
        define(number)

    async def leaves() -> list[str]:
        return [run.id async for run in flow.list_runs(workflow="generation-6", status="waiting:signal")]

    async with flow.new_worker(grace=0):
        run_id = await start(flow, "generation-0")
        await eventually(leaves)
    *read, deep = (await browser.see(f"/runs/{run_id}?tab=children")).rows().items()
    assert len(read) == 4
    assert "was not read: it is too deep below this run; its own page goes on from here" in deep[1]
    assert deep[0] in (await browser.see(f"/runs/{deep[0]}?tab=children")).text
