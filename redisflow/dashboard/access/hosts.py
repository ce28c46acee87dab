"""By which names the dashboard may be called.

A page of somebody else's can let its own name lead to this machine (DNS rebinding): its requests then count as of the
same origin, and only the name that they ask for tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from redisflow.dashboard.access.paths import is_open
from redisflow.dashboard.access.refusals import send_refusal

LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")


class HostCheck:
    """Refuses requests for other hosts. `*.example.com` allows all names below it, `*` all there are."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str] = ()) -> None:
        """Besides the names of loopback; ports do not count."""
        self._app = app
        self._allowed = {host.lower() for host in (*LOOPBACK, *hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        if scope["type"] == "http" and not is_open(scope):
            named = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if len(named) != 1 or not self._allows(without_port(named[0])):
                detail = "this host is not one by which the dashboard may be called: allow it (allowed_hosts)"
                await send_refusal(scope, receive, send, 400, detail)
                return
        await self._app(scope, receive, send)

    def _allows(self, host: str) -> bool:
        if host in self._allowed or "*" in self._allowed:
            return True
        return any(f"*.{parent}" in self._allowed for parent in _parents(host))


def without_port(host: str) -> str:
    """The name alone, in small letters, without the dot that may end it; IPv6 addresses keep their brackets."""
    name, is_there, port = host.rpartition(":")
    bare = name if is_there and (port.isdigit() or not port) and (":" not in name or name.endswith("]")) else host
    return bare.lower().removesuffix(".")


def _parents(host: str) -> list[str]:
    parts = host.split(".")
    return [".".join(parts[number:]) for number in range(1, len(parts))]
