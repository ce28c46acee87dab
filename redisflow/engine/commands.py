"""What the engine tells its shell to do, and what the shell tells back of a body."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from redisflow.contract import Extension
from redisflow.records import CallKind

# Those that every run needs are not frozen, though nobody changes them: a frozen dataclass takes three times as long
# to make (0.4 against 1.2 us for RunBody).


@dataclass(slots=True)
class RunBody:
    """Run this attempt of a step, on the worker's loop or in a thread."""

    key: str
    ordinal: int
    attempt: int
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    timeout_ms: int | None
    idempotency_key: str
    kind: CallKind = "run"


@dataclass(frozen=True, slots=True)
class CancelBody:
    """The workflow no longer wants it: cancel the body; what it returns is not recorded."""

    key: str


@dataclass(frozen=True, slots=True)
class GoOn:
    """The holder keeps the run."""


@dataclass(slots=True)
class Park:
    """Nothing runs: let the run wait until it is due, or until mail comes that it wants."""

    reason: Literal["timer", "retry", "signal", "child"]
    due_at_ms: int | None
    wants: str = ""
    """See `Mailbox.wants`."""


@dataclass(slots=True)
class Finish:
    """The run has ended."""

    status: Literal["succeeded", "failed", "canceled"]
    payload: bytes


@dataclass(frozen=True, slots=True)
class Suspend:
    """Code and record do not match, or the code never rests: let the run wait for other code."""

    problem: bytes
    message: str
    """For logs: nothing that users store."""
    is_runaway: bool
    """The code never rests. Each pass of it may begin bodies, of which nothing is recorded: no worker is to take it up
    again by itself. Code that does not match may do so elsewhere already, in the middle of a deploy."""


@dataclass(frozen=True, slots=True)
class Continue:
    """The run begins anew, with this input and an empty record."""

    input: bytes


Move: TypeAlias = GoOn | Park | Finish | Suspend | Continue


@dataclass(slots=True)
class Commit:
    """Write these records, and what then becomes of the run. One is in flight at a time."""

    extension: Extension
    then: Move
    seen: int | None = None
    """Number of the last mail that this was decided with; None where the code waits for none."""


Command: TypeAlias = RunBody | CancelBody | Commit


@dataclass(slots=True)
class Returned:
    """A body returned."""

    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """A body raised, or was stopped by its timeout."""

    error: BaseException
    timed_out: bool = False


BodyOutcome: TypeAlias = Returned | Raised

GO_ON = GoOn()
