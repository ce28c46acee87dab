"""What people did to a run, kept among its events."""

from __future__ import annotations

import secrets

from redisflow import codec
from redisflow.client.lifecycle import not_found
from redisflow.contract import Backend
from redisflow.names import AUDIT

LONGEST = 500
"""Characters of an action, and of a name."""


async def note_action(backend: Backend, run_id: str, action: str, by: str) -> None:
    """See `RedisFlow.note`."""
    for what, text in (("action", action), ("by", by)):
        if not 0 < len(text) <= LONGEST:
            msg = f"{what} is text of 1 to {LONGEST} characters, not of {len(text)}"
            raise ValueError(msg)
    if not await backend.events.note_event(
        run_id, AUDIT, codec.encode({"action": action, "by": by, "id": secrets.token_hex(8)})
    ):
        raise not_found(run_id, backend)
