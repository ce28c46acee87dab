"""Real worker processes for these tests: with an environment of their own, ended with the test, bodies in one file."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.crash.processes import end_all

ROOT = Path(__file__).parents[2]
WITHIN_S = 60.0
"""For what takes seconds: so long that only what never comes is late, on a busy machine too."""


class Line(NamedTuple):
    """What a body wrote."""

    event: str
    run_id: str
    key: str
    pid: int


@dataclass
class WorkerFleet:
    """Worker processes of one namespace."""

    url: str
    namespace: str
    folder: Path
    target: str
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def log(self) -> Path:
        """Where bodies write."""
        return self.folder / "bodies.log"

    def hire(self, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start one, with these options of `redisflow worker` and this in its environment."""
        given = {
            **os.environ,
            "REDISFLOW_URL": self.url,
            "FAULTS_NAMESPACE": self.namespace,
            "FAULTS_LOG": str(self.log),
            **environment,
        }
        command = [sys.executable, "-m", "redisflow", "worker", self.target, *options]
        with self.said.open("ab") as log:
            worker = subprocess.Popen(command, cwd=ROOT, env=given, stdout=log, stderr=log)
        self.workers.append(worker)
        return worker

    async def dismiss(self, worker: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM) -> int:
        """End one, and wait for it; its exit code."""
        worker.send_signal(how)
        code = await asyncio.to_thread(worker.wait, WITHIN_S)
        self.workers.remove(worker)
        return code

    @property
    def said(self) -> Path:
        """What workers log."""
        return self.folder / "workers.log"

    def lines(self) -> list[Line]:
        """What bodies wrote, in order."""
        if not self.log.exists():
            return []
        found = [line.split() for line in self.log.read_text().splitlines()]
        return [Line(event, run_id, key, int(pid)) for event, run_id, key, pid in found]

    def starts(self) -> Counter[tuple[str, str]]:
        """By run and step, how often its body started."""
        return Counter((line.run_id, line.key) for line in self.lines() if line.event == "start")

    def end(self) -> None:
        """Let all of them stop."""
        end_all(self.workers)


async def until(holds: Callable[[], object], within_s: float = WITHIN_S) -> None:
    """Wait until something is so."""
    deadline_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline_s, f"not within {within_s:g} s"
        await asyncio.sleep(0.02)  # between two looks
