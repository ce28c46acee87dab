"""The worker of `redisflow dev`, and the next in its place: after a change, at a key, or when it has died.

New code is imported by a process of its own first. Only where that succeeds is the one with the old code stopped: it
has 2 s to finish what it does, and hands the rest back. Where it does not, the old one works on.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from redisflow.cli.child import Child
from redisflow.cli.dev.between import STOP_WITHIN_S
from redisflow.cli.dev.log import DevLog

_AGAIN_S = 1.0
"""Before a worker that died is replaced."""
_HURRY_S = 1.0
"""For handing back what it has, where nobody wants to wait; then it is killed."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the code of a worker is: the whole name of the app, its workflows and its namespace."""

    app: str
    namespace: str
    workflows: tuple[str, ...]


class WorkerKeeper:
    """One worker at a time. `run` until it is cancelled, then `stop`."""

    def __init__(
        self,
        target: str,
        log: DevLog,
        environment: Mapping[str, str],
        on_working: Callable[[Found, str], Awaitable[None]],
        *,
        waits: bool,
    ) -> None:
        """`on_working` is called whenever a worker works, with its code and why it was started.

        With `waits` there will be changes, so where there is no code that can be worked with, it waits for one.
        """
        self._target = target
        self._log = log
        self._environment = environment
        self._on_working = on_working
        self._reason: asyncio.Queue[str | None] = asyncio.Queue()
        """None: there will be nothing to work with."""
        self._candidate: Child | None = None
        self._current: Child | None = None
        self._stopping: Child | None = None
        self._is_hurried = False
        self._watched: asyncio.Task[None] | None = None
        self._waits = waits

    def request(self, reason: str) -> None:
        """Let a new worker take the place of the one that is there."""
        self._reason.put_nowait(reason)

    async def run(self) -> None:
        """Do what is requested, the latest for all; ends where there is nothing to work with, or to wait for."""
        while True:
            reason = await self._reason.get()
            while not self._reason.empty():
                reason = self._reason.get_nowait()
            if reason is None:
                return
            await self._replace(reason)

    async def _replace(self, reason: str) -> None:
        """Start a worker for the code as it is now; the old one goes on where that is no good."""
        candidate = self._candidate = await Child.spawn(
            ["redisflow.cli.dev.worker_process", self._target, "{control}"],
            self._log.of_worker,
            environment=self._environment,
        )
        said = await self._hear_unless_outdated(candidate)
        if said is None:
            await candidate.stop(0)
            return
        found = self._read(said)
        if found is None:
            await candidate.stop(1)
            self._give_up_unless_it_waits()
            return
        await self._stop_current()
        self._candidate, self._current = None, candidate
        candidate.tell(b"g")
        self._watched = asyncio.create_task(self._watch(candidate, found, reason), name="watch worker")

    async def _hear_unless_outdated(self, candidate: Child) -> dict[str, Any] | None:
        """What the code is; None where there is newer code, which may end what this one waits for."""
        hearing = asyncio.ensure_future(candidate.hear())
        newer = asyncio.ensure_future(self._reason.get())
        try:
            done, _ = await asyncio.wait([hearing, newer], return_when=asyncio.FIRST_COMPLETED)
        finally:
            hearing.cancel()
            newer.cancel()  # neither affects one that is done
        if newer in done:
            self._reason.put_nowait(newer.result())
            return None
        return hearing.result() or {"error": "its process ended while it was imported", "trace": ""}

    def _read(self, said: dict[str, Any]) -> Found | None:
        """None where it cannot be worked with, which is told."""
        goes_on = ": the worker goes on with the code from before" if self._current else self._what_then
        if "error" in said:
            lines = said["trace"].rstrip().splitlines() or [said["error"]]
            self._log.trouble(f"{self._target} cannot be imported{goes_on}", lines)
            return None
        if said["elsewhere"] is not None:
            lines = [
                f"{said['app']} keeps its runs on {said['elsewhere']}, because its code says so.",
                f"The server of `redisflow dev` is {self._environment['REDISFLOW_URL']}.",
                "Leave the URL out, RedisFlow(namespace=...), and it is read from REDISFLOW_URL;",
                "or work there on purpose: redisflow dev --url ...",
            ]
            self._log.trouble(f"{said['app']} is about another server{goes_on}", lines)
            return None
        if not said["workflows"]:
            self._log.say(f"{said['app']} has no workflow yet", "WARNING")
        return Found(said["app"], said["namespace"], tuple(said["workflows"]))

    async def _watch(self, child: Child, found: Found, reason: str) -> None:
        """Tell when it works, and replace it when it ends by itself."""
        has_worked = await child.hear() is not None
        if has_worked:
            await self._on_working(found, reason)
        code = await child.ended()
        if self._current is not child:
            return
        self._current = None
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        self._log.say(f"the worker {how}{'' if has_worked else f' before it worked{self._what_then}'}", "ERROR")
        if has_worked:
            await asyncio.sleep(_AGAIN_S)
            self.request("it had ended")
        else:
            self._give_up_unless_it_waits()

    def _give_up_unless_it_waits(self) -> None:
        if self._current is None and not self._waits:
            self._reason.put_nowait(None)

    async def _stop_current(self) -> None:
        current, self._current = self._current, None
        if current is not None:
            self._stopping = current
            if self._is_hurried:
                self.hurry()
            await current.stop(STOP_WITHIN_S)
            self._stopping = None
        if self._watched is not None:
            self._watched.cancel()
            await asyncio.wait([self._watched])

    @property
    def _what_then(self) -> str:
        return ": waiting for a change" if self._waits else ""

    def hurry(self) -> None:
        """Let a worker that stops, or soon will, hand everything back at once."""
        self._is_hurried = True
        if self._stopping is not None:
            self._stopping.signal(signal.SIGTERM)
            asyncio.get_running_loop().call_later(_HURRY_S, self._stopping.signal, signal.SIGKILL)

    async def pause(self) -> None:
        """Stop the worker that is there; `request` begins again."""
        await self._stop_current()

    async def stop(self) -> None:
        """End all of them; `run` must have been cancelled."""
        if self._candidate is not None:
            await self._candidate.stop(0)
        if self._stopping is not None:  # `run` was cancelled meanwhile
            await self._stopping.stop(STOP_WITHIN_S)
        await self._stop_current()
