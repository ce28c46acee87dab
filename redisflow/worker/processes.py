"""Several worker processes of one flow: started together, replaced when one dies, stopped together.

Each is a fresh interpreter with `redisflow worker`, joined to this process by a pair of sockets. It says there that it
works; and when this process is gone, however that came, it reads the end of it and stops, so that no orphan works on.
The hard thing is to tell a process that cannot work, which ends all of them with its reason, from one that was killed,
which is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from redisflow.durations import Duration, to_ms
from redisflow.errors import InvalidWorkflow, WorkerProcessFailed
from redisflow.worker.options import WorkerOptions
from redisflow.worker.signals import on_signals
from redisflow.worker.supervisor import EXIT_DRAINED, GOOD_BYE_S
from redisflow.worker.target import Served, Target

RESTART_S = 1.0
"""Before a process that died is replaced; longer each time where its successors die before they work."""
RESTART_AT_MOST_S = 30.0
_LINE_BYTES = 1 << 20
"""What a process says of itself: 10,000 workflows with names of 100 bytes."""

_log = logging.getLogger("redisflow.worker")


class WorkerProcesses:
    """Worker processes, from their start to their end. Use `run()`, or `async with processes:`."""

    may_start: ClassVar[bool] = True
    """False in a worker process: the modules that it imports must not start more of them."""

    def __init__(self, target: Target, options: WorkerOptions, count: int, *, words: Sequence[str] = ()) -> None:
        """Made by `RedisFlow.new_worker(processes=...)` and by the command line, in the event loop that runs it.

        `words` are further ones of `redisflow worker`.
        """
        if not self.may_start:
            msg = (
                "a worker process is importing code that starts worker processes of its own: put that call under "
                'if __name__ == "__main__":'
            )
            raise InvalidWorkflow(msg)
        if options.http is not None and not 1 <= options.http.port <= 65_536 - count:
            msg = f"each worker process has a port of its own, from {options.http} on: give a first port for {count}"
            raise ValueError(msg)
        self.options = options
        self._target = target
        self._count = count
        self._drained = 0
        self._command = [sys.executable, "-m", "redisflow", "worker", *_words_of(target), *words_of(options), *words]
        self._grace_ms = options.grace_ms
        self._children: list[_Child] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._is_started = False
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._finishing: asyncio.Task[None] | None = None

    @property
    def pids(self) -> list[int]:
        """The ids of the processes that run at present."""
        return [child.pid for child in self._children]

    async def run(self) -> None:
        """Work until SIGTERM, SIGINT or `stop()`; a second signal makes all hand everything back at once."""
        with on_signals(self._ask_to_stop):
            try:
                await self.start()
                await self._stopping.wait()
            finally:
                await self._finished()

    async def start(self) -> None:
        """Start them, and return when all of them work.

        WorkerProcessFailed where one of them ends instead (it has said why on stderr), InvalidWorkflow where it finds
        other workflows than this process has; then none of them is left.
        """
        try:
            for number in range(self._count):
                child = await self._spawn(number)
                self._keepers.append(asyncio.create_task(self._keep(child, number), name=f"keep {child.pid}"))
            await asyncio.gather(*map(self._check, list(self._children)))
        except BaseException:
            await self._finished()
            raise
        self._is_started = True

    async def stop(self, *, grace: Duration | None = None) -> None:
        """Let all of them stop as they do on SIGTERM, and return when they have ended.

        Runs may go on for `grace`, but no longer than `new_worker(grace=...)` says. Called twice, it makes them hand
        everything back at once. Where one is still there 10 s after the grace period, it is killed.
        """
        if grace is not None:
            self._grace_ms = min(self._grace_ms, to_ms(grace, what="grace"))
        self._ask_to_stop()
        await self._finished()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    # -- one process, and the next in its place -------------------------------------------------------------------

    async def _spawn(self, number: int) -> _Child:
        http = self.options.http
        # What takes the place of a process that died has its port.
        listening = [] if http is None else [f"--http={http.of_process(number)}"]
        child = await _Child.spawn([*self._command, *listening])
        self._children.append(child)
        if self._stopping.is_set():
            child.signal(signal.SIGTERM)  # it was asked for while this one was being made
        return child

    async def _check(self, child: _Child) -> None:
        said = await asyncio.shield(child.said)
        if said is not None:
            self._target.check(said)
        elif not self._stopping.is_set():
            raise WorkerProcessFailed(child.pid, await child.exit_code())

    async def _keep(self, child: _Child, number: int) -> None:
        """Replace the process whenever it ends, until the stop."""
        pause_s = RESTART_S
        while True:
            code = await child.end()
            ended = _describe(code)
            self._children.remove(child)
            if code == EXIT_DRAINED:
                _log.info("worker process %d is drained, and not replaced", child.pid)
                self._drained += 1
                if self._drained == self._count:
                    self._ask_to_stop()
                return
            has_worked = await child.said is not None
            if self._stopping.is_set() or not (self._is_started or has_worked):
                _log.info("worker process %d %s", child.pid, ended)
                return
            pause_s = RESTART_S if has_worked else min(2 * pause_s, RESTART_AT_MOST_S)
            _log.warning("worker process %d %s, and is replaced in %.0f s", child.pid, ended, pause_s)
            replacement = None
            while replacement is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._stopping.wait()
                    return
                try:
                    replacement = await self._spawn(number)
                except OSError as error:
                    _log.error("no worker process can be started, it is tried again: %s", error)
            child = replacement

    # -- the end --------------------------------------------------------------------------------------------------

    def _ask_to_stop(self) -> None:
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        for child in self._children:
            child.signal(number)

    async def _finished(self) -> None:
        if not self._stopping.is_set():
            self._ask_to_stop()
        if self._finishing is None:
            self._finishing = asyncio.create_task(self._finish(), name="finish")
        await asyncio.shield(self._finishing)

    async def _finish(self) -> None:
        if not self._keepers:
            return
        ended = asyncio.gather(*self._keepers, return_exceptions=True)
        hurry = asyncio.create_task(self._hurry.wait())
        either: list[asyncio.Future[Any]] = [ended, hurry]
        await asyncio.wait(either, timeout=self._grace_ms / 1000, return_when=asyncio.FIRST_COMPLETED)
        if not hurry.done():
            # The grace of this stop may have been shorter than theirs.
            self._signal(signal.SIGTERM)
        hurry.cancel()
        await asyncio.wait([ended], timeout=GOOD_BYE_S)
        if self._children:
            _log.warning("worker processes %s do not end, and are killed", ", ".join(map(str, self.pids)))
            self._signal(signal.SIGKILL)
        await ended


class _Child:
    """One worker process, and this end of the sockets that join it with this process."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.pid = process.pid
        self.said = asyncio.create_task(_read_served(reader))
        """What it serves, once it works; None where it ended before."""
        self._process = process
        self._writer = writer

    @classmethod
    async def spawn(cls, command: Sequence[str]) -> Self:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                # A session of its own: Ctrl-C in a terminal reaches this process, which passes it on; reached by both,
                # the child would take it for the second signal.
                process = await asyncio.create_subprocess_exec(
                    *command,
                    "--supervisor",
                    str(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            reader, writer = await asyncio.open_connection(sock=ours, limit=_LINE_BYTES)
        except BaseException:
            ours.close()  # a child that was started reads the end
            raise
        return cls(process, reader, writer)

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def exit_code(self) -> int:
        return await self._process.wait()

    async def end(self) -> int:
        """Wait for its end; returns the exit code, or minus the signal that ended it."""
        code = await self._process.wait()
        # Also the end of `said`, where something that it started holds its end of the sockets.
        self._writer.close()
        return code


async def _read_served(reader: asyncio.StreamReader) -> Served | None:
    try:
        line = await reader.readline()
    except ConnectionError:
        return None
    return Served.of_line(line) if line.endswith(b"\n") else None


def _describe(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


# -- the words of the command line ------------------------------------------------------------------------------------


def words_of(options: WorkerOptions) -> list[str]:
    """The options as `redisflow worker` reads them; resources have no words."""
    words = [
        f"--concurrency={options.concurrency}",
        f"--max-bodies={options.max_bodies}",
        f"--lease={options.lease_ms}ms",
        f"--grace={options.grace_ms}ms",
        f"--crash-limit={options.crash_limit}",
    ]
    if options.queues:
        words.append(f"--queues={','.join(options.queues)}")
    return [*words, "--burst"] if options.burst else words


def _words_of(target: Target) -> list[str]:
    words = [target.flow]
    if target.imports:
        words.append(f"--import={','.join(target.imports)}")
    if target.path:
        words.append(f"--path={os.pathsep.join(target.path)}")
    return words
