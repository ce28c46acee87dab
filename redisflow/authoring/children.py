"""What workflow code says of a child run where it asks for one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypedDict, TypeVar

from redisflow.authoring.definition import WorkflowSpec
from redisflow.authoring.keywords import refuse_unknown
from redisflow.durations import Duration, to_ms
from redisflow.names import check_name, check_step_name
from redisflow.tags import Tags, encode_tags

In = TypeVar("In")
Out = TypeVar("Out")


NESTED_AT_MOST = 16
"""Runs above a child: of a run that nobody waits for it is 0, of its child 1."""


class Specified(Protocol[In, Out]):
    """A workflow that can be run as a child: what `define_workflow` returns."""

    @property
    def spec(self) -> WorkflowSpec[In, Out]:
        """How it is declared."""
        ...


class ChildOptions(TypedDict, total=False):
    """What may be said of a child run.

    It has the limits, the priority and the fair key of its own workflow and queue, and nothing of its parent's. Rules
    of starting (unique, debounce, throttle) are for callers: a child starts without them.
    """

    name: str
    """Of the step; by default the workflow's."""
    timeout: Duration | None
    """The child fails when it has not ended by then: its own deadline."""
    version: str | None
    """By default the one with which the workflow was declared."""
    queue: str | None
    """By default the one on which the workflow was declared."""
    spread: bool
    """Let it live in any partition, so that many children share the work of several servers; else beside its parent."""
    on_parent_end: Literal["cancel", "leave"]
    """What becomes of it when its parent ends, or gives it up, first: by default it is canceled."""
    tags: Tags
    """To find it: at most 32 names with values; none of its parent's (`tags=step.info.tags` hands them on)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildTerms:
    """What is said of a child run where it is asked for, resolved."""

    spec: WorkflowSpec[Any, Any]
    name: str
    timeout_ms: int | None
    version: str | None
    queue: str | None
    spread: bool
    on_parent_end: Literal["cancel", "leave"]
    tags: Tags | None


def terms_of(child: WorkflowSpec[Any, Any] | Specified[Any, Any], options: ChildOptions) -> ChildTerms:
    """What was said, resolved against how the child is declared. InvalidName, InvalidTags, TypeError, ValueError."""
    if options:
        refuse_unknown("a child run", options, ChildOptions.__optional_keys__)
    spec = child if isinstance(child, WorkflowSpec) else child.spec
    version, queue, timeout = options.get("version"), options.get("queue"), options.get("timeout")
    if version is not None:
        check_name("version", version)
    if queue is not None:
        check_name("queue", queue)
    tags = options.get("tags")
    if tags:
        encode_tags(tags)
    policy = options.get("on_parent_end", "cancel")
    if policy not in ("cancel", "leave"):
        msg = f'on_parent_end is "cancel" or "leave", not {policy!r}'
        raise ValueError(msg)
    return ChildTerms(
        spec=spec,
        name=check_step_name(options.get("name", spec.name)),
        timeout_ms=None if timeout is None else to_ms(timeout, what="timeout"),
        version=version or spec.version,
        queue=queue or spec.queue,
        spread=options.get("spread", False),
        on_parent_end=policy,
        tags=tags,
    )
