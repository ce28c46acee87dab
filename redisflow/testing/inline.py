"""`run_inline`: a workflow in a unit test, without any server: milliseconds instead of a worker."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeGuard, TypeVar, overload

from redisflow import codec
from redisflow.authoring.definition import WorkflowDefinition, WorkflowSpec
from redisflow.authoring.inputs import encode_input, encode_signal_data
from redisflow.client.workflow import Workflow
from redisflow.errors import InvalidWorkflow, WorkflowFailed
from redisflow.failure import Failure
from redisflow.mail import Mail
from redisflow.run_id import new_run_id
from redisflow.run_views import view_steps
from redisflow.runs import StepRun
from redisflow.testing.inline_run import Crash, Inside, Player
from redisflow.testing.stored_run import StoredRun

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True, slots=True)
class InlineEvent:
    """As `Event`, but for its id and its time."""

    kind: str
    data: Any
    step: str | None
    attempt: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineRun(Generic[Out]):
    """How a run ended, and what its steps did."""

    id: str
    workflow: str
    status: str
    """succeeded, failed, or suspended where code and record do not match."""
    output: Out | None = field(repr=False)
    error: Failure | None
    steps: tuple[StepRun, ...]
    starts: tuple[tuple[str, int], ...]
    """Key and attempt of each step body that was started, in the order of their starts."""
    commits: int
    """How often its worker wrote: the points at which a crash makes a difference."""
    sent: tuple[tuple[str, str, Any], ...] = field(repr=False)
    """Run id, name and plain data of each signal that it sent; the id is empty for a broadcast."""
    events: tuple[InlineEvent, ...] = field(repr=False)
    """What it said with `step.emit` and `step.log`."""
    state: Mapping[str, Any] = field(repr=False)
    """What it set with `step.set_state`, as plain data."""

    def result(self) -> Out:
        """Its output; WorkflowFailed where it has none."""
        if self.error is not None:
            raise WorkflowFailed(self.id, self.workflow, self.error)
        return self.output  # type: ignore[return-value]  # None is an output, too

    def step(self, key: str) -> StepRun | None:
        """The step of this key, if the run came to it."""
        return next((step for step in self.steps if step.key == key), None)


@overload
async def run_inline(
    workflow: Workflow[None, Out],
    value: None = None,
    /,
    *,
    steps: Mapping[str, Any] | None = None,
    signals: Mapping[str, Any] | None = None,
    children: Mapping[str, Any] | None = None,
    resources: Any = None,
) -> InlineRun[Out]: ...
@overload
async def run_inline(
    workflow: Workflow[In, Out],
    value: In,
    /,
    *,
    steps: Mapping[str, Any] | None = None,
    signals: Mapping[str, Any] | None = None,
    children: Mapping[str, Any] | None = None,
    resources: Any = None,
) -> InlineRun[Out]: ...


async def run_inline(
    workflow: Workflow[Any, Any],
    value: Any = None,
    /,
    *,
    steps: Mapping[str, Any] | None = None,
    signals: Mapping[str, Any] | None = None,
    children: Mapping[str, Any] | None = None,
    resources: Any = None,
) -> InlineRun[Any]:
    """Run a workflow to its end in this process, with the engine that workers use and no server at all.

    Time is skipped: sleeps, retries and timeouts of waits are over at once; only bodies take their time. `steps`
    replaces the bodies of steps by name, each with a function of the same arguments, an error to raise, or a value (and
    says what `step.redis` gives, where a function takes its keys and arguments); a name that the run never came to is
    warned of. `signals` are in the mailbox when the run
    begins: a value by name, or a list of values. `children` says how child workflows end: an output, an error, or a
    function of the input. Raises WouldWait where the run waits for a signal or child that is not given.
    """
    inside = Inside(steps or {}, children or {}, resources)
    return await play(workflow, value, inside, signals or {})


async def play(
    workflow: Workflow[Any, Any],
    value: Any,
    inside: Inside,
    signals: Mapping[str, Any],
    crash: Crash | None = None,
) -> InlineRun[Any]:
    """The same with a crash at a commit."""
    definition = definition_of(workflow)
    player = Player(definition, new_stored_run(definition.spec, value, signals), inside, crash)
    stored = await player.play()
    if crash is None:
        _warn_of_unused(inside, player, stored)
    failed = stored.status != "succeeded"
    return InlineRun(
        id=stored.run_id,
        workflow=stored.workflow,
        status=stored.status,
        output=None if failed else definition.spec.output.decode(stored.payload),
        error=Failure.from_wire(codec.decode(stored.payload)) if failed else None,
        steps=view_steps(stored.history(), []),
        starts=tuple(player.starts),
        commits=player.commits,
        sent=tuple((run_id, name, codec.decode(data)) for run_id, name, data in stored.sent.values()),
        events=tuple(InlineEvent(one.kind, codec.decode(one.data), one.step, one.attempt) for one in stored.events),
        state={key: codec.decode(data) for key, data in stored.state.items()},
    )


def _warn_of_unused(inside: Inside, player: Player, stored: StoredRun) -> None:
    """A name that is misspelt would let the real body run, and say nothing."""
    keys = dict.fromkeys([*(key for key, _ in player.starts), *player.scripts])
    known = keys.keys() | {key.rpartition("#")[0] or key for key in keys}
    if unused := [name for name in inside.steps if name not in known]:
        msg = (
            f"workflow {stored.workflow!r} ran no step {', '.join(map(repr, unused))}, which steps= gives a body for; "
            f"it ran {', '.join(map(repr, keys)) or 'none'}"
        )
        warnings.warn(msg, UserWarning, stacklevel=4)


def definition_of(workflow: Workflow[Any, Any]) -> WorkflowDefinition[Any, Any]:
    """What implements it; InvalidWorkflow where it is only declared."""
    if workflow.definition is None:
        msg = f"workflow {workflow.spec} is only declared here: a test needs its code"
        raise InvalidWorkflow(msg)
    return workflow.definition


def new_stored_run(spec: WorkflowSpec[Any, Any], value: Any, signals: Mapping[str, Any]) -> StoredRun:
    """A run that has just been created, with these signals in its mailbox."""
    data, _ = encode_input(spec, value)
    stored = StoredRun(new_run_id(0), spec.name, spec.version, data, time.time_ns() // 1_000_000)
    for name, given in signals.items():
        for one in given if _is_list(given) else [given]:
            stored.post(Mail(0, "signal", name, "", "", encode_signal_data(name, one)))
    return stored


def _is_list(given: Any) -> TypeGuard[list[Any]]:
    return isinstance(given, list)
