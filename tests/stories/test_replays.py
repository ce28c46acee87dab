"""Exported runs are played to the code that is here: the same code replays, and changed code is told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from redisflow import RedisFlow, RunNotFound, Step, WorkflowFailed
from redisflow.run_id import new_run_id
from redisflow.testing import DoesNotReplay, assert_replays
from tests.stories.world import until

here = RedisFlow("memory://replays")


def price(sku: str) -> int:
    return len(sku)


@here.define_workflow("quote")
async def quote(sku: str, step: Step) -> int:
    cents = await step.run("price", price, sku)
    await step.sleep("pause", "10ms")
    answer = await step.wait_for_signal("answer", int)
    return cents + answer


@here.define_workflow("quote", version="renamed")
async def renamed(sku: str, step: Step) -> int:
    cents = await step.run("price of", price, sku)
    await step.sleep("pause", "10ms")
    return cents + await step.wait_for_signal("answer", int)


@here.define_workflow("quote", version="dearer")
async def dearer(sku: str, step: Step) -> int:
    return 1 + await quote.fn(sku, step)


@here.define_workflow("quote", version="longer")
async def longer(sku: str, step: Step) -> int:
    cents: int = await quote.fn(sku, step)
    return await step.run("round", price, str(cents))


async def exported(flow: RedisFlow, *, answered: bool = True) -> dict[str, Any]:
    own = flow.define_workflow("quote")(quote.fn)
    async with flow.new_worker():
        handle = await own.run("cup")
        if answered:
            await handle.signal("answer", 4)
            assert await handle.result(timeout="1m") == 7
        else:
            await until(flow, handle.id, lambda run: run.waiting_for == "signal")
        return await flow.export_run(handle.id)


async def test_a_run_that_ended_replays_to_the_same_end(flow: RedisFlow, tmp_path: Path):
    document = await exported(flow)
    assert (document["workflow"], document["status"], len(document["records"])) == ("quote", "succeeded", 5)
    assert_replays(document, quote)
    path = tmp_path / "history.json"
    path.write_text(json.dumps(document))
    assert_replays(path, quote)


async def test_a_run_that_waits_replays_to_where_it_is(flow: RedisFlow):
    document = await exported(flow, answered=False)
    assert_replays(document, quote)
    assert_replays(document, longer)
    with pytest.raises(DoesNotReplay, match="price of"):
        assert_replays(document, renamed)


@pytest.mark.parametrize(
    ("changed", "difference"),
    [(renamed, r"record: step.run\('price'\)"), (dearer, "another output"), (longer, "goes on with 'round'")],
)
async def test_changed_code_is_told_by_the_difference(valkey_flow: RedisFlow, changed: Any, difference: str):
    with pytest.raises(DoesNotReplay, match=difference):
        assert_replays(await exported(valkey_flow), changed)


async def test_a_failure_replays_wherever_its_lines_have_moved(valkey_flow: RedisFlow):
    async def fails(step: Step) -> None:
        raise ValueError("no")

    failing = valkey_flow.define_workflow("fails")(fails)
    async with valkey_flow.new_worker():
        handle = await failing.run()
        with pytest.raises(WorkflowFailed):
            await handle.result(timeout="1m")
    document = await valkey_flow.export_run(handle.id)
    assert_replays(document, failing)

    @here.define_workflow("fails")
    async def otherwise(step: Step) -> None:
        raise ValueError("another")

    with pytest.raises(DoesNotReplay, match="another error"):
        assert_replays(document, otherwise)


async def test_tags_are_what_they_were(valkey_flow: RedisFlow):
    async def tagged(step: Step) -> str:
        return step.info.tags["customer"]

    workflow = valkey_flow.define_workflow("tagged")(tagged)
    async with valkey_flow.new_worker():
        handle = await workflow.run(tags={"customer": "c1"})
        await handle.result(timeout="1m")
    assert_replays(await valkey_flow.export_run(handle.id), workflow)


async def test_what_is_no_export_is_refused(flow: RedisFlow):
    with pytest.raises(ValueError, match="no exported run"):
        assert_replays({"format": "else"}, quote)
    with pytest.raises(RunNotFound):
        await flow.export_run(new_run_id(0))


async def test_a_run_that_said_a_lot_replays(valkey_flow: RedisFlow):
    @valkey_flow.define_workflow("talkative")
    async def talkative(step: Step) -> str:
        for number in range(250):
            step.emit(number)
        return "done"

    async with valkey_flow.new_worker():
        handle = await talkative.run()
        await handle.result(timeout="1m")
    assert_replays(await valkey_flow.export_run(handle.id), talkative)
