"""Storing a run that ended elsewhere: the counterpart of an export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from redisflow.client.exported import id_of, read_export
from redisflow.durations import from_ms
from redisflow.errors import InvalidExport, RunExists, RunStateConflict
from redisflow.limited import place_limits
from redisflow.run_id import derived_run_id, partition_for_key, partition_of

if TYPE_CHECKING:
    from redisflow.contract import Backend, EndedRun


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """A run that is stored now."""

    id: str
    """Under which it is stored."""
    exported_id: str
    """Under which it was."""
    is_new: bool
    """False where it was imported before, and is still as it was then."""


async def import_run(
    backend: Backend, document: Mapping[str, Any], *, new_id: bool = False, dry_run: bool = False
) -> ImportedRun:
    """See `RedisFlow.import_run`."""
    exported_id = id_of(document)
    run_id = _new_id(backend, exported_id) if new_id else exported_id
    if partition_of(run_id) >= backend.partitions:
        msg = (
            f"run {run_id} is of partition {partition_of(run_id)}, and namespace {backend.namespace!r} has"
            f" {backend.partitions}: import it under a new id (new_id=True, --new-ids)"
        )
        raise InvalidExport(msg)
    run = _placed(read_export(document, run_id, backend.payload_limit), backend)
    if await _is_stored(backend, run):
        return ImportedRun(run_id, exported_id, is_new=False)
    if dry_run:
        return ImportedRun(run_id, exported_id, is_new=True)
    done = await backend.imports.import_run(run)
    if done.word == "ahead":
        raise _ahead(run, cast("int", done.now_ms))
    # Where somebody else was first, it is looked at again whose it is.
    is_new = done.word == "imported" or not await _is_stored(backend, run)
    return ImportedRun(run_id, exported_id, is_new=is_new)


async def _is_stored(backend: Backend, run: EndedRun) -> bool:
    """Whether this very run is stored. RunExists where it is another one of its id."""
    known = await backend.imports.find_end(run.run_id)
    if known is not None and known != run.end:
        raise RunExists(run.run_id, known.status)
    return known is not None


def _new_id(backend: Backend, exported_id: str) -> str:
    """The same each time, so that a file that is imported again brings nothing twice."""
    return derived_run_id(f"import {exported_id}", exported_id, partition_for_key(exported_id, backend.partitions))


def _placed(run: EndedRun, backend: Backend) -> EndedRun:
    """Its limits are decided where they live in this namespace, should it be retried."""
    limits = run.fields.get("lk")
    if limits is None:
        return run
    placed = place_limits(str(limits), partition_of(run.run_id), backend.partitions)
    return replace(run, fields={**run.fields, "lk": placed})


def _ahead(run: EndedRun, now_ms: int) -> RunStateConflict:
    latest_ms = max(run.created_at_ms, run.finished_at_ms)
    msg = (
        f"run {run.run_id} ended at {from_ms(latest_ms):%Y-%m-%d %H:%M:%S} UTC, which is later than it is on this"
        f" server ({from_ms(now_ms):%Y-%m-%d %H:%M:%S} UTC): import it when that has passed, or set the clocks"
    )
    return RunStateConflict(msg, run.run_id, run.status)
