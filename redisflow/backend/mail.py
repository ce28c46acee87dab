"""Mailboxes on Redis: a hash for each run that has mail, whose fields are the numbers of the items."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from redisflow.backend import replies
from redisflow.contract.mail import Delivery, MailBatch
from redisflow.contract.values import Answer
from redisflow.mail import BufferedNames, decode_mail, encode_signal, signal_address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redisflow.backend.patience import Patience
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport

SIGNALS_AT_MOST = 1_000
"""Items in a run's mailbox. Beyond, senders are refused: nobody reads there."""
PIECE_BYTES = 256 * 1024
"""Of mail in one reply, but for the last item: a signal has up to 1 MiB."""
RUNS_A_LOOK = 20
ITEMS_LOOKED_AT = 20
"""Of each mailbox."""
LOOK_BYTES = 512 * 1024
"""Of the items that one call looks at, which Redis reads whole: about half a millisecond of its time. To find which of
them are the first takes up to three: a thousand numbers are put in order."""
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

    async def list_buffered(self, run_ids: Sequence[str]) -> list[BufferedNames]:
        """Of these runs, those that have mail, with the names of the signals among it."""
        of_partition: dict[str, list[str]] = defaultdict(list)
        for run_id in run_ids:
            of_partition[self._prefix_of(run_id)].append(run_id)
        pieces = [
            (prefix, runs[first : first + RUNS_A_LOOK])
            for prefix, runs in of_partition.items()
            for first in range(0, len(runs), RUNS_A_LOOK)
        ]
        answers = await asyncio.gather(*(self._look(*piece) for piece in pieces))
        return [found for answer in answers for found in answer]

    async def _look(self, prefix: str, run_ids: list[str]) -> list[BufferedNames]:
        command = self._scripts.list_buffered.call(prefix, run_ids, most=ITEMS_LOOKED_AT, bytes=LOOK_BYTES)
        _, *rows = await self._patience.give(self._transport.send(prefix, command))
        return [
            BufferedNames(
                run_id=replies.shown(run_id),
                unread=unread,
                names=dict(zip(map(replies.shown, flat[::2]), flat[1::2], strict=True)),
            )
            for run_id, unread, *flat in rows
        ]

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
