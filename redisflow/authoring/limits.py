"""How much of a workflow or a queue may run: limits, rates, fair keys, priorities, and what they mean for one run.

They are worked out where a run is started, from its validated input, and travel with the run. A limit is decided inside
one partition, its home. As a rule the runs that it counts live there; those that live elsewhere are lent its slots.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, TypeAlias, TypedDict
from uuid import UUID

from redisflow.durations import Duration, to_ms
from redisflow.errors import InvalidLimit
from redisflow.limited import join_limits, limit_text
from redisflow.names import check_name

Key: TypeAlias = Callable[[Any], object]
"""From a validated input to a str, int, UUID or enum; None where the limit does not concern this run."""

MAX_COUNT = 1_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` runs at a time: of all, or of those for which `key` gives the same.

    A run counts while a worker holds it; while it sleeps, waits for a retry or a signal, it does not. Limits with the
    same `name` are one limit, whichever workflows and queues have them.
    """

    count: int
    key: Key | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, where it is written."""
        _check("Limit", self.count, self.key, self.name)

    @property
    def period_ms(self) -> int:
        """None: its slots come back when runs no longer run."""
        return 0


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` runs begin within any period of the length `per`: of all, or of those with the same `key`.

    A run is counted when it is first taken up by a worker, by the server's clock, and not again.
    """

    count: int
    per: Duration
    key: Key | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, where it is written."""
        _check("Rate", self.count, self.key, self.name)
        if not 1 <= self.period_ms <= 31 * 86_400_000:  # 31 days: its slots are kept for so long
            msg = f"Rate(per={self.per!r}): give a period from 1 ms to 31 days"
            raise InvalidLimit(msg)

    @property
    def period_ms(self) -> int:
        """The period."""
        return to_ms(self.per, what="per")


AnyLimit: TypeAlias = Limit | Rate


class FlowControlOptions(TypedDict, total=False):
    """What `define_workflow` and `define_workflow_spec` say of how much of a workflow may run."""

    concurrency: Limit | Sequence[Limit]
    """How many runs at a time: of the workflow, of each key, or both."""
    rate: Rate | Sequence[Rate]
    """How many runs begin in a period."""
    fair_key: Key
    """Runs of different keys take turns, however many one key has."""
    priority: int
    """0 (as a rule) to 9, the most urgent; `run(priority=...)` gives a run another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowControl:
    """`FlowControlOptions`, validated once."""

    limits: tuple[AnyLimit, ...] = ()
    fair_key: Key | None = None
    priority: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, where it is written."""
        check_priority(self.priority)
        if self.fair_key is not None and not callable(self.fair_key):
            msg = f"fair_key is a function of the input, such as lambda order: order.customer_id, not {self.fair_key!r}"
            raise InvalidLimit(msg)

    @classmethod
    def of(cls, options: FlowControlOptions) -> FlowControl:
        """From the keywords of `define_workflow`."""
        return cls(
            limits=(
                *as_limits("concurrency", options.get("concurrency", ()), Limit),
                *as_limits("rate", options.get("rate", ()), Rate),
            ),
            fair_key=options.get("fair_key"),
            priority=options.get("priority", 0),
        )


QueueLimits: TypeAlias = Mapping[str, tuple[AnyLimit, ...]]
NO_QUEUE_LIMITS: QueueLimits = {}


@dataclass(frozen=True, slots=True)
class Slot:
    """One limit, as it concerns one run."""

    hash: str
    """Says in which partition it is decided. Sorted by these, limits with a key come first."""
    count: int
    period_ms: int


@dataclass(frozen=True, slots=True)
class RunLimits:
    """What the flow control of a workflow and of its queue means for one run."""

    slots: tuple[Slot, ...] = ()
    fair: str | None = None
    priority: int = 0
    fields: Mapping[str, str] = field(init=False)
    """As the run's hash has it, but for where its limits are decided: `limited.place_limits`."""

    def __post_init__(self) -> None:
        """Only what is used is stored."""
        fields: dict[str, str] = {}
        if self.priority:
            fields["pr"] = str(self.priority)
        if self.fair is not None:
            fields["fp"] = self.fair
        if self.slots:
            fields["lk"] = join_limits(limit_text(slot.hash, slot.count, slot.period_ms) for slot in self.slots)
        object.__setattr__(self, "fields", fields)


UNLIMITED = RunLimits()


def limits_of(
    control: FlowControl, workflow: str, queue: str, value: object, queue_limits: tuple[AnyLimit, ...] = ()
) -> RunLimits:
    """Work out the limits of one run; `value` is its validated input. InvalidLimit where a key cannot be used."""
    slots = [
        *_slots("workflow", workflow, control.limits, value, workflow),
        *_slots("queue", queue, queue_limits, value, workflow),
    ]
    fair: str | None = None
    if control.fair_key is not None:
        key = _key_of(control.fair_key, "fair_key", workflow, value)
        # By queue: it is there that runs of one customer keep those of another waiting, whatever their workflow.
        fair = None if key is None else _hash("fair", queue, key)
    return RunLimits(tuple({slot.hash: slot for slot in slots}.values()), fair, control.priority)


def limits_for(
    control: FlowControl,
    workflow: str,
    queue: str,
    value: object,
    queue_limits: QueueLimits,
    priority: int | None = None,
) -> RunLimits:
    """The same where, as a rule, there is nothing to work out; `priority` is that of this run alone."""
    of_queue = queue_limits.get(queue, ())
    if control is NO_CONTROL and not of_queue and priority is None:
        return UNLIMITED
    chosen = control if priority is None else replace(control, priority=priority)
    return limits_of(chosen, workflow, queue, value, of_queue)


def _slots(scope: str, owner: str, limits: tuple[AnyLimit, ...], value: object, workflow: str) -> list[Slot]:
    slots: list[Slot] = []
    for place, limit in enumerate(limits):
        kind = type(limit).__name__
        key = "" if limit.key is None else _key_of(limit.key, f"{kind}(key=...)", workflow, value)
        if key is None:
            continue
        identity = [scope, owner, str(place), key] if limit.name is None else ["named", limit.name, key]
        # A run asks for one after the other. What all have a use for is not held while it waits for its key's.
        rank = "f" if key == "" else "0"
        slots.append(Slot(rank + _hash(kind, *identity)[1:], limit.count, limit.period_ms))
    return slots


def as_limits(what: str, given: Any, kind: type[AnyLimit] | tuple[type[AnyLimit], ...]) -> tuple[AnyLimit, ...]:
    """One or several; InvalidLimit for anything else."""
    limits: tuple[Any, ...] = (
        (given,) if isinstance(given, (Limit, Rate)) else tuple(given) if _is_list(given) else (None,)
    )
    if not all(isinstance(limit, kind) for limit in limits):
        words = (
            "Limit(10)"
            if kind is Limit
            else 'Rate(100, per="1m")'
            if kind is Rate
            else 'Limit(10) or Rate(100, per="1m")'
        )
        msg = f"{what} is {words}, with or without a key, or a list of such, not {given!r}"
        raise InvalidLimit(msg)
    return limits


def _is_list(given: object) -> bool:
    return isinstance(given, (list, tuple))


def check_priority(priority: object) -> int:
    """From 0 to 9, else InvalidLimit."""
    if not isinstance(priority, int) or isinstance(priority, bool) or not 0 <= priority <= 9:
        msg = f"a priority is a whole number from 0 (as a rule) to 9 (the most urgent), not {priority!r}"
        raise InvalidLimit(msg)
    return priority


def _check(kind: str, count: object, key: object, name: str | None) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_COUNT:
        msg = f"{kind}({count!r}): give a whole number from 1 to {MAX_COUNT}"
        raise InvalidLimit(msg)
    if key is not None and not callable(key):
        msg = f"{kind}(key={key!r}): a key is a function of the input, such as lambda order: order.customer_id"
        raise InvalidLimit(msg)
    if name is not None:
        check_name("limit", name)


def _key_of(key: Key, what: str, workflow: str, value: object) -> str | None:
    try:
        found = key(value)
    except Exception as error:
        # Not what it said: that may quote the input.
        msg = f"the {what} of workflow {workflow!r} failed on an input with {type(error).__qualname__}"
        raise InvalidLimit(msg) from error
    if isinstance(found, Enum):
        found = found.value
    if found is None or isinstance(found, str):
        return found
    if isinstance(found, (int, UUID)) and not isinstance(found, bool):
        return str(found)
    msg = f"the {what} of workflow {workflow!r} gave {type(found).__qualname__}: it gives a str, an int, a UUID or None"
    raise InvalidLimit(msg)


def _hash(*parts: str) -> str:
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=10).hexdigest()


# Last in the file, because flow control is validated when it is made.
NO_CONTROL = FlowControl()
