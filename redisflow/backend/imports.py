"""Storing runs that ended elsewhere, on Redis: put aside in pieces, and made a run by one script."""

from __future__ import annotations

import secrets
from itertools import chain
from typing import TYPE_CHECKING, Any

from redisflow.backend import replies
from redisflow.backend.pieces import KEEP_STAGED_MS, pieces_of
from redisflow.contract import EndedRun, Imported, KnownEnd, Mark
from redisflow.errors import RecordGone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from redisflow.backend.patience import Patience
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport

STAGED_AGAIN = 2
"""How often a run is put aside once more where the server has lost it before it was stored."""


class ImportsOnRedis:
    """See `ImportCalls`. One object per backend."""

    def __init__(
        self,
        transport: Transport,
        scripts: Scripts,
        patience: Patience,
        prefix_of: Callable[[str], str],
    ) -> None:
        """All that it needs to call."""
        self._transport = transport
        self._scripts = scripts
        self._patience = patience
        self._prefix_of = prefix_of

    async def find_end(self, run_id: str) -> KnownEnd | None:
        """See `ImportCalls`."""
        prefix = self._prefix_of(run_id)
        command = ("HMGET", f"{prefix}run:{run_id}", "w", "s", "c", "t", "h")
        values = await self._patience.give(self._transport.send(prefix, command))
        workflow, status, created, ended, mark = (None if value is None else value.decode() for value in values)
        if status is None:
            return None
        records = Mark.parse(mark).records if mark else 0
        return KnownEnd(workflow or "", status, int(created or 0), None if ended is None else int(ended), records)

    async def import_run(self, run: EndedRun) -> Imported:
        """See `ImportCalls`."""
        for _ in range(1 + STAGED_AGAIN):
            match await self._store(run):
                case [b"imported"]:
                    return Imported("imported")
                case [b"existing"]:
                    return Imported("existing")
                case [b"ahead", now_ms]:
                    return Imported("ahead", now_ms)
                case _:  # unstaged
                    continue
        msg = f"what was put aside of run {run.run_id} is gone, and nothing of it was stored: import it again"
        raise RecordGone(msg)

    async def _store(self, run: EndedRun) -> Any:
        prefix, operation = self._prefix_of(run.run_id), secrets.token_hex(8)
        payloads = {"i": run.input, **{str(number): record for number, record in enumerate(run.records)}}
        if run.outcome is not None:
            payloads["o" if run.status == "succeeded" else "er"] = run.outcome
        events = (
            (event.id, event.kind, event.data, event.step or "", "" if event.attempt is None else event.attempt)
            for event in run.events
        )
        for what, parts in (("run", payloads.items()), ("state", run.state.items()), ("events", events)):
            await self._stage(prefix, operation, what, parts)
        mark = Mark(len(run.records), len(run.input) + sum(map(len, run.records)))
        command = self._scripts.import_run.call(
            prefix,
            chain.from_iterable({"h": str(mark), **run.fields}.items()),
            run_id=run.run_id,
            operation=operation,
            workflow=run.workflow,
            status=run.status,
            created=run.created_at_ms,
            ended=run.finished_at_ms,
            queue="" if run.queue == "default" else run.queue,
            tags=run.tags,
            parent=run.parent or "",
            payloads=len(payloads),
            state=len(run.state),
            events=len(run.events),
        )
        return await self._patience.give(self._transport.send(prefix, command))

    async def _stage(self, prefix: str, operation: str, what: str, parts: Iterable[tuple[Any, ...]]) -> None:
        for piece in pieces_of(parts):
            command = self._scripts.stage_import.call(
                prefix, piece, operation=operation, what=what, keep_ms=KEEP_STAGED_MS
            )
            replies.expect_ok(await self._patience.give(self._transport.send(prefix, command, bulk=True)))
