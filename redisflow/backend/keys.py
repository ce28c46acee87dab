"""Idempotency keys whose runs live in another partition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redisflow.contract import Conflict, Created, Idempotency

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redisflow.backend.patience import Patience
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport


class KeyCalls:
    """One object per backend."""

    def __init__(self, transport: Transport, scripts: Scripts, patience: Patience, prefixes: Sequence[str]) -> None:
        """All that it needs to call."""
        self._transport = transport
        self._scripts = scripts
        self._patience = patience
        self._prefixes = prefixes

    async def reserve_key(self, partition: int, run_id: str, key: Idempotency) -> Created | Conflict | str:
        """Give the key to this run, unless another has it; a str is the run that is to be created now."""
        word, found = await self._ask(partition, run_id, key, "")
        known: str = found.decode()
        if word == b"reserved":
            return known
        return Created(known, existing=True) if word == b"existing" else Conflict(known)

    async def confirm_key(self, partition: int, run_id: str, key: Idempotency) -> None:
        """The run that has the key is stored: from now on it is not created again."""
        await self._ask(partition, run_id, key, "made")

    async def _ask(self, partition: int, run_id: str, key: Idempotency, made: str) -> Any:
        prefix = self._prefixes[partition]
        command = self._scripts.reserve_key.call(
            prefix, run_id=run_id, idem=key.key_hash, idem_ms=key.keep_ms, fingerprint=key.fingerprint, made=made
        )
        return await self._patience.give(self._transport.send(prefix, command))
