"""A command whose results go to a terminal of some width."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import subprocess
import sys

from tests.cli.conftest import Said

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


async def on_terminal(width: int, *words: str) -> Said:
    """What it says there, without its styles; only standard output is the terminal."""
    return await asyncio.to_thread(_run, width, words)


def _run(width: int, words: tuple[str, ...]) -> Said:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "redisflow", *words],
        env={**os.environ, "COLUMNS": str(width), "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    found = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while data := os.read(ours, 65536):
            found += data
    _, err = process.communicate(timeout=60)
    os.close(ours)
    return Said(process.returncode, _STYLE.sub("", found.decode()).replace("\r\n", "\n"), err)
