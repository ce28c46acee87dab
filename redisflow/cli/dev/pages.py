"""The dashboard of `redisflow dev`: a process of its own, which imports the app anew whenever the worker has.

The port is listened to here, so it stays the same, and a browser that asks meanwhile waits for the answer.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import webbrowser
from collections.abc import Mapping
from contextlib import suppress

from redisflow.cli.child import Child
from redisflow.cli.dev.log import DevLog

_PORTS_TRIED = 50
_AGAIN_S = 1.0
"""Before a dashboard that died is replaced: it may die again and again."""
_STOP_WITHIN_S = 3.0


class Pages:
    """See the module."""

    def __init__(self, listener: socket.socket, log: DevLog, environment: Mapping[str, str]) -> None:
        """`listener` is made by `listen`."""
        self._listener = listener
        self._log = log
        self._environment = environment
        self._child: Child | None = None
        self._watched: asyncio.Task[None] | None = None
        host, port = listener.getsockname()
        self.url = f"http://{host}:{port}"

    async def serve(self, app: str, namespace: str) -> None:
        """Serve this app from now on."""
        await self.stop()
        descriptor = self._listener.fileno()
        words = ["redisflow", "dashboard", "--app", app, "--namespace", namespace, "--fd", str(descriptor)]
        self._child = await Child.spawn(
            [*words, "--control", "{control}"],
            self._log.of_dashboard,
            environment=self._environment,
            descriptors=[descriptor],
        )
        self._watched = asyncio.create_task(self._watch(self._child, app, namespace), name="watch dashboard")

    async def _watch(self, child: Child, app: str, namespace: str) -> None:
        """Begin anew where it ends by itself; not where it cannot even begin."""
        has_worked = await child.hear() is not None
        code = await child.ended()
        if self._child is not child:
            return
        self._child = None
        self._log.say(f"the dashboard ended with {code}{'' if has_worked else ': r starts it again'}", "ERROR")
        if has_worked:
            await asyncio.sleep(_AGAIN_S)
            await self.serve(app, namespace)

    async def stop(self) -> None:
        """End its process."""
        if self._watched is not None and self._watched is not asyncio.current_task():
            self._watched.cancel()
        if self._child is not None:
            await self._child.stop(_STOP_WITHIN_S)
            self._child = None  # not before: where this is cancelled, `close` does it again

    async def close(self) -> None:
        """End its process, and listen no more."""
        await self.stop()
        self._listener.close()


def listen(port: int, log: DevLog) -> socket.socket:
    """On loopback: at this port, or at the next that nobody has, which is told. OSError where there is none."""
    last = min(port + _PORTS_TRIED, 1 << 16) - 1
    for number in range(port, last + 1):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", number))
            listener.listen(100)
        except OSError:
            listener.close()
            continue
        if number != port:
            log.say(f"port {port} is taken: the dashboard is on {number} (--port chooses another)", "WARNING")
        return listener
    msg = f"no port from {port} to {last} is free"
    raise OSError(msg)


def open_in_browser(url: str, environment: Mapping[str, str]) -> None:
    """Where there is a screen; a browser inside the terminal would take its keys."""
    has_screen = sys.platform == "darwin" or any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    if has_screen and not environment.get("SSH_CONNECTION"):
        with suppress(webbrowser.Error):
            webbrowser.open(url)
