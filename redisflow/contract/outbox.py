"""The outbox: what a step in one partition caused elsewhere, until somebody has carried it out."""

from __future__ import annotations

from typing import Protocol


class OutboxCalls(Protocol):
    """See the module."""

    async def deliver(self, partition: int) -> bool:
        """Carry out one bounded piece of what a partition posted; whether there may be more.

        Safe to repeat and to do twice at once: each thing is done again without harm until it is taken out.
        """
        ...
