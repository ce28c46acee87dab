"""The life of runs that exist, on Redis: a script for each transition, plain reads for the listings.

Records come opened, and go sealed for the run that will hold them; marks count what is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redisflow.backend import replies
from redisflow.backend.pieces import KEEP_STAGED_MS, pieces_of
from redisflow.contract import Mark
from redisflow.contract.lifecycle import Paused, Resumed, Retried
from redisflow.sealing import numbered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from redisflow.backend.patience import Patience
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport
    from redisflow.backend.wire import Command
    from redisflow.contract import Extension
    from redisflow.durations import When
    from redisflow.sealing import Seals


class Lifecycle:
    """One object per backend."""

    def __init__(
        self,
        transport: Transport,
        scripts: Scripts,
        patience: Patience,
        prefix_of: Callable[[str], str],
        prefixes: Sequence[str],
        seals: Seals,
        read_run: Callable[[str], Awaitable[Mapping[bytes, bytes] | None]],
    ) -> None:
        """All that it needs to call; `read_run` gives a run opened."""
        self._transport = transport
        self._scripts = scripts
        self._patience = patience
        self._prefix_of = prefix_of
        self._prefixes = prefixes
        self._seals = seals
        self._read_run = read_run

    async def _ask(self, prefix: str, command: Command) -> Any:
        return await self._patience.give(self._transport.send(prefix, command))

    async def pause_run(self, run_id: str) -> Paused | None:
        """Take the run from whoever holds it."""
        prefix = self._prefix_of(run_id)
        match await self._ask(prefix, self._scripts.pause_run.call(prefix, run_id=run_id)):
            case [b"paused"]:
                return Paused(is_paused=True, status="waiting")
            case [b"already", status]:
                return Paused(is_paused=False, status=replies.status_of(status))
            case _:
                return None

    async def resume_run(self, run_id: str) -> Resumed | None:
        """Let a paused run go on."""
        prefix = self._prefix_of(run_id)
        match await self._ask(prefix, self._scripts.resume_run.call(prefix, run_id=run_id)):
            case [b"resumed", status]:
                return Resumed(goes_on=True, status=replies.status_of(status))
            case [b"already", status]:
                return Resumed(goes_on=False, status=replies.status_of(status))
            case _:
                return None

    async def retry_run(
        self, run_id: str, extension: Extension, *, retry: int, deadline: When | None
    ) -> Retried | None:
        """Let a failed run go on in place."""
        prefix, before = self._prefix_of(run_id), extension.before
        records = await self._seal(run_id, before.records, extension.records)
        command = self._scripts.retry_run.call(
            prefix,
            records,
            run_id=run_id,
            retry=retry,
            before=str(before),
            after=str(Mark(before.records + len(records), before.bytes + sum(map(len, records)))),
            deadline=replies.when_text(deadline),
        )
        match await self._ask(prefix, command):
            case [b"retried"]:
                return Retried("retried")
            case [b"late"]:
                return Retried("late", "failed")
            case [b"changed"]:
                return Retried("changed", "failed")
            case [b"taken", holder]:
                return Retried("taken", "failed", holder.decode())
            case [b"busy"]:
                return Retried("busy", "failed")
            case [b"already", status]:
                return Retried("already", replies.status_of(status))
            case _:
                return None

    async def read_fields(self, run_id: str) -> Mapping[bytes, bytes] | None:
        """Everything that is stored of the run."""
        return await self._read_run(run_id)

    async def stage_records(self, run_id: str, records: Sequence[bytes]) -> Mark:
        """Put a record aside, in pieces."""
        prefix = self._prefix_of(run_id)
        sealed = await self._seal(run_id, 0, records)
        for piece in pieces_of(enumerate(sealed)):
            command = self._scripts.stage_fork.call(prefix, piece, run_id=run_id, keep_ms=KEEP_STAGED_MS)
            await self._patience.give(self._transport.send(prefix, command, bulk=True))
        return Mark(len(sealed), sum(map(len, sealed)))

    async def _seal(self, run_id: str, first: int, records: Sequence[bytes]) -> list[bytes]:
        return await self._seals.seal_all(numbered(first, records), run_id, within_s=self._patience.timeout_s)

    async def list_ids(
        self, partition: int, workflow: str, status: str | None, *, from_ms: float, to_ms: float, count: int
    ) -> list[tuple[str, float]]:
        """Runs of a listing between two instants."""
        prefix = self._prefixes[partition]
        command = ("ZRANGEBYSCORE", _listing(prefix, workflow, status), repr(from_ms), repr(to_ms))
        flat = iter(await self._ask(prefix, (*command, "WITHSCORES", "LIMIT", 0, count)))
        return [(member.decode(), float(score)) for member, score in zip(flat, flat, strict=True)]

    async def newest_in(self, partition: int, workflow: str, status: str | None) -> float | None:
        """The instant of the last run of a listing."""
        prefix = self._prefixes[partition]
        found = await self._ask(prefix, ("ZREVRANGE", _listing(prefix, workflow, status), 0, 0, "WITHSCORES"))
        return float(found[1]) if found else None


def _listing(prefix: str, workflow: str, status: str | None) -> str:
    return f"{prefix}runs:{workflow}" if status is None else f"{prefix}done:{workflow}:{status}"
