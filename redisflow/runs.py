"""What a person sees of a run: its status, its input and outcome, and its steps with their attempts.

A `WorkflowRun` is a snapshot made from the run's hash alone (by `run_views`), without its code: values appear as plain
data (a model as a dict).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from redisflow import codec
from redisflow.durations import from_ms
from redisflow.failure import Failure
from redisflow.records import (
    CallKind,
    ChildEnded,
)
from redisflow.tags import Tags

RunStatus: TypeAlias = Literal["pending", "running", "waiting", "succeeded", "failed", "canceled"]
WaitReason: TypeAlias = Literal[
    "start",
    "retry",
    "timer",
    "signal",
    "child",
    "stranded",
    "suspended",
    "overlap",
    "limited",
    "paused",
    "held",
]
StepStatus: TypeAlias = Literal["running", "waiting", "succeeded", "failed"]
TERMINAL: frozenset[str] = frozenset({"succeeded", "failed", "canceled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StepAttempt:
    """One attempt of a step that has ended."""

    attempt: int
    """From 1."""
    started_at: datetime
    finished_at: datetime
    error: Failure | None = field(default=None, repr=False)
    """None where it succeeded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRun:
    """One step (or durable sleep, wait for a signal, child run) of a run. Times are aware UTC datetimes.

    A compensation that has not begun is `waiting`; where it was not needed, an ended run does not show it.
    """

    key: str
    kind: CallKind
    status: StepStatus
    attempt: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    next_attempt_at: datetime | None = None
    """When the next attempt of a failed step, or the end of a sleep or of a wait, is (or was) due."""
    child_id: str | None = None
    """The run id of a child."""
    output: Any = field(default=None, repr=False)
    error: Failure | None = field(default=None, repr=False)
    progress: Any = field(default=None, repr=False)
    """What the running body last said with `step.heartbeat`."""
    attempts: tuple[StepAttempt, ...] = field(default=(), repr=False)
    """Those that have ended, the first one first. Only a step with a body has attempts."""

    def __str__(self) -> str:
        """For people, without what users store."""
        took = f", {_took(self.started_at, self.finished_at)}" if self.started_at and self.finished_at else ""
        tried = f", attempt {self.attempt}" if self.attempt > 1 else ""
        due = f", due {_time(self.next_attempt_at)}" if self.status == "waiting" and self.next_attempt_at else ""
        return f"{self.key}: {self.status}{tried}{took}{due}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRun:
    """A run as it was when it was read. Times are aware UTC datetimes by the server's clock."""

    id: str
    workflow: str
    version: str | None
    queue: str
    status: RunStatus
    waiting_for: WaitReason | None
    continued: int = 0
    """How often it was continued as new: its steps are those since then."""
    ending: Literal["canceled", "deadline", "replaced"] | None = None
    """Why it ends: the verdict is fixed, and only its compensations run."""
    input: Any = field(repr=False)
    output: Any = field(repr=False)
    error: Failure | None = field(repr=False)
    attempt: int
    """Which workflow attempt this is, from 1."""
    claims: int
    """How often a worker has taken it up."""
    crashes: int
    """Claims in a row that ended in a crash."""
    created_at: datetime
    available_at: datetime | None
    started_at: datetime | None
    """When a worker first took it up; of a fork, whose first steps are older than itself, when it was made."""
    finished_at: datetime | None
    deadline_at: datetime | None
    parent: str | None = None
    """The run that waits for this one's end."""
    expires_at: datetime | None = None
    """Canceled if no worker had taken it up by then."""
    steps: tuple[StepRun, ...]
    tags: Tags = field(default_factory=dict[str, str])
    schedule: str | None = None
    """The schedule that started it."""
    scheduled_at: datetime | None = None
    """The tick for which it did; None where a person triggered it."""
    retries: int = 0
    """How often it was retried in place, by hand."""
    forked_from: str | None = None
    """The run that this one repeats, or whose beginning it shares."""
    imported_at: datetime | None = None
    """When it was brought here from elsewhere, where it had ended; None where it is of this place."""

    def __str__(self) -> str:
        """For people, a line for the run and one for each step, without what users store."""
        version = f" {self.version}" if self.version else ""
        waits = f" ({self.waiting_for})" if self.waiting_for else ""
        waits += f" ({self.ending}: its compensations run)" if self.ending else ""
        took = f", {_took(self.created_at, self.finished_at)} after its start" if self.finished_at else ""
        failed = f", {self.error.error_type}" if self.error else ""
        first = f"run {self.id} of {self.workflow}{version}: {self.status}{waits}{failed}{took}"
        return "\n  ".join([first, *map(self._line, self.steps)])

    def _line(self, step: StepRun) -> str:
        """What was under way when the run ended is not waited for any more."""
        is_left = self.is_finished and step.status in {"waiting", "running"}
        return f"{step.key}: not finished" if is_left else str(step)

    @property
    def is_finished(self) -> bool:
        """Whether the status is final."""
        return self.status in TERMINAL

    def step(self, key: str) -> StepRun | None:
        """The step of this key, if the run has come to it."""
        return next((step for step in self.steps if step.key == key), None)


def _took(began: datetime, ended: datetime) -> str:
    return f"{(ended - began).total_seconds():.3f} s"


def _time(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"


def failure_of(error: bytes | None, cause: str | None) -> Failure | None:
    """Why a run ended without a result: the recorded failure, or the verdict that ended it from outside."""
    if error:
        return Failure.from_wire(codec.decode(error))
    if cause == "deadline":
        return Failure("DeadlineExceeded", "the run did not end before its deadline", "")
    if cause == "expired":
        return Failure("WorkflowExpired", "no worker had taken the run up by its start-by time (expires_at)", "")
    if cause == "replaced":
        return Failure("WorkflowReplaced", "a newer run with its unique key took its place", "")
    if cause == "lost":
        return Failure("RunLost", "its run is not stored any more: deleted, or lost by a server that had taken it", "")
    if cause == "poisoned":
        return Failure("Poisoned", "its workers crashed several times in a row without recording anything", "")
    return None


@dataclass(frozen=True, slots=True)
class Ending:
    """A verdict from outside that is fixed, while the run's compensations run."""

    status: Literal["failed", "canceled"]
    cause: Literal["deadline", "canceled", "replaced"]
    deadline_at_ms: int | None
    """The run's deadline, which counts no more."""

    @classmethod
    def parse(cls, stored: bytes) -> Ending:
        """From how it is stored."""
        status, cause, deadline = stored.decode().split(" ")
        return cls(status, cause, int(deadline) if deadline else None)  # type: ignore[arg-type]  # fix_verdict.lua's words


def child_failure(record: ChildEnded) -> Failure:
    """Why a child run did not succeed."""
    if record.status == "canceled" and not record.payload:
        return Failure("Canceled", "the child run was canceled", "")
    return failure_of(record.payload or None, record.cause) or Failure("Unknown", "the failure was not recorded", "")


def began_at(claimed: str | int | None, created: str | int) -> datetime | None:
    """When a run began, from its fields: a fork has the beginning of another, which began before the fork was made."""
    return None if claimed is None else from_ms(max(int(float(claimed)), int(float(created))))
