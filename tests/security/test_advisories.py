from __future__ import annotations

import asyncio
import logging

import pytest

from redisflow import RedisFlow, Step
from redisflow.backend.advisories import known_flaws
from redisflow.backend.redis_backend import RedisBackend
from redisflow.backend.servers import ServerReport
from tests.stories.world import eventually


def report(product: str, version: str) -> ServerReport:
    major, minor, patch = map(int, version.split("."))
    return ServerReport(version=(major, minor, patch), product=product, eviction_policy="noeviction", persistent=True)


@pytest.mark.parametrize(
    ("product", "version"),
    [
        ("redis", "7.0.15"),
        ("redis", "7.2.10"),
        ("redis", "7.4.5"),
        ("redis", "8.0.3"),
        ("redis", "8.2.1"),
        ("valkey", "7.2.10"),
        ("valkey", "8.0.5"),
        ("valkey", "8.1.3"),
    ],
)
def test_a_server_before_the_fixes_is_warned_of_once_with_what_to_do(product: str, version: str):
    (warning,) = known_flaws(report(product, version))
    assert f"{product} {version}" in warning
    assert "CVE-2025-49844" in warning
    assert "Distributions" in warning


@pytest.mark.parametrize(
    ("product", "version"),
    [
        ("redis", "7.2.11"),
        ("redis", "7.4.6"),
        ("redis", "8.0.4"),
        ("redis", "8.2.2"),
        ("redis", "8.4.0"),
        ("valkey", "7.2.11"),
        ("valkey", "8.0.6"),
        ("valkey", "8.1.4"),
        ("valkey", "9.0.0"),
        ("memory", "0.0.0"),
    ],
)
def test_a_server_with_the_fixes_is_not(product: str, version: str):
    assert known_flaws(report(product, version)) == []


async def test_a_worker_says_it_when_it_starts(server_url: str, namespace: str, caplog):
    caplog.set_level(logging.INFO)
    backend = RedisBackend(server_url, namespace=namespace)
    await backend.open()
    found = await backend.inspect_server()
    assert [line for line in await backend.check_server() if "CVE-" in line] == known_flaws(found)
    await backend.close()
    async with RedisFlow(server_url, namespace=namespace) as flow:

        @flow.define_workflow("nothing")
        async def nothing(step: Step) -> None:
            pass

        worker = asyncio.create_task(flow.new_worker().run())
        await eventually(lambda: asyncio.sleep(0, "started" in caplog.text))
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    assert caplog.text.count("CVE-2025-49844") == len(known_flaws(found))
