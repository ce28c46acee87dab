"""The worker processes: always so many, each behind a network of its own, each that is killed replaced at once."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from redisflow.cli.exits import EXIT_UNREACHABLE
from redisflow.testing import Server
from redisflow.testing.faults import Proxy, SeenCall, call, open_proxy
from tests.crash.processes import end_all

ROOT = Path(__file__).parents[2]
LEASE_S = 1.5


@dataclass(eq=False)
class Hand:
    """A worker process, and its way to the server."""

    process: subprocess.Popen[bytes]
    proxy: Proxy
    code: str
    is_disturbed: bool = False
    """Something is being done to it that takes a while."""


@dataclass
class Fleet:
    """Of one server."""

    server: Server
    namespace: str
    folder: Path
    chance: random.Random
    size: int = 4
    hands: list[Hand] = field(default_factory=list)
    killed_at_ns: dict[int, int] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    _exit: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        for number in range(self.size):
            await self.hire("old" if number % 2 else "new")
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(end_all, [hand.process for hand in self.hands])
        await self._exit.aclose()

    async def open_proxy(self) -> Proxy:
        """A way to the server."""
        return await self._exit.enter_async_context(open_proxy(self.server.url))

    def forget_calls(self) -> None:
        """What came by so far: a proxy remembers it all."""
        for hand in self.hands:
            hand.proxy.calls.clear()

    async def hire(self, code: str) -> Hand:
        """Start a worker with this code."""
        proxy = await self.open_proxy()
        environment = {
            **os.environ,
            "REDISFLOW_URL": proxy.url,
            "CHAOS_NAMESPACE": self.namespace,
            "CHAOS_CODE": code,
            "CHAOS_LOG": str(self.folder / "bodies.log"),
        }
        command = [sys.executable, "-m", "redisflow", "worker", "tests.chaos.workflows:flow"]
        # Kills come without end here: that a run is not to blame for them is tested elsewhere.
        options = ["--lease", f"{LEASE_S}s", "--concurrency", "20", "--crash-limit", "100"]
        hand = Hand(self._start([*command, *options], environment), proxy, code)
        self.hands.append(hand)
        return hand

    def _start(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self.folder / "workers.log").open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    async def restart_refused(self) -> None:
        """What a supervisor does: a worker whose start met no server for as long as it waits is started again.

        One that had started never ends by itself.
        """
        for hand in [hand for hand in self.hands if hand.process.poll() is not None]:
            pid, code = hand.process.pid, hand.process.returncode
            log = (self.folder / "workers.log").read_text(errors="replace")
            has_started = re.search(rf"worker \S+-{pid}-\w+ started", log) is not None
            assert code == EXIT_UNREACHABLE, f"worker {pid} ended by itself with {code}"
            assert not has_started, f"worker {pid} had started, and ended by itself"
            self.faults["start that met no server"] += 1
            self.hands.remove(hand)
            await self.hire(hand.code)

    def pick(self) -> Hand:
        """One to which nothing else is being done."""
        return self.chance.choice([hand for hand in self.hands if not hand.is_disturbed])

    @property
    def is_tired(self) -> bool:
        """Whether only one worker is left to which nothing is being done."""
        return sum(not hand.is_disturbed for hand in self.hands) < 2

    # -- what happens to them -------------------------------------------------------------------------------------

    async def kill(self, hand: Hand) -> None:
        """SIGKILL; another one takes its place, with the code of yesterday or of today."""
        self.faults["kill -9 of a worker"] += 1
        self.killed_at_ns[hand.process.pid] = time.time_ns()
        hand.process.kill()
        await asyncio.to_thread(hand.process.wait, 10)
        self.hands.remove(hand)
        await self.hire(self.chance.choice(["old", "new"]))

    async def stop(self, hand: Hand) -> None:
        """SIGSTOP beyond its lease and a round of upkeep. It is to wake up and find that its runs are gone."""
        self.faults["SIGSTOP beyond the lease"] += 1
        hand.is_disturbed = True
        hand.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(LEASE_S * 2)  # the fault itself
        hand.process.send_signal(signal.SIGCONT)
        await asyncio.sleep(0.5)  # it is to wake up before anything else is done to it
        hand.is_disturbed = False

    async def part(self, hand: Hand) -> None:
        """Nothing reaches the server, nor it, for longer than its lease; old connections stay dead."""
        self.faults["partition beyond the lease"] += 1
        hand.is_disturbed = True
        hand.proxy.blackhole()
        await asyncio.sleep(LEASE_S * 2)  # the fault itself
        # Half of the time as a network that lost its way for a while, else as one that has lost all connections.
        hand.proxy.heal(resume=self.chance.random() < 0.5)
        hand.is_disturbed = False

    def drop_replies(self, proxy: Proxy) -> None:
        """Some of the next calls are executed, and their replies never seen."""
        left = self.chance.randint(1, 5)

        def is_next(seen: SeenCall) -> bool:
            nonlocal left
            if seen.words[0] != b"EVALSHA" or left == 0 or self.chance.random() < 0.5:
                return False
            left -= 1
            self.faults["reply dropped"] += 1
            return True

        proxy.forget_rules()
        proxy.on(call(where=is_next)).drop_reply()

    async def kill_server(self) -> None:
        """SIGKILL, and a start with what its append-only file holds."""
        self.faults["kill -9 of the server"] += 1
        await asyncio.to_thread(self.server.kill)
        await asyncio.sleep(self.chance.uniform(0, 0.5))  # how long it is away
        await asyncio.to_thread(self.server.restart)

    async def finish_deploy(self) -> None:
        """The code of yesterday is replaced, one worker after the other, by SIGTERM; one is in any case."""
        await self.restart_refused()
        for hand in [hand for hand in self.hands if hand.code == "old"] or self.hands[:1]:
            self.faults["SIGTERM of a worker"] += 1
            await self.hire("new")
            hand.process.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(hand.process.wait, 30)
            # One that was only starting has no handler for it yet, and no run.
            assert code in {0, -signal.SIGTERM}, f"worker {hand.process.pid} ended with {code} after SIGTERM"
            self.hands.remove(hand)
