"""Broadcasts on Redis: accepted in the home partition of their name, then carried to the others, piece by piece.

What is accepted is in the outbox of the home partition until all of it is done, so it does not matter who does it, nor
how often: each piece is done once, and answered the same to whoever brings it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from redisflow.backend.mail import SIGNALS_AT_MOST
from redisflow.contract.broadcasts import RUNS_AT_MOST, Reached
from redisflow.mail import encode_signal, hash_signal_name, signal_address
from redisflow.run_id import partition_for_key

if TYPE_CHECKING:
    from redisflow.backend.patience import Patience
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport

_LARGE_BYTES = 64 * 1024
FIRST = b"0"
LATE_MS = 600_000
"""A worker that has read the entry, and was stopped for less than that, does nothing twice."""


class Broadcasts:
    """Of one namespace."""

    def __init__(self, transport: Transport, scripts: Scripts, patience: Patience, prefixes: Sequence[str]) -> None:
        """`prefixes` are those of all partitions."""
        self._transport = transport
        self._scripts = scripts
        self._patience = patience
        self._prefixes = prefixes

    async def send(
        self, name: str, payload: bytes, *, once: str, keep_ms: int, retain_ms: int | None
    ) -> Reached | None:
        """See `BroadcastCalls`."""
        return await self._patience.wait(self._send(name, payload, once, keep_ms, retain_ms))

    async def _send(self, name: str, payload: bytes, once: str, keep_ms: int, retain_ms: int | None) -> Reached | None:
        home = self._prefixes[partition_for_key(name, len(self._prefixes))]
        signal: dict[str, Any] = {
            "name": signal_address(name),
            "hash": hash_signal_name(name),
            "item": encode_signal(name, payload),
            "once": once,
            "ms": keep_ms,
        }
        reply = await self._call(
            "send_signal",
            home,
            **signal,
            retain="" if retain_ms is None else retain_ms,
            elsewhere="yes" if len(self._prefixes) > 1 else "no",
        )
        if reply[0] == b"full":
            return None
        _, entry, until_ms, piece = reply
        reached = _Sum()
        after = reached.add(piece)
        if entry:
            await self._carry_everywhere(home, {**signal, "until_ms": until_ms}, reached, after)
            await self._done(home, entry, once, keep_ms)
        return Reached(reached.run_ids, reached.count)

    async def carry_out(self, home: str, at: bytes, entry: Mapping[bytes, bytes]) -> None:
        """Do what the entry `at` of the outbox at `home` says, in all partitions, and take it out."""
        signal: dict[str, Any] = {name: entry[name.encode()] for name in ("name", "hash", "item", "once", "ms")}
        await self._carry_everywhere(None, {**signal, "until_ms": entry[b"until"]}, _Sum(), FIRST)
        await self._done(home, at, entry[b"once"].decode(), int(entry[b"ms"]))

    async def _carry_everywhere(self, home: str | None, signal: dict[str, Any], reached: _Sum, after: bytes) -> None:
        """Carry it on at home after those that were reached already, and to the other partitions."""
        starts = ((prefix, after if prefix == home else FIRST) for prefix in self._prefixes)
        sums = await asyncio.gather(*(self._carry(prefix, signal, start) for prefix, start in starts if start))
        # Whichever node answers first: told again, it is told in the same order.
        for one in sums:
            reached.add_all(one)

    async def _carry(self, prefix: str, signal: dict[str, Any], after: bytes) -> _Sum:
        reached = _Sum()
        while after:
            _, piece = await self._call("carry_signal", prefix, **signal, after=after)
            after = reached.add(piece)
        return reached

    async def _call(self, script: str, prefix: str, **arguments: Any) -> list[Any]:
        command = self._scripts.by_name[script].call(prefix, **arguments, most=SIGNALS_AT_MOST)
        reply: list[Any] = await self._transport.send(prefix, command, bulk=len(arguments["item"]) > _LARGE_BYTES)
        return reply

    async def _done(self, home: str, entry: bytes, once: str, keep_ms: int) -> None:
        """It is done everywhere: it need not be known for much longer than its key is.

        Its entry goes first: should whoever does this die in between, nothing is left that would be done again.
        """
        await self._transport.send(home, self._scripts.clear_outbox.call(home, [entry]))
        ms = max(keep_ms, LATE_MS)
        expire = (self._transport.send(at, ("PEXPIRE", f"{at}cast:{once}", ms)) for at in self._prefixes)
        await asyncio.gather(*expire)


class _Sum:
    """Who was reached so far."""

    def __init__(self) -> None:
        self.run_ids: list[str] = []
        self.count = 0

    def add(self, piece: bytes) -> bytes:
        """One more piece; returns the number after which to go on, empty where there is no more."""
        after, *runs = piece.split(b" ")
        self.count += len(runs)
        room = RUNS_AT_MOST - len(self.run_ids)
        self.run_ids += [run_id.decode() for run_id in runs[:room]]
        return after

    def add_all(self, other: _Sum) -> None:
        """What was reached elsewhere."""
        self.count += other.count
        self.run_ids += other.run_ids[: RUNS_AT_MOST - len(self.run_ids)]
