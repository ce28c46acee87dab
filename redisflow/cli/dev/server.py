"""The server of `redisflow dev`: the one that is named, else one of this folder, whose data are there the next time.

Of one folder there is one server: a second `redisflow dev` uses that of the first, and ends with it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from redisflow.backend.connect import mask_url, read_url
from redisflow.cli.dev.running import FILE, FOLDER, Claim, Running, claim, is_held, read_running
from redisflow.testing.server import EmbeddedServerError, Server, ServerOptions, start_server

DATA = "valkey"
SOCKET = "valkey.sock"
PORT_FILE = "port"
CALL_TIMEOUT_S = 5.0
_LOOK_S = 0.5
_SAY_WITHIN_S = 10.0
"""Until one that has just begun must have said where its server is."""


class NamedServer:
    """Somebody else's: it was there before, and stays."""

    def __init__(self, url: str, source: str) -> None:
        """`source` is where its URL was said."""
        self.url = url
        self._source = source

    async def check(self) -> None:
        """BackendUnavailable where it is away now; later, the worker waits for it."""
        from redisflow.backend.server_calls import ServersOnRedis  # noqa: PLC0415  # for servers that are named alone

        await ServersOnRedis(read_url(self.url), CALL_TIMEOUT_S).describe()

    def describe(self) -> str:
        """For people, in a line."""
        return f"{mask_url(self.url)} (from {self._source})"

    async def wait_until_gone(self) -> str:
        """Never: where it is away, the worker waits for it."""
        await asyncio.Event().wait()
        raise AssertionError

    def say(self, dashboard: str | None) -> None:
        """Nobody looks for it here."""

    @property
    def why_not_cleared(self) -> str:
        """What to say to whoever wants to."""
        return "only data of a server of this folder can be cleared, and this one was named"

    async def close(self) -> None:
        """It is not ours."""


@dataclass(slots=True)
class SharedServer:
    """That of another `redisflow dev` in this folder."""

    running: Running
    folder: Path

    @property
    def url(self) -> str:
        """Where it is."""
        return self.running.url

    def describe(self) -> str:
        """For people, in a line."""
        return f"{self.url}, of the `redisflow dev` that runs here already (pid {self.running.pid})"

    async def wait_until_gone(self) -> str:
        """Until the other has ended; returns what to say."""
        while is_held(self.folder / FOLDER / FILE):  # noqa: ASYNC110  # it is another process
            await asyncio.sleep(_LOOK_S)
        return f"the `redisflow dev` whose server this was (pid {self.running.pid}) has ended"

    def say(self, dashboard: str | None) -> None:
        """The other has its own."""

    @property
    def why_not_cleared(self) -> str:
        """What to say to whoever wants to."""
        return f"the data are those of the other `redisflow dev` (pid {self.running.pid}): clear them there"

    async def close(self) -> None:
        """It is not ours."""


class OwnServer:
    """An embedded one, which ends with this process."""

    def __init__(self, server: Server, held: Claim | None, data_dir: Path | None) -> None:
        """`data_dir` is None where the data are gone at the end."""
        self._server = server
        self._held = held
        self._data_dir = data_dir
        self._is_clearing = False

    @property
    def url(self) -> str:
        """Where it is."""
        return self._server.url

    def describe(self) -> str:
        """For people, in a line."""
        where = f"data in {FOLDER}/{DATA}" if self._data_dir else "its data are gone at the end"
        return f"{self._server.version}, redis-cli -p {self._server.port}, {where}"

    async def wait_until_gone(self) -> str:
        """Until its process has ended; returns what to say."""
        while self._server.is_running or self._is_clearing:  # noqa: ASYNC110  # it is another process
            await asyncio.sleep(_LOOK_S)
        return "the server has ended"

    def say(self, dashboard: str | None) -> None:
        """Let other commands in this folder find it."""
        if self._held is not None:
            self._held.say(Running(os.getpid(), self.url, dashboard))

    async def clear(self) -> None:
        """Begin anew without data, on the same port."""
        port = self._server.port
        self._is_clearing = True
        try:
            await asyncio.to_thread(self._server.stop)
            if self._data_dir is not None:
                shutil.rmtree(self._data_dir)
            self._server = await asyncio.to_thread(_start, self._data_dir, port)
        finally:
            self._is_clearing = False

    async def close(self) -> None:
        """Stop it; what it acknowledged is on the disk then."""
        await asyncio.to_thread(self._server.stop)
        if self._held is not None:
            self._held.release()


DevServer = NamedServer | SharedServer | OwnServer


async def open_server(folder: Path, *, ephemeral: bool) -> OwnServer | SharedServer:
    """That of this folder. EmbeddedServerError where it does not start."""
    deadline_s = time.monotonic() + _SAY_WITHIN_S
    while True:
        held = claim(folder)
        if held is not None:
            break
        if ephemeral:
            return OwnServer(await asyncio.to_thread(_start, None, 0), None, None)
        running = read_running(folder / FOLDER / FILE)
        if running is not None:
            return SharedServer(running, folder)
        if time.monotonic() > deadline_s:
            msg = f"{folder / FOLDER / FILE} is held by a process that does not say where its server is"
            raise EmbeddedServerError(msg)
        await asyncio.sleep(0.05)
    data_dir = None if ephemeral else folder / FOLDER / DATA
    try:
        server = OwnServer(await asyncio.to_thread(_start, data_dir, 0), held, data_dir)
    except BaseException:
        held.release()
        raise
    server.say(None)
    return server


def _start(data_dir: Path | None, port: int) -> Server:
    """At this port and no other: workers know it. 0: at any."""
    # A unix socket for the owner alone; relative to the data, since a path of one has 104 bytes at most.
    config = {"unixsocket": SOCKET, "unixsocketperm": "700"}
    if data_dir is None:
        return start_server(ServerOptions(port=port, config=config))
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if port:
        return start_server(ServerOptions(data_dir=data_dir, port=port, config=config))
    with suppress(OSError, ValueError, EmbeddedServerError):
        # The port of the last time, where nobody has it now: what was typed for it goes on being right.
        wanted = int((data_dir.parent / PORT_FILE).read_text(encoding="utf-8"))
        return start_server(ServerOptions(data_dir=data_dir, port=wanted, config=config))
    server = start_server(ServerOptions(data_dir=data_dir, config=config))
    (data_dir.parent / PORT_FILE).write_text(f"{server.port}\n", encoding="utf-8")
    return server
