"""What the backend needs of a server, whatever kind it is: one server, a cluster, or one inside this process.

A partition is named by its prefix, `rf:{namespace:n}:`, whose hash tag tells a cluster the node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from redisflow.backend.batch import Parse
    from redisflow.backend.channels import Listener
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.wire import Command


class BlockingCalls(Protocol):
    """Calls from a thread without an event loop."""

    def call(self, prefix: str, command: Command) -> Any:
        """Its reply; BackendUnavailable where there is none within 5 s."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Transport(Protocol):
    """Connections to wherever the partitions are. Made inside the event loop that it serves."""

    @property
    def masked_url(self) -> str:
        """As it may be shown."""
        ...

    @property
    def trouble(self) -> str:
        """Why the server is away; empty while it answers."""
        ...

    async def load(self, scripts: Scripts) -> None:
        """Make every server know the scripts, at the latest when each is called."""
        ...

    def send(
        self, prefix: str, command: Command, parse: Parse | None = None, *, bulk: bool = False
    ) -> asyncio.Future[Any]:
        """Send a command to the partition; `bulk` keeps what is large away from what is small.

        The future waits for as long as the server is away. It fails with BackpressureError where the server is out of
        memory, with BackendError where it refuses, and with BackendUnavailable when the transport is closed.
        """
        ...

    async def pop(self, prefix: str, keys: Sequence[str], timeout_s: float) -> bool:
        """Wait for a token in one of the partition's keys, and take it."""
        ...

    def subscribe(self, prefix: str, channel: str, listener: Listener) -> asyncio.Future[None]:
        """Listen to a channel of the partition; done as soon as no message can be missed."""
        ...

    def unsubscribe(self, prefix: str, channel: str, listener: Listener) -> None:
        """Stop listening."""
        ...

    def open_calls(self) -> BlockingCalls:
        """A connection for a thread."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
