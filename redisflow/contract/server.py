"""The servers themselves: what they say of their state, and how fast they answer. It changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redisflow.server_info import NamespaceInfo, ServerInfo


class ServerCalls(Protocol):
    """See the module."""

    async def describe(self) -> ServerInfo:
        """Ask each of them; BackendUnavailable where none answers."""
        ...

    async def ping(self, times: int) -> Mapping[str, Sequence[float]]:
        """By address, the round trips of so many PINGs one after another, in ms, shortest first."""
        ...

    async def cpu_seconds(self) -> float | None:
        """CPU time that their processes have used since they started, together; None where that is not told."""
        ...

    async def find_namespaces(self, told: Callable[[int], object]) -> Sequence[NamespaceInfo]:
        """Those that were ever opened there, by name. It walks all keys of the servers, a bounded piece at a time.

        `told` is called with how many were found so far, after each piece.
        """
        ...
