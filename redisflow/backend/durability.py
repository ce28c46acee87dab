"""Whether what was acknowledged is safe, on Redis: see `DurabilityCalls`."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any

from redisflow.durability import Durability, Level, Loss
from redisflow.durations import from_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redisflow.backend.acknowledgements import Acknowledgements, FoundLoss
    from redisflow.backend.patience import Patience
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport

LOSSES_KEPT = 100


class DurabilityOnRedis:
    """One object per open backend."""

    def __init__(
        self,
        transport: Transport,
        scripts: Scripts,
        patience: Patience,
        prefixes: Sequence[str],
        prefix_of: Callable[[str], str],
        durability: Durability,
        acks: Acknowledgements,
    ) -> None:
        """All that it needs to call; from now on losses that `acks` finds are kept."""
        self._transport = transport
        self._scripts = scripts
        self._patience = patience
        self._prefixes = prefixes
        self._prefix_of = prefix_of
        self._durability = durability
        self._acks = acks
        self._name = f"{socket.gethostname()[:40]}-{os.getpid()}"
        acks.on_loss = self._note

    @property
    def level(self) -> Level:
        """What an acknowledgement is worth here."""
        return self._durability.level

    @property
    def unconfirmed_batches(self) -> int:
        """How many batches of this connection too few replicas confirmed in time."""
        return self._acks.unconfirmed

    @property
    def losses(self) -> int:
        """How often this connection found that acknowledged writes were lost."""
        return self._acks.losses

    def _note(self, loss: FoundLoss) -> None:
        """Keep it where everybody can see it. Where that fails, it is in this process's log."""
        command = self._scripts.note_loss.call(
            loss.prefix,
            seen_by=self._name,
            batches=loss.batches,
            after_ms=-1 if loss.after_s is None else round(loss.after_s * 1000),
            until_ms=round(loss.until_s * 1000),
            most=LOSSES_KEPT,
        )
        self._transport.send(loss.prefix, command).add_done_callback(_forget)

    async def confirm(self, run_id: str) -> bool | None:
        """Whether enough replicas have the run as it is now; waits for them once. None where it is not stored."""
        prefix = self._prefix_of(run_id)
        asked = self._transport.send(prefix, self._scripts.confirm_run.call(prefix, run_id=run_id))
        (word,) = await self._patience.give(asked)
        return None if word == b"missing" else bool(getattr(asked, "is_confirmed", True))

    async def list_losses(self) -> Sequence[Loss]:
        """What was found out by any process and is still kept, the latest first."""
        sent = [self._transport.send(prefix, ("LRANGE", f"{prefix}losses", 0, -1)) for prefix in self._prefixes]
        kept: list[list[bytes]] = await self._patience.wait(_all(sent))
        losses = [_loss(partition, line) for partition, lines in enumerate(kept) for line in lines]
        return sorted(losses, key=lambda loss: loss.found_at, reverse=True)


async def _all(sent: Sequence[asyncio.Future[Any]]) -> list[Any]:
    return await asyncio.gather(*sent)


def _loss(partition: int, line: bytes) -> Loss:
    found_at_ms, after_ms, until_ms, batches, seen_by = line.decode().split(" ", 4)
    return Loss(
        partition=partition,
        found_at=from_ms(int(found_at_ms)),
        after=None if int(after_ms) < 0 else from_ms(int(after_ms)),
        until=from_ms(int(until_ms)),
        batches=int(batches),
        seen_by=seen_by,
    )


def _forget(answer: asyncio.Future[Any]) -> None:
    if not answer.cancelled():
        answer.exception()
