"""What runs leave outside Redis: large payloads in a store. Where there is none, these calls do nothing."""

from __future__ import annotations

from typing import Protocol


class PayloadCalls(Protocol):
    """Reached as `backend.payloads`."""

    @property
    def in_use(self) -> bool:
        """Whether there is a store."""
        ...

    async def delete_run_payloads(self, run_id: str) -> None:
        """Delete all that a run has in the store; called once the run is no longer in Redis. Safe to repeat.

        PayloadStoreUnavailable where it is not possible now: the sweep finds it later.
        """
        ...

    async def sweep_payloads(self, older_than_ms: int, again_after_ms: int) -> int:
        """Delete what belongs to runs that are not stored any more, or never were; returns how many there were.

        An input is in the store before its run is in Redis. So younger ids are left alone, and others are looked for
        twice, with this time in between. A bounded number goes; what is left is found by the next sweep.
        """
        ...
