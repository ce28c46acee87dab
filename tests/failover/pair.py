"""A primary and a replica, with a proxy on the link between them and another one before whoever is the primary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import redis

from redisflow.testing import Server, ServerOptions, start_server
from redisflow.testing.faults import Proxy, open_proxy
from tests.stories.world import eventually

AT_ONCE = {"repl-diskless-sync-delay": "0"}


@dataclass
class Pair:
    """`front` is what clients connect to."""

    primary: Server
    replica: Server
    front: Proxy
    link: Proxy

    def ask(self, server: Server, *command: Any) -> Any:
        with redis.Redis(port=server.port, protocol=2) as client:
            return client.execute_command(*command)

    def cut_off_the_replica(self) -> None:
        """From now on nothing that the primary sends reaches the replica; neither of them hears of it."""
        self.link.blackhole()

    async def promote_the_replica(self) -> None:
        """As an operator does, once the primary is gone."""
        await asyncio.to_thread(self.ask, self.replica, "REPLICAOF", "NO", "ONE")

    def lead_to_the_replica(self) -> None:
        """As a virtual address, a name or a load balancer does after a fail-over."""
        self.front.lead_to(self.replica.url)
        self.front.reset()


def _has_confirmed(primary: Server) -> int:
    with redis.Redis(port=primary.port, protocol=2) as client:
        client.set("warm-up", "1")
        confirmed: int = client.execute_command("WAIT", 1, 1_000)
        return confirmed


@asynccontextmanager
async def open_pair(options: ServerOptions) -> AsyncIterator[Pair]:
    """Once the replica has everything."""
    with ExitStack() as stack:
        primary, replica = [
            stack.enter_context(start_server(ServerOptions(provider=options.provider, config=AT_ONCE)))
            for _ in range(2)
        ]
        async with (
            open_proxy(primary.url) as front,
            open_proxy(primary.url) as link,
        ):
            pair = Pair(primary, replica, front, link)
            await asyncio.to_thread(pair.ask, replica, "REPLICAOF", "127.0.0.1", link.port)

            async def is_followed() -> bool:
                return bool(await asyncio.to_thread(_has_confirmed, primary))

            await eventually(is_followed)
            yield pair
