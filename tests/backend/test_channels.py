"""Subscriptions on a connection that is healthy and quiet."""

from __future__ import annotations

import asyncio
import logging

import pytest

from redisflow.backend.redis_backend import RedisBackend


async def test_an_idle_subscription_is_not_taken_for_a_stalled_one(
    valkey_url: str, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    backends = [RedisBackend(valkey_url, namespace=namespace, stall_s=0.4) for _ in range(20)]
    await asyncio.gather(*(backend.open() for backend in backends))

    async def be_idle(backend: RedisBackend) -> None:
        async with backend.listen("idle", lambda _: None, lambda _: None):
            # Several times as long as a stall: idleness is what is tested, of the bell too.
            assert not await backend.wait_bell(0, ["default"], 2.5)

    with caplog.at_level(logging.WARNING, "redisflow.backend"):
        await asyncio.gather(*map(be_idle, backends))
    assert [record.getMessage() for record in caplog.records if "no reply for" in record.getMessage()] == []
    await asyncio.gather(*(backend.close() for backend in backends))
