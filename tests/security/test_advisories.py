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


OF_2025 = "CVE-2025-49844"
OF_2026 = "CVE-2026-23631 and CVE-2026-23479"


@pytest.mark.parametrize(
    ("product", "version", "names"),
    [
        ("redis", "7.0.15", OF_2025),
        ("redis", "7.2.10", f"{OF_2025} and {OF_2026}"),
        ("redis", "7.2.11", OF_2026),
        ("redis", "7.2.13", OF_2026),
        ("redis", "7.4.5", f"{OF_2025} and {OF_2026}"),
        ("redis", "7.4.8", OF_2026),
        ("redis", "8.0.3", f"{OF_2025} and {OF_2026}"),
        ("redis", "8.0.9", OF_2026),
        ("redis", "8.2.1", f"{OF_2025} and {OF_2026}"),
        ("redis", "8.2.5", OF_2026),
        ("redis", "8.4.2", OF_2026),
        ("redis", "8.6.2", OF_2026),
        ("valkey", "7.2.10", f"{OF_2025} and {OF_2026}"),
        ("valkey", "7.2.12", OF_2026),
        ("valkey", "8.0.5", f"{OF_2025} and {OF_2026}"),
        ("valkey", "8.0.7", OF_2026),
        ("valkey", "8.1.3", f"{OF_2025} and {OF_2026}"),
        ("valkey", "8.1.6", OF_2026),
        ("valkey", "9.0.3", OF_2026),
    ],
)
def test_a_server_before_the_fixes_is_warned_of_once_with_what_to_do(product: str, version: str, names: str):
    (warning,) = known_flaws(report(product, version))
    assert f"{product} {version} may have {names}:" in warning
    assert "Distributions" in warning


@pytest.mark.parametrize(
    ("product", "version"),
    [
        ("redis", "7.2.14"),
        ("redis", "7.4.9"),
        ("redis", "8.2.6"),
        ("redis", "8.4.3"),
        ("redis", "8.6.3"),
        ("redis", "8.8.0"),
        ("valkey", "7.2.13"),
        ("valkey", "8.0.8"),
        ("valkey", "8.1.7"),
        ("valkey", "9.0.4"),
        ("valkey", "9.1.0"),
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
    assert caplog.text.count(" may have CVE-") == len(known_flaws(found))
