"""Stores that earlier versions wrote: today's code loads them, brings every run to its end, and leaves them clean.

README.md says how the stores were made. Each run of one stands where its name says.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from redisflow import DeadlineExceeded, RedisFlow, WorkflowFailed, define_workflow_spec
from tests.crash.audit import audit, leftovers
from tests.golden.golden_features import EXPECTED_FEATURES, check_features, register_features, release_features
from tests.golden.golden_workflows import EXPECTED, Maker, Money, register
from tests.keyspace import Raw, raw_calls
from tests.leaks import leaks, purge_all
from tests.stories.world import until

STORES = sorted(path.name for path in Path(__file__).parent.glob("*.json"))
PASSED_MS = 3_600_000
"""What had less time to live when a store was made has run out: turns, windows."""


def load(name: str, raw: Raw, namespace: str) -> dict[str, str]:
    """Restore a store under this namespace; the ids of its runs by their names."""
    store: dict[str, Any] = json.loads((Path(__file__).parent / name).read_text())
    for key, (dump, ttl_ms) in store["keys"].items():
        if not 0 < ttl_ms < PASSED_MS:
            raw("RESTORE", f"rf:{{{namespace}:{key}", ttl_ms, base64.b64decode(dump))
    ids: dict[str, str] = store["runs"]
    for listing in raw("KEYS", f"rf:{{{namespace}:*}}:done:*"):
        _end_now(listing.decode(), raw)
    return ids


def _end_now(listing: str, raw: Raw) -> None:
    """Let the runs of a listing have ended just now: succeeded ones are kept for a day, and stores grow old."""
    prefix, seconds = listing.partition(":done:")[0], raw("TIME")[0]
    for run_id in raw("ZRANGE", listing, 0, -1):
        ended_ms = int(seconds) * 1000
        raw("ZADD", listing, ended_ms, run_id)
        raw("HSET", f"{prefix}:run:{run_id.decode()}", "t", ended_ms)


@pytest.mark.parametrize("server", ["valkey", "redis"])
@pytest.mark.parametrize("store", STORES)
async def test_every_run_of_an_older_store_ends_as_it_should(
    store: str, server: str, namespace: str, request: pytest.FixtureRequest
) -> None:
    url: str = request.getfixturevalue(f"{server}_url")
    raw, close = raw_calls(url)
    ids = load(store, raw, namespace)
    has_features = "signal" in ids
    # The first version had no list of queues: upkeep makes it.
    found = audit(raw, namespace)
    assert found == [] or (not has_features and all("which is not known" in breach for breach in found))
    async with RedisFlow(url, namespace=namespace) as flow:
        register(flow, Maker())
        if has_features:
            register_features(flow, Maker())
        before = {name: await flow.get_run(run_id) for name, run_id in ids.items()}
        assert {name for name, run in before.items() if run.is_finished} == {
            *("succeeded", "failed", "canceled", "with-key")
        }
        async with flow.new_worker(lease="1s"):
            if has_features:
                await release_features(flow, ids)
            for run_id in ids.values():
                await until(flow, run_id, lambda run: run.is_finished)
        after = {name: await flow.get_run(run_id) for name, run_id in ids.items()}
        expected = {**EXPECTED, **(EXPECTED_FEATURES if has_features else {})}
        typed = await flow.get_handle(ids["timer"], define_workflow_spec("typed", version="v1", output=Money))
        assert await typed.result() == expected["timer"]
        for name, output in expected.items():
            assert after[name].status == "succeeded", after[name]
            assert name == "timer" or after[name].output == output
        # What was recorded is what it was: no body ran again.
        for name, run in before.items():
            kept = {step.key: step.output for step in run.steps if step.status == "succeeded" and step.kind == "run"}
            assert {step.key: step.output for step in after[name].steps if step.key in kept} == kept
        with pytest.raises(DeadlineExceeded):
            await (await flow.get_handle(ids["deadline"], define_workflow_spec("caught"))).result()
        with pytest.raises(WorkflowFailed, match="never"):
            await (await flow.get_handle(ids["failed"], define_workflow_spec("failing"))).result()
        assert after["canceled"] == before["canceled"]
        again = await flow.run_workflow("chain", "keyed", idempotency_key="the-key")
        assert again.id == ids["with-key"]
        if has_features:
            await check_features(flow, ids)
            await flow.schedules.delete("yearly")
        assert (await flow.stranded()).is_clear
        assert audit(raw, namespace) + leftovers(raw, namespace) == []
        await purge_all(flow, raw)
        assert leaks(raw, namespace) == []
    close()
