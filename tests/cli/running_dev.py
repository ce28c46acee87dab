"""A `redisflow dev` as one types it, in a new project: with a terminal or without, and what it says."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WITHIN_S = 60.0
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(("REDISFLOW_", "DISPLAY", "WAYLAND"))
}


def run(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "redisflow", *words]
    environment = {**ENVIRONMENT, **more}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )


def _take_the_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C there is a signal


class Dev:
    """One `redisflow dev`; what it has written is read as it comes."""

    def __init__(self, folder: Path, *words: str, terminal: bool = False, within: str = "", **more: str) -> None:
        self.folder = folder
        self.text = ""
        self.descriptor: Any
        self.ours: int | None = None
        theirs: int = subprocess.PIPE
        if terminal:
            self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*within.split(), sys.executable, "-m", "redisflow", "dev", *words],
            cwd=folder,
            env={**ENVIRONMENT, "TERM": "xterm", **more},
            stdin=theirs if terminal else subprocess.DEVNULL,
            stdout=theirs if terminal else subprocess.DEVNULL,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_the_terminal if terminal else None,  # noqa: PLW1509  # it starts no thread before
        )
        if terminal:
            os.close(theirs)
        out = self.process.stderr
        self.descriptor = self.ours if out is None else out.fileno()

    def read(self, until: Callable[[str], Any], within_s: float = WITHIN_S) -> Any:
        """What `until` finds in the text that is written from the last such place on."""
        deadline_s = time.monotonic() + within_s
        while not (found := until(self.text)):
            left_s = deadline_s - time.monotonic()
            ready, _, _ = select.select([self.descriptor], [], [], max(0.0, left_s))
            data = b""
            if ready:
                with contextlib.suppress(OSError):  # the other end of a terminal is closed
                    data = os.read(self.descriptor, 65536)
            assert data, f"not found before it {'ended' if ready else 'was too late'}: {self.text}"
            self.text += data.decode(errors="replace")
        return found

    def wait_for(self, pattern: str) -> re.Match[str]:
        found: re.Match[str] = self.read(re.compile(pattern).search)
        self.text = self.text[found.end() :]
        return found

    def press(self, key: str) -> None:
        assert self.ours is not None
        os.write(self.ours, key.encode())

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        with contextlib.suppress(AssertionError):
            self.read(lambda _: False)
        return self.process.wait(WITHIN_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.ours is not None:
            os.close(self.ours)
        elif self.process.stderr is not None:
            self.process.stderr.close()


def processes_in(folder: Path) -> list[str]:
    """What runs in a folder or below it, as its command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            where = (entry / "cwd").readlink()
            if where == folder or folder in where.parents:
                found.append((entry / "cmdline").read_text().replace("\0", " "))
    return found


def wait_until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


MINIMAL = """\
from redisflow import RedisFlow, Step

flow = RedisFlow(namespace="shop")


async def answer() -> str:
    return {said!r}


@flow.define_workflow("greet")
async def greet(step: Step) -> str:
    return await step.run("answer", answer)
"""
ENDLESS = "import asyncio\n" + MINIMAL.format(said="late").replace(
    "async def answer() -> str:\n", "async def answer() -> str:\n    print('began')\n    await asyncio.sleep(1000)\n"
)
