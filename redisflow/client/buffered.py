"""Signals that were sent to a run and that its code has not taken: those it will wait for later, and those misspelt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from redisflow import codec
from redisflow.contract import Backend

BYTES = 1 << 20
"""Of data, after which no more is read: a mailbox may hold 1,000 signals of that size each."""


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
    after, more, size = 0, True, 0
    while more and len(found) < most and size < BYTES:
        batch = await backend.mail.read_mail(run_id, after)
        found += [
            BufferedSignal(item.number, item.name, codec.decode(item.payload))
            for item in batch.mail
            if item.kind == "signal"
        ]
        after, more = batch.last, batch.more
        size += sum(len(item.payload) for item in batch.mail)
    return found[:most]
