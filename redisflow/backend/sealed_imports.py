"""Runs that ended elsewhere, sealed for where they are stored: they come opened, as an export has them."""

from __future__ import annotations

from dataclasses import replace

from redisflow.backend.sealed_events import seal_event, seal_state
from redisflow.contract import EndedRun, ImportCalls, Imported, KnownEnd
from redisflow.sealing import Seals, numbered


class SealedImports:
    """Of one namespace."""

    def __init__(self, imports: ImportCalls, seals: Seals, within_s: float) -> None:
        """`within_s` is how long the store is waited for."""
        self._imports = imports
        self._seals = seals
        self._within_s = within_s

    async def find_end(self, run_id: str) -> KnownEnd | None:
        """See `ImportCalls`."""
        return await self._imports.find_end(run_id)

    async def import_run(self, run: EndedRun) -> Imported:
        """See `ImportCalls`. What a refused run has in a store, its sweep finds."""
        seals, run_id = self._seals, run.run_id
        parts = [("input", run.input), *numbered(0, run.records)]
        if run.outcome is not None:
            parts.append(("output" if run.status == "succeeded" else "error", run.outcome))
        data, *sealed = await seals.seal_all(parts, run_id, within_s=self._within_s)
        count = len(run.records)
        return await self._imports.import_run(
            replace(
                run,
                input=data,
                records=sealed[:count],
                outcome=sealed[count] if run.outcome is not None else None,
                events=[seal_event(seals, run_id, event) for event in run.events],
                state=seal_state(seals, run_id, run.state),
            )
        )
