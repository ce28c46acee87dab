"""Traps of the network: replies that are lost on their way, behind a proxy that may drop them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from redisflow import RedisFlow, Step
from redisflow.backend.scripts import load_scripts
from tests.crash.harness import Crew

WITHIN_S = 10.0


class Proxy:
    """Passes bytes on both ways; once armed, it drops the reply to the first call of a script, and the connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.port = 0
        self.armed: bytes | None = None
        self.dropped = 0
        self._pipes: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        swallow = asyncio.Event()

        async def up() -> None:
            while data := await reader.read(65_536):
                if self.armed is not None and self.armed in data:
                    self.armed = None
                    swallow.set()
                server_writer.write(data)

        async def down() -> None:
            while data := await server_reader.read(65_536):
                if swallow.is_set():
                    self.dropped += 1
                    return
                writer.write(data)

        pipes = [asyncio.ensure_future(up()), asyncio.ensure_future(down())]
        self._pipes.update(pipes)
        try:
            await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pipe in pipes:
                pipe.cancel()
            await asyncio.gather(*pipes, return_exceptions=True)
            self._pipes.difference_update(pipes)
            server_writer.close()
            writer.close()


@asynccontextmanager
async def proxy_to(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    parts = urlsplit(url)
    assert parts.port is not None
    proxy = Proxy(parts.port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield proxy, f"redis://127.0.0.1:{port}/0"
    finally:
        server.close()
        await asyncio.sleep(0)


@pytest.mark.parametrize("script", ["claim_runs", "commit_run", "park_run", "finish_run"])
@pytest.mark.usefixtures("one_server")
async def test_a_reply_that_is_lost_costs_no_crash_no_lease_and_no_body(
    flow: RedisFlow, crew: Crew, valkey_url: str, script: str
) -> None:
    async def work() -> str:
        crew.journal.body_starts()
        return "done"

    @flow.define_workflow("lossy")
    async def lossy(step: Step) -> list[str]:
        first = await step.run("first", work)
        await step.sleep("nap", "10ms")
        return [first, await step.run("second", work)]

    crew.know(lossy.definition)
    sha = load_scripts("server", shebang=True).by_name[script].sha.encode()
    async with proxy_to(valkey_url) as (proxy, url):
        crew.url = url
        worker, _ = await crew.hire()
        # Idle claims are over; the next call of the script is about this run.
        await asyncio.sleep(0.05)  # nothing tells of it from outside
        proxy.armed = sha
        handle = await lossy.run()
        assert await handle.result(timeout=WITHIN_S) == ["done", "done"]
        run = await handle.get()
        await crew.dismiss(worker)
        crew.workers.clear()
    assert proxy.dropped == 1
    assert (run.claims, run.crashes) == (2, 0)
    assert len(crew.journal.starts) == 2
