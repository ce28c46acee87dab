"""Whether what was acknowledged is safe, and what was lost nevertheless."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redisflow.durability import Level, Loss


class DurabilityCalls(Protocol):
    """What can be asked of it."""

    @property
    def level(self) -> Level:
        """What an acknowledgement is worth here."""
        ...

    @property
    def unconfirmed_batches(self) -> int:
        """How many batches of this connection too few replicas confirmed in time."""
        ...

    @property
    def losses(self) -> int:
        """How often this connection found that acknowledged writes were lost."""
        ...

    async def confirm(self, run_id: str) -> bool | None:
        """Whether enough replicas have the run as it is now; waits for them once. None where it is not stored."""
        ...

    async def list_losses(self) -> Sequence[Loss]:
        """What was found out by any process and is still kept, the latest first: up to 100 of each partition."""
        ...
