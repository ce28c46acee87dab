"""A primary, its replicas and Sentinels on loopback, in one call: what a fail-over does can then be seen.

Each is a process of its own, which ends with the process that started it. The hard thing is the start: Sentinels find
each other and the replicas through the primary, and one that knows too few of them cannot fail over.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from redisflow.backend.caller import Caller
from redisflow.backend.connect import read_url
from redisflow.backend.replies import named
from redisflow.backend.servers import read_info
from redisflow.errors import BackendError
from redisflow.testing.server import EmbeddedServerError, Server, ServerOptions, start_server
from redisflow.testing.server_process import ServerProcess, find_binary, pick_port

if TYPE_CHECKING:
    from types import TracebackType

SERVICE = "primary"
_READY_WITHIN_S = 60.0
_POLL_S = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class SentinelOptions:
    """How many of each there are, and how soon a silent primary is given up.

    Below a second `down_after_ms` does more than it says: a Sentinel connects to the new primary once a second at most,
    so it takes that for dead as well, and promotes the next one, while clients write to the first.

    `server` is how each data server runs; its `port` and `data_dir` are chosen here.
    """

    replicas: int = 2
    sentinels: int = 3
    down_after_ms: int = 1_500
    failover_timeout_ms: int = 4_000
    server: ServerOptions = dataclasses.field(default_factory=ServerOptions)


def start_sentinels(options: SentinelOptions | None = None) -> SentinelGroup:
    """Start them all, and return once each Sentinel knows all of the others. They stop with `stop`, or with a `with`.

    `EmbeddedServerError` where there is no server to run, or they do not find each other within a minute.
    """
    return SentinelGroup(options or SentinelOptions())


class SentinelGroup:
    """Running servers and Sentinels. `servers[0]` is the first primary; who it is now, the Sentinels know."""

    def __init__(self, options: SentinelOptions) -> None:
        """Start them."""
        self._stack = ExitStack()
        self._options = options
        self.servers: list[Server] = []
        self._sentinels: list[int] = []
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """The URL by which redisflow finds the primary."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    @property
    def primary(self) -> Server:
        """The server that most Sentinels call the primary; EmbeddedServerError where they do not agree."""
        ports = [self._primary_of(port) for port in self._sentinels]
        for server in self.servers:
            if ports.count(server.port) > len(ports) / 2:
                return server
        msg = f"Sentinels do not agree on a primary: {ports}"
        raise EmbeddedServerError(msg)

    @property
    def replicas(self) -> list[Server]:
        """The other servers, running or not."""
        primary = self.primary
        return [server for server in self.servers if server is not primary]

    def fail_over(self) -> None:
        """Ask for a fail-over, and return as soon as the Sentinels name another primary."""
        before = self.primary
        _wait_until(lambda: self._asks_for_failover(self._sentinels[0]))
        self.wait_for_another(before)

    def wait_for_another(self, before: Server) -> Server:
        """The primary that takes the place of this one, once most Sentinels name it."""

        def has_changed() -> bool:
            with contextlib.suppress(EmbeddedServerError):
                return self.primary is not before
            return False

        _wait_until(has_changed)
        return self.primary

    def stop(self) -> None:
        """Stop everything, Sentinels first. May be repeated."""
        self._stack.close()

    def __enter__(self) -> Self:
        """Return the running group."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop everything."""
        self.stop()

    # -- starting -------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        options = self._options
        primary = self._stack.enter_context(start_server(_quick(options.server)))
        self.servers = [primary]
        for _ in range(options.replicas):
            following = {"replicaof": f"127.0.0.1 {primary.port}"}
            self.servers.append(self._stack.enter_context(start_server(_quick(options.server, following))))
        _wait_until(lambda: _followers(primary.port) == options.replicas)
        for _ in range(options.sentinels):
            self._sentinels.append(self._start_sentinel(primary.port))
        _wait_until(lambda: all(self._knows_all(port) for port in self._sentinels))

    def _start_sentinel(self, primary_port: int) -> int:
        binary = find_binary(self._options.server.provider)
        assert binary is not None  # noqa: S101  # servers were started with it
        folder = Path(tempfile.mkdtemp(prefix="redisflow-sentinel-"))
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        port = pick_port()
        quorum = self._options.sentinels // 2 + 1
        lines = [
            f"port {port}",
            "bind 127.0.0.1",
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary_port} {quorum}",
            f"sentinel down-after-milliseconds {SERVICE} {self._options.down_after_ms}",
            f"sentinel failover-timeout {SERVICE} {self._options.failover_timeout_ms}",
        ]
        (folder / "sentinel.conf").write_text("\n".join([*lines, ""]), encoding="utf-8")
        # A Sentinel writes what it learns into its configuration: each has a file of its own.
        command = [str(binary), "sentinel.conf", "--sentinel"]
        process = ServerProcess(command, port=port, data_dir=folder, temporary=True)
        self._stack.callback(process.end, signal.SIGTERM)
        if process.wait_until_ready(_READY_WITHIN_S) is None:
            msg = f"a Sentinel did not start on port {port}. Its log:\n{process.read_log() or '(empty)'}"
            raise EmbeddedServerError(msg)
        return port

    def _knows_all(self, port: int) -> bool:
        known = named(_ask(port, "SENTINEL", "MASTER", SERVICE))
        found = int(known[b"num-slaves"]), int(known[b"num-other-sentinels"])
        return found == (self._options.replicas, len(self._sentinels) - 1)

    def _primary_of(self, port: int) -> int:
        """As one Sentinel says; 0 where it does not answer."""
        try:
            return int(_ask(port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])
        except BackendError:
            return 0

    def _asks_for_failover(self, port: int) -> bool:
        """Whether it begins; a Sentinel that does not know a good replica yet refuses."""
        with contextlib.suppress(BackendError):
            _ask(port, "SENTINEL", "FAILOVER", SERVICE)
            return True
        return False


def _followers(port: int) -> int:
    """How many replicas have the whole of it."""
    info = read_info(_ask(port, "INFO", "replication"))
    return sum("state=online" in value for name, value in info.items() if name.startswith("slave"))


def _quick(options: ServerOptions, more: dict[str, str] | None = None) -> ServerOptions:
    """A replica's first copy is sent at once, and it asks again soon after it has lost the primary."""
    config = {"repl-diskless-sync-delay": "0", "repl-timeout": "5", **options.config, **(more or {})}
    return dataclasses.replace(options, port=0, data_dir=None, config=config)


def _ask(port: int, *command: str) -> Any:
    url = f"redis://127.0.0.1:{port}"
    caller = Caller(read_url(url), {})
    try:
        return caller.call(("127.0.0.1", port), command)
    finally:
        caller.close()


def _wait_until(holds: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + _READY_WITHIN_S
    while not holds():
        if time.monotonic() > deadline_s:
            msg = f"servers and Sentinels did not come to agree within {_READY_WITHIN_S:.0f} s"
            raise EmbeddedServerError(msg)
        time.sleep(_POLL_S)
