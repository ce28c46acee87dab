"""Signals that were sent to a run and that its code has not taken: those it will wait for later, and those misspelt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from redisflow import codec
from redisflow.contract import Backend


@dataclass(frozen=True, slots=True)
class BufferedSignal:
    """One of them."""

    number: int
    """Its place in the order in which mail came to the run."""
    name: str
    data: Any = field(repr=False)


async def list_buffered(backend: Backend, run_id: str, most: int) -> Sequence[BufferedSignal]:
    """The oldest first. See `RedisFlow.buffered_signals`."""
    found: list[BufferedSignal] = []
    after, more = 0, True
    while more and len(found) < most:
        batch = await backend.mail.read_mail(run_id, after)
        found += [
            BufferedSignal(item.number, item.name, codec.decode(item.payload))
            for item in batch.mail
            if item.kind == "signal"
        ]
        after, more = batch.last, batch.more
    return found[:most]
