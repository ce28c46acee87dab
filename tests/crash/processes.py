"""Worker processes for the traps, and what their bodies wrote."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEASE_S = 1.0
WITHIN_S = 60.0  # processes start slowly where many tests run side by side


@dataclass
class Processes:
    """Worker processes of this test, and what their bodies wrote."""

    url: str
    namespace: str
    folder: Path
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def hire(self, count: int = 1, *, wall_clock_s: int = 0) -> None:
        """Start workers, whose wall clock is so many seconds ahead."""
        environment = {
            **os.environ,
            "REDISFLOW_URL": self.url,
            "TRAPS_NAMESPACE": self.namespace,
            "TRAPS_LOG": str(self.folder / "bodies.log"),
            "TRAPS_LEASE_S": str(LEASE_S),
        }
        program = ["tests.crash.wall_clock", str(wall_clock_s)] if wall_clock_s else ["redisflow"]
        command = [sys.executable, "-m", *program, "worker", "tests.crash.process_workflows:flow"]
        with (self.folder / "workers.log").open("ab") as log:
            for _ in range(count):
                arguments = [*command, "--lease", f"{LEASE_S}s"]
                self.workers.append(subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=log, stderr=log))

    def lines(self) -> list[list[str]]:
        """Event, run, step and process of each line."""
        path = self.folder / "bodies.log"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def starts(self, key: str) -> list[int]:
        """The processes that started a step of this key, in order."""
        return [int(pid) for event, _, name, pid in self.lines() if event == "start" and name == key]

    def dead(self) -> int:
        return sum(worker.poll() is not None for worker in self.workers)

    def end(self) -> None:
        end_all(self.workers)


def end_all(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    """Let them stop, stopped ones too; kill those that do not."""
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
        worker.send_signal(signal.SIGCONT)
    for worker in workers:
        try:
            worker.wait(10)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait(10)


async def until(holds: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.01)  # between two looks
