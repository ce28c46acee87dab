"""A workflow as it is declared: its name, its types, and the function that implements it.

A spec can be shared by a process that only starts runs and one that implements them. Types are resolved once, where
the workflow is declared, so that a mistake shows at import and not at night.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack, cast, overload

from redisflow.authoring.keywords import refuse_unknown
from redisflow.authoring.limits import NO_CONTROL, FlowControl, FlowControlOptions
from redisflow.authoring.starting import StartRules
from redisflow.errors import InvalidWorkflow
from redisflow.names import check_name
from redisflow.payload import PayloadType, input_annotation, return_annotation
from redisflow.retention import Retention, encode_policy
from redisflow.retry import RetryPolicy
from redisflow.schedule import ScheduleDefinition

In = TypeVar("In")
Out = TypeVar("Out")

DEFAULT_QUEUE = "default"
CHILDREN_AT_MOST = 10_000
"""Child runs of one run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSpec(Generic[In, Out]):
    """What a caller needs to know of a workflow: enough to start a run and to read its result with its type."""

    name: str
    version: str | None = None
    queue: str = DEFAULT_QUEUE
    input: PayloadType[In]
    output: PayloadType[Out]
    takes_input: bool = True
    start: StartRules | None = None
    """What each of its starts says unless it says otherwise."""
    control: FlowControl = NO_CONTROL
    """How much of it may run."""

    def __post_init__(self) -> None:
        """Refuse bad names where they are written."""
        check_name("workflow", self.name)
        check_name("queue", self.queue)
        if self.version is not None:
            check_name("version", self.version)

    def __str__(self) -> str:
        """For messages: `name` or `name@version`."""
        return self.name if self.version is None else f"{self.name}@{self.version}"


@overload
def define_workflow_spec(
    name: str,
    *,
    input: type[In],
    output: type[Out],
    version: str | None = None,
    queue: str = DEFAULT_QUEUE,
    start: StartRules | None = None,
    **control: Unpack[FlowControlOptions],
) -> WorkflowSpec[In, Out]: ...
@overload
def define_workflow_spec(
    name: str,
    *,
    input: type[In],
    output: None = None,
    version: str | None = None,
    queue: str = DEFAULT_QUEUE,
    start: StartRules | None = None,
    **control: Unpack[FlowControlOptions],
) -> WorkflowSpec[In, None]: ...
@overload
def define_workflow_spec(
    name: str,
    *,
    input: None = None,
    output: type[Out],
    version: str | None = None,
    queue: str = DEFAULT_QUEUE,
    start: StartRules | None = None,
    **control: Unpack[FlowControlOptions],
) -> WorkflowSpec[None, Out]: ...
@overload
def define_workflow_spec(
    name: str,
    *,
    input: None = None,
    output: None = None,
    version: str | None = None,
    queue: str = DEFAULT_QUEUE,
    start: StartRules | None = None,
    **control: Unpack[FlowControlOptions],
) -> WorkflowSpec[None, None]: ...


def define_workflow_spec(
    name: str,
    *,
    input: type[Any] | None = None,  # noqa: A002  # the field's word, keyword only
    output: type[Any] | None = None,
    version: str | None = None,
    queue: str = DEFAULT_QUEUE,
    start: StartRules | None = None,
    **control: Unpack[FlowControlOptions],
) -> WorkflowSpec[Any, Any]:
    """Declare a workflow apart from its code. Without `input` it takes none, without `output` it gives None.

    `start` are the rules under which it is started, unless a start says otherwise.
    """
    refuse_unknown("define_workflow_spec", control, FlowControlOptions.__optional_keys__)
    return WorkflowSpec(
        name=name,
        version=version,
        queue=queue,
        input=PayloadType.of(type(None) if input is None else input),
        output=PayloadType.of(output),
        takes_input=input is not None,
        start=start,
        control=FlowControl.of(control) if control else NO_CONTROL,
    )


class WorkflowOptions(TypedDict, total=False):
    """How a workflow's code is run, said where it is implemented."""

    retry: RetryPolicy | None
    """The workflow's own policy: none unless given, and not a default for its steps."""
    retention: Retention | None
    """How long its finished runs are kept: a day, and failed ones a week, unless given."""
    on_drift: Literal["strict", "warn"]
    """Where the code does not match a run's record: suspend the run (the default), or warn and go on where it can."""
    max_steps: int
    """A run that makes more calls than that (10,000 unless given, children apart: 10,000 as well) fails: it should
    continue as new."""
    warn_steps: int
    """From so many calls on (1,000) the worker's log says so."""


class DefinitionOptions(WorkflowOptions, FlowControlOptions, total=False):
    """All that `define_workflow` takes besides."""


_DEFINITION_KEYWORDS = frozenset({"version", "queue", "start", "schedule", *DefinitionOptions.__optional_keys__})


def split_options(given: DefinitionOptions) -> tuple[WorkflowOptions, FlowControlOptions]:
    """How its code is run, and how much of it. TypeError where a keyword is neither."""
    refuse_unknown("define_workflow", given, _DEFINITION_KEYWORDS)
    known = WorkflowOptions.__optional_keys__
    options = {name: value for name, value in given.items() if name in known}
    control = {name: value for name, value in given.items() if name not in known}
    return cast("WorkflowOptions", options), cast("FlowControlOptions", control)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowDefinition(Generic[In, Out]):
    """A spec with the function that implements it, the workflow's own retry policy and schedule (none unless given)."""

    spec: WorkflowSpec[In, Out]
    fn: Callable[..., Awaitable[Out]]
    retry: RetryPolicy | None = None
    retention: Retention | None = None
    schedule: Callable[[], ScheduleDefinition] | None = None
    """Worked out anew by each worker that starts: a queue may have been given its limits in between."""
    on_drift: Literal["strict", "warn"] = "strict"
    """Whether a run whose record the code does not match is suspended, or goes on where it can."""
    max_steps: int = 10_000
    warn_steps: int = 1_000
    look_at: int = field(init=False)
    """At so many calls a run is the first time to be looked at: whether its history grows too long."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.max_steps < 1 or self.warn_steps < 1:
            msg = f"max_steps and warn_steps of workflow {self.spec} are whole numbers from 1"
            raise InvalidWorkflow(msg)
        object.__setattr__(self, "look_at", min(self.max_steps, self.warn_steps, CHILDREN_AT_MOST))
        if self.on_drift not in ("strict", "warn"):
            msg = f'on_drift of workflow {self.spec} is "strict" or "warn", not {self.on_drift!r}'
            raise InvalidWorkflow(msg)


def untyped(name: str) -> WorkflowSpec[Any, Any]:
    """A workflow of which no more than its name is known: its values are plain data."""
    return WorkflowSpec(name=name, input=PayloadType.of(None), output=PayloadType.of(None))


def spec_of(
    name: str,
    fn: Callable[..., Any],
    *,
    version: str | None,
    queue: str,
    start: StartRules | None = None,
    control: FlowControl = NO_CONTROL,
) -> WorkflowSpec[Any, Any]:
    """The spec that a workflow function's own annotations declare."""
    annotation = input_annotation(fn)
    takes_input = annotation is not type(None)
    return WorkflowSpec(
        name=name,
        version=version,
        queue=queue,
        input=PayloadType.of(annotation),
        output=PayloadType.of(return_annotation(fn)),
        takes_input=takes_input,
        start=start,
        control=control,
    )


@dataclass(slots=True)
class Registry:
    """The workflows that this process can run, by name and version."""

    _known: dict[tuple[str, str | None], WorkflowDefinition[Any, Any]] = field(
        default_factory=dict[tuple[str, str | None], WorkflowDefinition[Any, Any]]
    )

    def add(self, definition: WorkflowDefinition[Any, Any]) -> None:
        """Register it; InvalidWorkflow where its name and version are taken by another function."""
        place = (definition.spec.name, definition.spec.version)
        known = self._known.get(place)
        if known is not None and known.fn is not definition.fn:
            msg = (
                f"workflow {definition.spec} is registered twice: "
                f"{_place_of(known.fn)} and {_place_of(definition.fn)}. "
                "Give one of them another name or version"
            )
            raise InvalidWorkflow(msg)
        schedule = definition.schedule and definition.schedule()
        for other in self._known.values():
            if schedule and other.schedule and other.fn is not definition.fn and other.schedule().id == schedule.id:
                msg = (
                    f"schedule {schedule.id!r} is declared by workflows {other.spec} and {definition.spec}: declare it "
                    "with one of them, or give one an id of its own, Schedule(id=...)"
                )
                raise InvalidWorkflow(msg)
        self._known[place] = definition

    def find(self, name: str, version: str | None) -> WorkflowDefinition[Any, Any] | None:
        """The exact version first, else the one that is registered without a version."""
        return self._known.get((name, version)) or self._known.get((name, None))

    def names(self) -> list[str]:
        """Names of all workflows, sorted."""
        return sorted({name for name, _ in self._known})

    def served(self) -> list[tuple[str, str | None]]:
        """Names and versions of all workflows, sorted."""
        return sorted(self._known, key=lambda place: (place[0], place[1] or ""))

    def retention(self) -> dict[str, str]:
        """By workflow, how long its finished runs are kept, as it is stored; empty: the defaults."""
        policies: dict[str, list[Retention | None]] = {}
        for (name, _), definition in self._known.items():
            policies.setdefault(name, []).append(definition.retention)
        return {name: encode_policy(several) for name, several in policies.items()}

    def schedules(self) -> list[ScheduleDefinition]:
        """The schedules that are declared with workflows."""
        return [definition.schedule() for definition in self._known.values() if definition.schedule is not None]

    def queues(self) -> list[str]:
        """The queues on which they are declared, sorted."""
        return sorted({definition.spec.queue for definition in self._known.values()})


def _place_of(fn: Callable[..., Any]) -> str:
    code = getattr(fn, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(fn)
