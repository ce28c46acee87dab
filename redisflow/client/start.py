"""Starting a run: the input is validated here, in the caller, before anything is stored."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar

from redisflow.authoring.definition import WorkflowSpec
from redisflow.authoring.inputs import encode_input
from redisflow.client.handle import StartedRun, WorkflowHandle
from redisflow.contract import Backend, Conflict, Idempotency, NewRun
from redisflow.durations import Duration, Instant, When, to_ms, to_when
from redisflow.errors import IdempotencyConflict
from redisflow.names import check_name
from redisflow.run_id import new_run_id, partition_for_key

In = TypeVar("In")
Out = TypeVar("Out")

KEY_LIMIT = 256
"""Bytes of an idempotency key before it is hashed."""


class RunOptions(TypedDict, total=False):
    """What may be said when a run is started: the keywords of `Workflow.run` and `RedisFlow.run_workflow`."""

    version: str | None
    """Of the workflow; by default the one with which it was declared."""
    queue: str | None
    """By default the one on which the workflow was declared."""
    available_at: Instant | None
    """Not before this instant."""
    deadline_at: Instant | None
    """Failed when it is not done by then."""
    idempotency_key: str | None
    """Within `idempotency_ttl` (24 h), another start with this key gives the same run."""
    idempotency_ttl: Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """`RunOptions`, validated once."""

    version: str | None = None
    queue: str | None = None
    available_at: Instant | None = None
    deadline_at: Instant | None = None
    idempotency_key: str | None = None
    idempotency_ttl: Duration = "24h"

    def __post_init__(self) -> None:
        """Refuse bad names and keys where they are written."""
        if self.version is not None:
            check_name("version", self.version)
        if self.queue is not None:
            check_name("queue", self.queue)
        key = self.idempotency_key
        if key is not None and (not key or len(key.encode()) > KEY_LIMIT):
            msg = f"an idempotency key has 1 to {KEY_LIMIT} bytes, this one has {len(key.encode())}"
            raise ValueError(msg)


async def start_run(
    backend: Backend, spec: WorkflowSpec[In, Out], value: In, options: StartOptions
) -> WorkflowHandle[Out]:
    """Store a run and return its handle: from then on it will reach exactly one terminal status."""
    return await start_encoded(backend, spec, encode_input(spec, value), options)


async def start_encoded(
    backend: Backend,
    spec: WorkflowSpec[Any, Out],
    data: bytes,
    options: StartOptions,
    *,
    run_id: str | None = None,
    parent: str | None = None,
) -> WorkflowHandle[Out]:
    """The same with an input as `encode_input` made it. A child run has an id and a parent already."""
    version = options.version or spec.version
    key = options.idempotency_key
    new = NewRun(
        run_id=run_id or new_run_id(_partition_of(spec, key, backend.partitions)),
        workflow=spec.name,
        version=version,
        queue=options.queue or spec.queue,
        input=data,
        available=_when(options.available_at, "available_at"),
        deadline=_when(options.deadline_at, "deadline_at"),
        idempotency=None if key is None else _idempotency(spec, version, key, data, options.idempotency_ttl),
        parent=parent,
    )
    created = await backend.create_run(new)
    if isinstance(created, Conflict):
        msg = f"idempotency key {key!r} already started run {created.run_id} of {spec.name!r} with another input"
        raise IdempotencyConflict(msg, created.run_id)
    return WorkflowHandle(backend, spec, StartedRun(created.run_id, spec.name, version, created.existing))


def _partition_of(spec: WorkflowSpec[Any, Any], key: str | None, partitions: int) -> int:
    if partitions == 1:
        return 0
    # A keyed run lives where its key says, so that all who use the key meet in one place.
    return random.randrange(partitions) if key is None else partition_for_key(f"{spec.name}\0{key}", partitions)  # noqa: S311  # spreading


def _idempotency(
    spec: WorkflowSpec[Any, Any], version: str | None, key: str, data: bytes, ttl: Duration
) -> Idempotency:
    return Idempotency(
        key_hash=_hash(spec.name.encode(), key.encode()),
        fingerprint=_hash(spec.name.encode(), (version or "").encode(), data),
        keep_ms=max(1, to_ms(ttl, what="idempotency_ttl")),
    )


def _hash(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


def _when(value: Instant | None, what: str) -> When | None:
    return None if value is None else to_when(value, what=what)
