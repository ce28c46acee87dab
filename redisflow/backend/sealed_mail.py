"""Mailboxes whose payloads are sealed, and broadcasts.

A signal is sealed for the run that it is sent to, a broadcast for whoever waits for its name: it never goes to a store,
whose objects belong to one run. The end of a child comes as the child's own script wrote it, sealed as that run's
output or error, so it is opened as that. The reply of `step.redis` is written by the server, which seals nothing: the
record that takes it is sealed like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from redisflow.contract import Answer, BroadcastCalls, Delivery, MailBatch, MailCalls, Reached
from redisflow.mail import BufferedNames, Mail
from redisflow.sealing import Seals

T = TypeVar("T")


class SealedMail:
    """Of one namespace."""

    def __init__(
        self,
        mail: MailCalls,
        seals: Seals,
        keep: Callable[[asyncio.Task[MailBatch]], asyncio.Task[MailBatch]],
        within_s: float,
    ) -> None:
        """`keep` looks after tasks, `within_s` is how long the store is waited for."""
        self._mail = mail
        self._seals = seals
        self._keep = keep
        self._within_s = within_s

    async def signal_run(self, run_id: str, name: str, payload: bytes, *, once: str, keep_ms: int) -> Delivery:
        """Put a signal into a run's mailbox; once within `keep_ms` for each `once` (a hash)."""
        sealed = await self._seals.seal(payload, run_id, _signal(name), within_s=self._within_s)
        return await self._mail.signal_run(run_id, name, sealed, once=once, keep_ms=keep_ms)

    def read_mail(self, run_id: str, after: int) -> Answer[MailBatch]:
        """Read the mail of a run that came after the one of this number, a bounded piece at a time."""

        async def read() -> MailBatch:
            batch = await self._mail.read_mail(run_id, after)
            opened = await self.open_all(run_id, batch.mail)
            return replace(batch, mail=opened)

        return self._keep(asyncio.create_task(read()))

    async def list_buffered(self, run_ids: Sequence[str]) -> list[BufferedNames]:
        """Of these runs, those that have mail, with the names of the signals among it: names are not sealed."""
        return await self._mail.list_buffered(run_ids)

    async def open_all(self, run_id: str, mail: Sequence[Mail]) -> list[Mail]:
        """The same items, opened."""
        return [await self._open(run_id, item) for item in mail]

    async def _open(self, run_id: str, item: Mail) -> Mail:
        if item.kind == "redis":
            return item
        owner, field = place_of(run_id, item)
        return replace(item, payload=await self._seals.open(item.payload, owner, field, within_s=self._within_s))


class SealedBroadcasts:
    """Of one namespace."""

    def __init__(self, broadcasts: BroadcastCalls, seals: Seals) -> None:
        """`broadcasts` sends what is sealed here."""
        self._broadcasts = broadcasts
        self._seals = seals

    async def send(
        self, name: str, payload: bytes, *, once: str, keep_ms: int, retain_ms: int | None
    ) -> Reached | None:
        """Give a signal to all runs that wait for it: see `BroadcastCalls`."""
        sealed = await asyncio.to_thread(self._seals.seal_now, payload, "", _signal(name), shared="broadcast")
        return await self._broadcasts.send(name, sealed, once=once, keep_ms=keep_ms, retain_ms=retain_ms)


def place_of(run_id: str, item: Mail) -> tuple[str, str]:
    """The run for which an item was sealed, and as which of its fields."""
    if item.kind == "signal":
        return run_id, _signal(item.name)
    return item.name, "output" if item.status == "succeeded" else "error"


def _signal(name: str) -> str:
    return f"signal {name}"
