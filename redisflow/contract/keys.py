"""The calls about idempotency keys whose runs live elsewhere."""

from __future__ import annotations

from typing import Protocol

from redisflow.contract.values import Conflict, Created, Idempotency


class KeyCalls(Protocol):
    """A key lives in the partition that its hash names; a run with limits lives with these."""

    async def reserve_key(self, partition: int, run_id: str, key: Idempotency) -> Created | Conflict | str:
        """Give the key to this run, unless another has it; a str is the run that is to be created now."""
        ...

    async def confirm_key(self, partition: int, run_id: str, key: Idempotency) -> None:
        """The run that has the key is stored: from now on it is not created again."""
        ...
