"""Starting a run: the input is validated here, in the caller, before anything is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict, TypeVar, assert_never

from redisflow.authoring.definition import WorkflowSpec
from redisflow.authoring.inputs import INPUT_LIMIT, encode_input
from redisflow.authoring.limits import (
    NO_QUEUE_LIMITS,
    UNLIMITED,
    QueueLimits,
    RunLimits,
    check_priority,
    limits_for,
)
from redisflow.authoring.starting import Debounce, OnConflict, Throttle
from redisflow.client.rules import Plan, check_key, hash_of, plan_start
from redisflow.contract import Active, Backend, Conflict, Created, Idempotency, NewRun, Started, Throttled
from redisflow.durations import Duration, Instant, When, from_ms, to_ms, to_when
from redisflow.errors import IdempotencyConflict, RunAlreadyActive, StartThrottled
from redisflow.limited import home_of, place_limits
from redisflow.names import check_name
from redisflow.run_id import new_run_id, partition_of
from redisflow.tags import Tags, encode_tags

In = TypeVar("In")


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
    unique_key: str | None
    """One run at a time: while a run of the workflow with this key has not ended, there is no other."""
    on_conflict: OnConflict | None
    """Then "existing" (the default) returns that run, "reject" raises RunAlreadyActive, "cancel_older" cancels it."""
    debounce: Debounce | None
    """Starts that come soon after one another make one run, with the last one's input."""
    throttle: Throttle | None
    """At most so many starts in a window."""
    expires_at: Instant | None
    """Canceled where no worker has taken it up by then; its result raises WorkflowExpired."""
    tags: Tags
    """To find the run again: at most 32 names with values, such as `{"customer": "c1"}`."""
    priority: int | None
    """0 to 9, the most urgent; by default the workflow's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """`RunOptions`, validated once."""

    version: str | None = None
    queue: str | None = None
    available_at: Instant | None = None
    deadline_at: Instant | None = None
    idempotency_key: str | None = None
    idempotency_ttl: Duration = "24h"
    unique_key: str | None = None
    on_conflict: OnConflict | None = None
    debounce: Debounce | None = None
    throttle: Throttle | None = None
    expires_at: Instant | None = None
    tags: Tags | None = None
    priority: int | None = None

    def __post_init__(self) -> None:
        """Refuse bad names and keys where they are written."""
        if self.version is not None:
            check_name("version", self.version)
        if self.queue is not None:
            check_name("queue", self.queue)
        if self.priority is not None:
            check_priority(self.priority)
        if self.idempotency_key is not None:
            check_key("idempotency_key", self.idempotency_key)
        if self.tags is not None:
            encode_tags(self.tags)

    @property
    def has_rules(self) -> bool:
        """Whether it says more than what, where and when."""
        return (
            self.unique_key is not None
            or self.on_conflict is not None
            or self.debounce is not None
            or self.throttle is not None
        )


AS_DECLARED = StartOptions()
"""Nothing is said that the workflow does not say."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A start that was found to be right: what is stored, under which rules, and how much of it may run."""

    input: bytes
    plan: Plan
    limits: RunLimits = UNLIMITED


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a run that comes from another one begins with: a child, a fork, what is run again."""

    run_id: str
    parent: str | None = None
    fields: Mapping[str, bytes | str | int] = field(default_factory=dict[str, "bytes | str | int"])


@dataclass(frozen=True, slots=True)
class StartedRun:
    """What is known of a run the moment it was started."""

    id: str
    workflow: str
    version: str | None
    existing: bool
    """It was there: a key (idempotency, unique, debounce, throttle) led to it, and this start made no run."""
    available_at: datetime | None = None
    """When it may begin, as far as the start was told: where a debounce or a throttle says so."""
    is_confirmed: bool = True
    """Whether as many replicas as were asked for had it when it was started."""


def prepare_start(
    spec: WorkflowSpec[In, Any],
    value: In,
    options: StartOptions,
    limit: int = INPUT_LIMIT,
    queue_limits: QueueLimits = NO_QUEUE_LIMITS,
) -> Prepared:
    """All that can be refused before anything is stored: InvalidInput, InvalidStart, InvalidLimit.

    An input has at most `limit` bytes.
    """
    data, validated = encode_input(spec, value, limit)
    queue = options.queue or spec.queue
    limits = limits_for(spec.control, spec.name, queue, validated, queue_limits, options.priority)
    return Prepared(data, plan_start(spec, validated, options), limits)


async def start_prepared(
    backend: Backend,
    spec: WorkflowSpec[Any, Any],
    prepared: Prepared,
    options: StartOptions,
    begin: Beginning | None = None,
) -> StartedRun:
    """Store a run: from then on it will reach exactly one terminal status.

    What comes from another run has an id already.
    """
    version = options.version or spec.version
    key, data, plan = options.idempotency_key, prepared.input, prepared.plan
    expires_at = options.expires_at
    if begin and "a" in begin.fields:  # it counts as taken up
        expires_at = None
    elif expires_at is None and spec.start is not None:
        expires_at = spec.start.expires_at
    run_id = begin.run_id if begin else new_id(backend, spec, prepared)
    fields: dict[str, bytes | str | int] = {**begin.fields} if begin else {}
    if options.tags:
        fields["tg"] = encode_tags(options.tags)
    if prepared.limits is not UNLIMITED:
        fields |= prepared.limits.fields
        if prepared.limits.slots:
            limits = prepared.limits.fields["lk"]
            fields["lk"] = place_limits(limits, partition_of(run_id), backend.partitions)
    new = NewRun(
        run_id=run_id,
        workflow=spec.name,
        version=version,
        queue=options.queue or spec.queue,
        input=data,
        available=_when(options.available_at, "available_at"),
        deadline=_when(options.deadline_at, "deadline_at"),
        expires=_when(expires_at, "expires_at"),
        idempotency=None if key is None else _idempotency(spec, version, key, data, options.idempotency_ttl),
        parent=begin.parent if begin else None,
        fields=fields,
    )
    observer = backend.observer
    if observer is None:
        made = await _store(backend, new, plan)
    else:
        with observer.starting(new):
            made = await _store(backend, new, plan)
    return _started(new, key, made)


async def _store(backend: Backend, new: NewRun, plan: Plan) -> Created | Started | Conflict | Active | Throttled:
    return await (backend.starts.start_run(new, plan.rules) if plan.rules else backend.create_run(new))


def new_id(backend: Backend, spec: WorkflowSpec[Any, Any], prepared: Prepared) -> str:
    """The id of a run that is to be started so."""
    partitions = backend.partitions
    return new_run_id(0 if partitions == 1 else _partition_of(spec.name, prepared.plan, prepared.limits, partitions))


def _partition_of(workflow: str, plan: Plan, limits: RunLimits, partitions: int) -> int:
    """A run lives where its keys say, so that all who use a key meet in one place; or else where its limits do."""
    if plan.keys or not limits.slots:
        return plan.partition(workflow, partitions)
    return home_of(limits.fields["lk"], partitions)


def _started(new: NewRun, key: str | None, made: Created | Started | Conflict | Active | Throttled) -> StartedRun:
    workflow, version = new.workflow, new.version
    match made:
        case Created():
            return StartedRun(made.run_id, workflow, version, made.existing, is_confirmed=made.is_confirmed)
        case Started():
            available_at = None if made.available_at_ms is None else from_ms(made.available_at_ms)
            return StartedRun(made.run_id, workflow, version, made.existing, available_at, made.is_confirmed)
        case Conflict():
            msg = f"idempotency key {key!r} already started run {made.run_id} of {workflow!r} with another input"
            raise IdempotencyConflict(msg, made.run_id)
        case Active():
            msg = f"run {made.run_id} of {workflow!r} has this unique key and has not ended: wait for it, or cancel it"
            raise RunAlreadyActive(msg, made.run_id)
        case Throttled():
            free_at = from_ms(made.free_at_ms)
            msg = f"{workflow!r} was started as often as its throttle allows: try again from {free_at.isoformat()} on"
            raise StartThrottled(msg, made.run_id, free_at)
        case _:
            assert_never(made)


def _idempotency(
    spec: WorkflowSpec[Any, Any], version: str | None, key: str, data: bytes, ttl: Duration
) -> Idempotency:
    return Idempotency(
        key_hash=hash_of(spec.name.encode(), key.encode()),
        fingerprint=hash_of(spec.name.encode(), (version or "").encode(), data),
        keep_ms=max(1, to_ms(ttl, what="idempotency_ttl")),
    )


def _when(value: Instant | None, what: str) -> When | None:
    return None if value is None else to_when(value, what=what)
