"""The servers themselves: what they say of their state, and how fast they answer. It changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redisflow.server_info import ServerInfo


class ServerCalls(Protocol):
    """See the module."""

    async def describe(self) -> ServerInfo:
        """Ask each of them; BackendUnavailable where none answers."""
        ...

    async def ping(self, times: int) -> Mapping[str, Sequence[float]]:
        """By address, the round trips of so many PINGs one after another, in ms, shortest first."""
        ...
