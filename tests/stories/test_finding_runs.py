"""Finding runs: by tag, status, workflow, version and time; in pages; and how many there are."""

from __future__ import annotations

import asyncio

import pytest

from redisflow import InvalidCursor, InvalidTags, RedisFlow, Step
from tests.stories.world import until

pytestmark = pytest.mark.usefixtures("no_key_left")


def define(flow: RedisFlow):
    @flow.define_workflow("order", version="v2")
    async def order(number: int, step: Step) -> dict[str, str]:
        if number < 0:
            raise ValueError("no such order")
        return dict(step.info.tags)

    return order


async def ids(flow: RedisFlow, **query) -> list[str]:
    return [run.id async for run in flow.list_runs(**query)]


async def test_a_run_is_found_by_its_tags(flow):
    order = define(flow)
    async with flow.new_worker(lease="30s"):
        one = await order.run(1, tags={"customer": "c1", "place": "Göteborg, väst"})
        await asyncio.sleep(0.002)  # each in a millisecond of its own, so that there is an order to be kept
        two = await order.run(2, tags={"customer": "c1"})
        plain = await order.run(3)
        assert await one.result(timeout="1m") == {"customer": "c1", "place": "Göteborg, väst"}
        assert await plain.result(timeout="1m") == {}
        await two.result(timeout="1m")
    assert await ids(flow, tags={"customer": "c1"}) == [two.id, one.id]
    assert await ids(flow, tags={"customer": "c1"}, order="oldest") == [one.id, two.id]
    assert await ids(flow, tags={"customer": "c1", "place": "Göteborg, väst"}) == [one.id]
    assert await ids(flow, tags={"customer": "c1"}, status="failed") == []
    assert await ids(flow, tags={"customer": "c2"}) == []
    assert (await one.get()).tags == {"customer": "c1", "place": "Göteborg, väst"}


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        ({"": "x"}, "empty"),
        ({"a=b": "x"}, "no '='"),
        ({"a": "two\nlines"}, "cannot be printed"),
        ({"a": "x" * 129}, "129 bytes"),
        ({"a": 1}, "not int"),
        ({str(n): "x" for n in range(33)}, "at most 32"),
        ("customer", "mapping"),
    ],
)
async def test_tags_that_cannot_be_are_refused_where_the_run_is_started(flow, tags, problem):
    order = define(flow)
    with pytest.raises(InvalidTags, match=problem):
        await order.run(1, tags=tags)
    assert await ids(flow) == []


async def test_runs_are_found_by_status_workflow_version_and_time(flow):
    order = define(flow)

    @flow.define_workflow("nap")
    async def nap(step: Step) -> None:
        await step.sleep("nap", "7d")

    async with flow.new_worker(lease="30s"):
        done, failed, old = await order.run(1), await order.run(-1), await order.run(2, version="v1")
        await asyncio.sleep(0.002)  # made in a later millisecond, so that there is an order to be kept
        asleep = await nap.run()
        for handle in (done, failed):
            await until(flow, handle.id, lambda run: run.is_finished)
        await until(flow, asleep.id, lambda run: run.waiting_for == "timer")
        await until(flow, old.id, lambda run: run.waiting_for == "stranded")
    canceled = await order.run(3)
    await canceled.cancel()
    later = await order.run(4, available_at="1h")
    assert await ids(flow, status="succeeded") == [done.id]
    assert await ids(flow, status=("failed", "canceled")) == [canceled.id, failed.id]
    assert await ids(flow, status="waiting") == [later.id, asleep.id, old.id]
    assert await ids(flow, status="waiting:timer") == [asleep.id]
    assert set(await ids(flow, status=("waiting:start", "canceled"))) == {later.id, canceled.id}
    assert await ids(flow, version="v1") == [old.id]
    assert await ids(flow, workflow="nap") == [asleep.id]
    assert await ids(flow, workflow="none") == []
    everything = await ids(flow)
    assert everything[:3] == [later.id, asleep.id, old.id]
    assert sorted(everything) == sorted(handle.id for handle in (done, failed, old, asleep, canceled, later))
    assert await ids(flow, order="oldest") == everything[::-1]
    run = await later.get()
    assert await ids(flow, created_after=run.created_at, status="waiting") == [later.id]
    assert later.id not in await ids(flow, created_before=run.created_at)
    assert len(await ids(flow, created_after="1h")) == 6
    assert await ids(flow, finished_after="1h", status="succeeded") == [done.id]
    assert await ids(flow, finished_before="1h") == []


async def test_a_list_in_pages_is_the_whole_list_though_runs_end_in_between(flow):
    order = define(flow)
    handles = await order.run_many(range(25), tags={"batch": "b1"})
    wanted = {handle.id for handle in handles}
    for query in ({}, {"workflow": "order"}, {"tags": {"batch": "b1"}}):
        seen: list[str] = []
        cursor = None
        while True:
            page = await flow.list_page(cursor=cursor, page_size=4, **query)
            assert len(page.runs) <= 4
            seen += [run.id for run in page.runs]
            # The last one that was told, and one that is still to come.
            await handles[len(seen) // 2].cancel()
            cursor = page.cursor
            if cursor is None:
                break
        assert sorted(seen) == sorted(wanted)


async def test_a_page_of_another_query_is_refused(flow):
    order = define(flow)
    await order.run_many(range(3))
    page = await flow.list_page(page_size=1, workflow="order")
    assert page.cursor
    with pytest.raises(InvalidCursor, match="other filters"):
        await flow.list_page(page_size=1, workflow="bill", cursor=page.cursor)
    with pytest.raises(InvalidCursor, match="no cursor"):
        await flow.list_page(page_size=1, workflow="order", cursor="once upon a time")
    with pytest.raises(ValueError, match="no status"):
        await ids(flow, status="done")
    with pytest.raises(ValueError, match="page_size"):
        await flow.list_page(page_size=0)


async def test_partitions_are_listed_as_one(server_url, namespace, flow):
    del flow
    async with RedisFlow(server_url, namespace=f"{namespace}-wide", partitions=5) as wide:
        order = define(wide)
        handles = []
        for number in range(20):
            handles.append(await order.run(number, tags={"all": "yes"}))
            await asyncio.sleep(0.002)  # each in a millisecond of its own, so that there is an order to be kept
        for handle in handles[::3]:
            await handle.cancel()
        newest_first = [handle.id for handle in handles][::-1]
        assert await ids(wide, tags={"all": "yes"}, page_size=3) == newest_first
        assert (
            await ids(wide, status="pending", page_size=3)
            == [handle.id for number, handle in enumerate(handles) if number % 3][::-1]
        )
        assert sorted(await ids(wide, page_size=3)) == sorted(newest_first)
        counts = await wide.count_runs()
        assert (counts.pending, counts.canceled, counts.workflows["order"].unfinished) == (13, 7, 13)


async def test_counts_come_from_sizes_and_on_request_from_a_look(flow):
    order = define(flow)

    @flow.define_workflow("nap", queue="beds")
    async def nap(step: Step) -> None:
        await step.sleep("nap", "7d")

    async with flow.new_worker(lease="30s"):
        for number in (1, 2, -1):
            await until(flow, (await order.run(number)).id, lambda run: run.is_finished)
        await until(flow, (await nap.run()).id, lambda run: run.waiting_for == "timer")
    await order.run(5)
    counts = await flow.count_runs()
    assert (counts.pending, counts.running, counts.waiting) == (1, 0, 1)
    assert (counts.succeeded, counts.failed, counts.canceled, counts.stuck) == (2, 1, 0, 0)
    assert counts.workflows["order"].unfinished == 1
    assert counts.workflows["order"].by_status is None, "it would have to be looked up"
    detailed = await flow.count_runs(detailed=True)
    assert detailed.workflows["nap"].by_status == {"pending": 0, "running": 0, "waiting": 1}
    assert detailed.workflows["order"].by_status == {"pending": 1, "running": 0, "waiting": 0}


async def test_counts_are_printed_with_a_line_for_each_workflow(flow):
    order = define(flow)
    async with flow.new_worker(lease="30s"):
        await (await order.run(1)).result(timeout="1m")
    await order.run(2)
    assert str(await flow.count_runs()).splitlines() == [
        "1 pending, 0 running, 0 waiting, 1 succeeded, 0 failed, 0 canceled",
        "  order: 1 unfinished, 1 succeeded, 0 failed, 0 canceled",
    ]
