"""What a person does to a run that exists: pause, resume, retry it in place, run it again, fork it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from redisflow import codec
from redisflow.authoring.definition import WorkflowSpec
from redisflow.authoring.limits import UNLIMITED
from redisflow.client.copying import Fields, archive_failure, take_prefix, was_undone
from redisflow.client.rules import plan_start
from redisflow.client.start import (
    Beginning,
    Prepared,
    StartedRun,
    StartOptions,
    new_id,
    prepare_start,
    start_prepared,
)
from redisflow.durations import Instant, to_when
from redisflow.errors import CannotRecord, RecordGone, RunAlreadyActive, RunNotFound, RunStateConflict
from redisflow.limited import place_limits
from redisflow.payload import PayloadType
from redisflow.payload.lowering import lower
from redisflow.run_id import new_run_id, partition_of
from redisflow.size_limit import check_size

if TYPE_CHECKING:
    from redisflow.contract import Backend

RESULT_LIMIT = 1 << 20
"""Bytes of an edited result: as of one that a step gives."""
_ANY = PayloadType.of(None)
BUSY_S = 0.1
STAGED_AGAIN = 2
"""How often the record of a fork is put aside once more where the server has lost it before the run was there."""
RETRY_LOOKS = 50
"""How often a run that changes while it is read is read again."""


class _SameInput:
    """Stands for the input that the run has."""

    def __repr__(self) -> str:
        return "SAME_INPUT"


SAME_INPUT: Any = _SameInput()


async def pause_run(backend: Backend, run_id: str) -> None:
    """Pause a run. RunStateConflict where it has ended."""
    paused = await backend.lifecycle.pause_run(run_id)
    if paused is None:
        raise not_found(run_id, backend)
    if not paused.is_paused:
        raise _conflict(run_id, paused.status, "it cannot be paused any more")


async def resume_run(backend: Backend, run_id: str) -> None:
    """Let a paused run go on. RunStateConflict where it has ended."""
    resumed = await backend.lifecycle.resume_run(run_id)
    if resumed is None:
        raise not_found(run_id, backend)
    if not resumed.goes_on:
        raise _conflict(run_id, resumed.status, "it cannot go on")


async def retry_run(backend: Backend, run_id: str, deadline_at: Instant | None = None) -> None:
    """Let a failed run go on in place."""
    deadline = None if deadline_at is None else to_when(deadline_at, what="deadline_at")
    for _ in range(RETRY_LOOKS):
        fields = await _read(backend, run_id)
        _check_retry(run_id, fields)
        extension = archive_failure(fields)
        retry = 1 + int(fields.get(b"rt", 0))
        retried = await backend.lifecycle.retry_run(run_id, extension, retry=retry, deadline=deadline)
        if retried is None:
            raise not_found(run_id, backend)
        match retried.word:
            case "retried":
                return
            case "late":
                raise _conflict(run_id, "failed", "its deadline has passed: give a new one, retry(deadline_at=...)")
            case "already":
                raise _conflict(run_id, retried.status, "somebody else retried it meanwhile")
            case "taken":
                msg = f"run {retried.holder} has the unique key of run {run_id} and has not ended"
                raise RunAlreadyActive(msg, retried.holder)
            case "busy":
                await asyncio.sleep(BUSY_S)
            case "changed":
                continue
    raise _conflict(run_id, "failed", "its children are still being canceled, which workers do: try again")


def _check_retry(run_id: str, fields: Fields) -> None:
    status = fields[b"s"].decode().partition(":")[0]
    if status != "failed":
        raise _conflict(run_id, status, _INSTEAD_OF_RETRY.get(status, "only a failed run is retried"))
    if was_undone(fields):
        raise _conflict(run_id, status, "its compensations have undone what it did; rerun() makes a new run of it")


async def rerun(
    backend: Backend, spec: WorkflowSpec[Any, Any] | None, run_id: str, options: StartOptions
) -> StartedRun:
    """Start a new run with the input of this one; only its id need be known."""
    fields = await _read(backend, run_id)
    own = _as_stored(spec or WorkflowSpec(name="any", input=_ANY, output=_ANY), fields, options)
    data = fields[b"i"]
    prepared = Prepared(data, plan_start(own, own.input.decode(data), options))
    another_id = _id_of_another(backend, own, prepared, run_id, fields)
    begin = Beginning(another_id, fields=_origin(backend, run_id, another_id, fields, options))
    return await start_prepared(backend, own, prepared, options, begin)


async def fork_run(
    backend: Backend,
    spec: WorkflowSpec[Any, Any],
    run_id: str,
    options: StartOptions,
    *,
    from_step: str | None,
    value: Any,
    steps: Mapping[str, Any],
) -> StartedRun:
    """Start a new run that shares this one's beginning."""
    if from_step is None and not steps:
        msg = "a fork begins at a step, or after edited results: give from_step=... or steps={...}, or use rerun()"
        raise ValueError(msg)
    fields = await _read(backend, run_id)
    # The rules of its workflow are for runs that begin: this one has begun.
    own = replace(_as_stored(spec, fields, options), start=None)
    if value is SAME_INPUT:
        data = fields[b"i"]
        prepared = Prepared(data, plan_start(own, own.input.decode(data), options))
    else:
        # Limits are those of the other run.
        prepared = replace(prepare_start(own, value, options), limits=UNLIMITED)
    edits = {key: _encode_result(key, result) for key, result in steps.items()}
    prefix = take_prefix(run_id, fields, from_step, edits)
    another_id = _id_of_another(backend, own, prepared, run_id, fields)
    begun = _origin(backend, run_id, another_id, fields, options)
    begin = Beginning(another_id, fields=begun)
    if not prefix.records:
        return await start_prepared(backend, own, prepared, options, begin)
    # Its times are counted from when the other run was first claimed, and it counts as claimed: its record came.
    begun |= {"a": fields[b"a"], "f": "0:-"}
    if prefix.is_compensable:
        begun["cp"] = "1"

    async def begin_with_record() -> StartedRun:
        begun["h"] = str(await backend.lifecycle.stage_records(another_id, prefix.records))
        return await start_prepared(backend, own, prepared, options, begin)

    for _ in range(STAGED_AGAIN):
        with contextlib.suppress(RecordGone):  # the server lost what was put aside, and the start stored nothing
            return await begin_with_record()
    return await begin_with_record()


def not_found(run_id: str, backend: Backend) -> RunNotFound:
    """It is not stored: and if it was, why that may be."""
    message = f"run {run_id} is not stored in namespace {backend.namespace!r}"
    if backend.durability.losses:
        message += ". Redis lost acknowledged writes, and this run may be one of them: see flow.list_losses()"
    return RunNotFound(message)


async def _read(backend: Backend, run_id: str) -> Fields:
    fields = await backend.lifecycle.read_fields(run_id)
    if fields is None:
        raise not_found(run_id, backend)
    return fields


def _origin(
    backend: Backend, run_id: str, another_id: str, fields: Fields, options: StartOptions
) -> dict[str, bytes | str | int]:
    """What a run that comes from another one has of it: its limits; tags and a priority of its own come first."""
    begun: dict[str, bytes | str | int] = {"ff": run_id}
    begun |= {name: fields[name.encode()] for name in _INHERITED if name.encode() in fields}
    if b"lk" in fields:
        begun["lk"] = place_limits(fields[b"lk"].decode(), partition_of(another_id), backend.partitions)
    if options.priority is not None:
        begun["pr"] = options.priority
    return begun


def _id_of_another(
    backend: Backend, spec: WorkflowSpec[Any, Any], prepared: Prepared, run_id: str, fields: Fields
) -> str:
    """It lives where its keys say; what is limited, and has none, lives where the run does from which it comes."""
    is_limited = b"lk" in fields or b"fp" in fields
    if is_limited and not prepared.plan.keys:
        return new_run_id(partition_of(run_id))
    return new_id(backend, spec, prepared)


def _as_stored(spec: WorkflowSpec[Any, Any], fields: Fields, options: StartOptions) -> WorkflowSpec[Any, Any]:
    """The new run is of the workflow, version and queue of the old one, unless it is said otherwise."""
    version, queue = fields.get(b"v"), fields.get(b"q", b"default")
    return replace(
        spec,
        name=fields[b"w"].decode(),
        version=options.version or (None if version is None else version.decode()),
        queue=options.queue or queue.decode(),
    )


def _encode_result(key: str, result: Any) -> bytes:
    try:
        data = codec.encode(result, lower=lower)
    except CannotRecord as error:
        msg = f"the edited result of step {key!r} cannot be stored: {error}"
        raise CannotRecord(msg) from error
    check_size(data, RESULT_LIMIT, f"the edited result of step {key!r}")
    return data


_INHERITED = ("tg", "lk", "pr", "fp")
"""Tags, limits, priority and fair key: those of the run that is repeated, also where an input is edited."""
_INSTEAD_OF_RETRY = {
    "succeeded": "there is nothing to retry; rerun() or fork() makes a new run of it",
    "canceled": "to cancel is final; rerun() or fork() makes a new run of it",
}


def _conflict(run_id: str, status: str, why: str) -> RunStateConflict:
    return RunStateConflict(f"run {run_id} is {status}: {why}", run_id, status)
