"""A process that a command starts: its lines come here, it can be told things, and it ends when this one does.

It is told through a pair of sockets, whose end it reads however this process ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

_LINE_BYTES = 1 << 20


class Child:
    """One process."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Made by `spawn`."""
        self.pid = process.pid
        self._process = process
        self._reader = reader
        self._writer = writer
        self._lines: asyncio.Task[None] | None = None

    @classmethod
    async def spawn(
        cls,
        words: Sequence[str],
        on_line: Callable[[str], None] | None,
        *,
        environment: Mapping[str, str],
        descriptors: Sequence[int] = (),
    ) -> Self:
        """Start `python -m *words`; `{control}` in a word becomes the descriptor of its end of the sockets.

        Without `on_line` it reads and writes where this process does.
        """
        ours, theirs = socket.socketpair()
        process: asyncio.subprocess.Process | None = None
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    *(word.replace("{control}", str(theirs.fileno())) for word in words),
                    stdin=None if on_line is None else asyncio.subprocess.DEVNULL,
                    stdout=None if on_line is None else asyncio.subprocess.PIPE,
                    stderr=None if on_line is None else asyncio.subprocess.STDOUT,
                    env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
                    pass_fds=(theirs.fileno(), *descriptors),
                    # Ctrl-C in the terminal is for this process, which passes on what it means.
                    start_new_session=True,
                    limit=_LINE_BYTES,
                )
            reader, writer = await asyncio.open_connection(sock=ours, limit=_LINE_BYTES)
        except BaseException:
            ours.close()
            if process is not None:  # nobody else knows of it
                process.kill()
                await asyncio.shield(process.wait())
            raise
        child = cls(process, reader, writer)
        if on_line is not None:
            child._lines = asyncio.create_task(child._read_lines(on_line), name=f"lines of {child.pid}")
        return child

    async def _read_lines(self, on_line: Callable[[str], None]) -> None:
        out = self._process.stdout
        assert out is not None  # noqa: S101  # PIPE, above
        while True:
            try:
                line = await out.readline()
            except ValueError:  # longer than anybody reads
                continue
            if not line:
                return
            on_line(line.decode(errors="replace").rstrip("\r\n"))

    async def hear(self) -> dict[str, Any] | None:
        """The next thing that it says; None where it has ended instead."""
        try:
            line = await self._reader.readline()
        except (ConnectionError, ValueError):
            return None
        return json.loads(line) if line.endswith(b"\n") else None

    def tell(self, word: bytes) -> None:
        """Tell it; where it is gone, its end is noticed elsewhere."""
        self._writer.write(word)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code, or minus the signal that ended it, once it is over."""
        code = await self._process.wait()
        if self._lines is not None:
            # What it started may hold the pipe open: its last lines are waited for, not theirs.
            await asyncio.wait([self._lines], timeout=0.5)
            self._lines.cancel()
        self._writer.close()
        return code

    async def stop(self, within_s: float) -> None:
        """SIGTERM, and SIGKILL where that takes too long."""
        self.signal(signal.SIGTERM)
        over = asyncio.ensure_future(self.ended())
        done, _ = await asyncio.wait([over], timeout=within_s)
        if not done:
            self.signal(signal.SIGKILL)
        await over
