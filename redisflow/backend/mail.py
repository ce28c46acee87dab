"""Mailboxes on Redis: a hash for each run that has mail, whose fields are the numbers of the items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redisflow.contract.mail import Delivery, MailBatch
from redisflow.contract.values import Answer
from redisflow.mail import decode_mail, encode_signal, signal_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from redisflow.backend.patience import Patience
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport

SIGNALS_AT_MOST = 1_000
"""Items in a run's mailbox. Beyond, senders are refused: nobody reads there."""
PIECE_BYTES = 256 * 1024
"""Of mail in one reply, but for the last item: a signal has up to 1 MiB."""
_LARGE_BYTES = 64 * 1024
_DELIVERIES = {delivery.value.encode(): delivery for delivery in Delivery}


class Mailboxes:
    """Of one namespace."""

    def __init__(
        self, transport: Transport, scripts: Scripts, patience: Patience, prefix_of: Callable[[str], str]
    ) -> None:
        """`prefix_of` gives the partition of a run."""
        self._transport = transport
        self._scripts = scripts
        self._patience = patience
        self._prefix_of = prefix_of

    async def signal_run(self, run_id: str, name: str, payload: bytes, *, once: str, keep_ms: int) -> Delivery:
        """Put a signal into a run's mailbox."""
        prefix, item = self._prefix_of(run_id), encode_signal(name, payload)
        command = self._scripts.signal_run.call(
            prefix, run_id=run_id, name=signal_address(name), item=item, once=once, ms=keep_ms, most=SIGNALS_AT_MOST
        )
        reply = await self._patience.give(self._transport.send(prefix, command, bulk=len(item) > _LARGE_BYTES))
        return _DELIVERIES[reply[0]]

    def read_mail(self, run_id: str, after: int) -> Answer[MailBatch]:
        """Read the mail of a run that came after the one of this number."""
        prefix = self._prefix_of(run_id)
        command = self._scripts.read_mail.call(prefix, run_id=run_id, after=after, bytes=PIECE_BYTES)
        return self._transport.send(prefix, command, _batch, bulk=True)

    async def read_all(self, run_id: str) -> list[Any]:
        """Everything that lies there."""
        found: list[Any] = []
        after, more = 0, True
        while more:
            batch = await self.read_mail(run_id, after)
            found += batch.mail
            after, more = batch.last, batch.more
        return found


def _batch(reply: list[Any]) -> MailBatch:
    _, last, more, *items = reply
    mail = [decode_mail(number, item) for number, item in zip(items[::2], items[1::2], strict=True)]
    return MailBatch(mail, last, bool(more))
