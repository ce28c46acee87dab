"""Long histories, read in pieces: one read of 30 MB would keep the server from everybody else for 0.1 s.

A record is never changed, so pieces that are read one after the other are one consistent history.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from redisflow.backend import replies
from redisflow.contract import Mark
from redisflow.errors import BackendError, BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport

PIECE_BYTES = 256 * 1024
_FIELDS = (
    *("w", "v", "q", "c", "a", "t", "s", "e", "f", "h", "x", "d", "dl", "xp", "av"),
    *("k", "ca", "er", "o", "p", "i", "pa", "tg", "rt", "ff", "lk", "pr", "fp", "sc", "sa", "ct", "vd", "dp"),
    *("uq", "ev", "im"),
)


class Histories:
    """Reads the runs of one namespace."""

    def __init__(self, transport: Transport, scripts: Scripts) -> None:
        """All that it needs to read."""
        self._transport = transport
        self._scripts = scripts

    async def _complete(self, prefix: str, run_id: str, fields: dict[bytes, bytes]) -> None:
        if b"i" not in fields:
            value = await self._transport.send(prefix, ("HGET", f"{prefix}run:{run_id}", "i"), bulk=True)
            if value is None:
                return
            fields[b"i"] = value
        if b"h" in fields:
            await self._read_records(prefix, run_id, Mark.parse(fields[b"h"].decode()).records, fields)

    async def read(self, prefix: str, run_id: str) -> Mapping[bytes, bytes] | None:
        """The whole hash of a run; None where it is not stored."""
        key = f"{prefix}run:{run_id}"
        mark = await self._transport.send(prefix, ("HGET", key, "h"))
        if mark is None:
            return None
        if Mark.parse(mark.decode()).bytes <= PIECE_BYTES:
            return replies.named(await self._transport.send(prefix, ("HGETALL", key), bulk=True)) or None
        values = await self._transport.send(prefix, ("HMGET", key, *_FIELDS), bulk=True)
        fields = {name.encode(): value for name, value in zip(_FIELDS, values, strict=True) if value is not None}
        if b"h" not in fields:
            return None
        count = Mark.parse(fields[b"h"].decode()).records
        return fields if await self._read_records(prefix, run_id, count, fields) else None

    async def _read_records(self, prefix: str, run_id: str, count: int, fields: dict[bytes, bytes]) -> bool:
        number = 0
        while number < count:
            if b"%d" % number in fields:
                number += 1
                continue
            command = self._scripts.read_records.call(
                prefix, run_id=run_id, first=number, last=count - 1, bytes=PIECE_BYTES
            )
            word, *records = await self._transport.send(prefix, command, bulk=True)
            if word != b"ok":
                return False
            for record in records:
                fields[b"%d" % number] = record
                number += 1
        return True

    async def complete_all(self, prefix: str, given: list[tuple[str, dict[bytes, bytes]]]) -> None:
        """Read what did not come with the claims of one reply; a run that is gone meanwhile stays as it came."""
        await asyncio.gather(*(self._complete_one(prefix, run_id, fields) for run_id, fields in given))

    async def _complete_one(self, prefix: str, run_id: str, fields: dict[bytes, bytes]) -> None:
        try:
            await self._complete(prefix, run_id, fields)
        except BackendUnavailable:
            raise
        except BackendError:
            return  # it stays as it came, and the others go on


def came_whole(fields: dict[bytes, bytes]) -> bool:
    """Whether nothing of this run is left to be read."""
    if b"i" not in fields:
        return False
    mark = fields.get(b"h")
    if mark is None:  # a first claim
        return True
    count = int(mark.partition(b":")[0])
    return not count or b"%d" % (count - 1) in fields
