"""What a person sees of a run: its status, its input and outcome, and its steps with their attempts.

A `WorkflowRun` is a snapshot made from the run's hash alone, without its code: values appear as plain data (a model
as a dict). The hard thing is to tell what a step is doing from records that are written for replay: a running step
has none yet, so the progress that its holder notes is laid over them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias

from redisflow import codec
from redisflow.durations import from_ms
from redisflow.errors import CannotDecode
from redisflow.failure import Failure
from redisflow.records import (
    AttemptFailed,
    CallKind,
    ChildAsked,
    ChildEnded,
    ChildStarted,
    CompensationAsked,
    Record,
    RedisAsked,
    RunRecord,
    SignalAsked,
    SignalReceived,
    StepFailed,
    StepRecord,
    StepSucceeded,
    TimerAsked,
    TimerFired,
    WorkflowAttemptFailed,
    decode_record,
    kind_of,
)
from redisflow.tags import Tags, decode_tags

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


def view_run(run_id: str, fields: Mapping[bytes, bytes]) -> WorkflowRun:
    """The snapshot that a run's hash holds; `fields` is the whole hash. CannotDecode where it holds none."""
    try:
        return _view(run_id, fields)
    except CannotDecode:
        raise
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        msg = f"run {run_id} cannot be read: it is damaged, or of a later version ({type(error).__name__})"
        raise CannotDecode(msg) from error


def _view(run_id: str, fields: Mapping[bytes, bytes]) -> WorkflowRun:
    text = {name: value.decode() for name, value in fields.items() if name in _TEXT}
    status, _, reason = text[b"s"].partition(":")
    base_ms = int(text.get(b"a", text[b"c"]))
    count = min(int(text[b"h"].partition(":")[0]), len(fields))
    records = [decode_record(fields[b"%d" % number], base_ms) for number in range(count) if b"%d" % number in fields]
    ended = status in TERMINAL
    steps = view_steps(records, _progress(fields.get(b"p")) if status == "running" else [])
    if ended:
        steps = tuple(step for step in steps if step.kind != "compensation" or step.finished_at is not None)
    ending = Ending.parse(fields[b"vd"]) if b"vd" in fields else None
    if status == "waiting" and reason == "suspended":
        error = failure_of(fields.get(b"er"), None)
    else:
        error = failure_of(fields.get(b"er"), text.get(b"ca")) if ended else None
    return WorkflowRun(
        id=run_id,
        workflow=text[b"w"],
        version=text.get(b"v"),
        queue=text.get(b"q", "default"),
        status=status,  # type: ignore[arg-type]  # the scripts write no other word
        waiting_for=reason or None,  # type: ignore[arg-type]  # the scripts write no other word
        continued=int(text.get(b"ct", 0)),
        ending=None if ending is None else ending.cause,
        input=codec.decode(fields[b"i"]),
        output=codec.decode(fields[b"o"]) if b"o" in fields else None,
        error=error,
        attempt=1 + sum(isinstance(record, WorkflowAttemptFailed) and not record.alone for record in records),
        claims=int(text.get(b"f", "0:").partition(":")[0]),
        crashes=int(text.get(b"x", 0)),
        created_at=from_ms(int(text[b"c"])),
        available_at=_instant(text.get(b"av")),
        started_at=_instant(text.get(b"a")),
        finished_at=_instant(text.get(b"t")),
        deadline_at=_instant(text.get(b"dl", None if ending is None else ending.deadline_at_ms)),
        parent=text.get(b"pa"),
        expires_at=_instant(text.get(b"xp")),
        steps=steps,
        tags=decode_tags(text.get(b"tg", "")),
        schedule=text.get(b"sc"),
        scheduled_at=_instant(text.get(b"sa")),
        retries=int(text.get(b"rt", 0)),
        forked_from=text.get(b"ff"),
    )


_TEXT = frozenset(b"s w v q c a t h f x dl xp av ca pa tg sc sa rt ff ct".split())


def _instant(text: str | int | None) -> datetime | None:
    return None if text is None else from_ms(int(float(text)))


@dataclass(frozen=True, slots=True)
class Progress:
    """A body that runs now, as its holder notes it."""

    key: str
    ordinal: int
    attempt: int
    started_at_ms: int
    details: Any = None


def encode_progress(running: list[Progress]) -> bytes:
    """As it is stored."""
    return codec.encode([[p.key, p.ordinal, p.attempt, p.started_at_ms, p.details] for p in running])


def _progress(data: bytes | None) -> list[Progress]:
    return [Progress(*item) for item in codec.decode(data)] if data else []


def view_steps(records: list[Record], running: list[Progress]) -> tuple[StepRun, ...]:
    """The steps that these records tell of, in the order in which the code asked for them."""
    steps: dict[tuple[int, str], StepRun] = {}
    for record in live_records(records):
        if not isinstance(record, RunRecord):
            place = (record.call.ordinal, record.call.key)
            steps[place] = _view_step(record, steps.get(place))
    for body in running:
        known = steps.get((body.ordinal, body.key))
        if known is None or known.status == "waiting":
            steps[body.ordinal, body.key] = StepRun(
                key=body.key,
                kind="run",
                status="running",
                attempt=body.attempt,
                started_at=from_ms(body.started_at_ms),
                error=known.error if known else None,
                progress=body.details,
            )
    return tuple(steps[place] for place in sorted(steps))


def live_records(records: list[Record]) -> list[Record]:
    """The records that still count: what a failed workflow attempt archived is left out."""
    return [record for _, record in numbered_live_records(records)]


def numbered_live_records(records: list[Record]) -> list[tuple[int, Record]]:
    """The same with each record's number."""
    live: list[tuple[int, Record]] = []
    for number, record in enumerate(records):
        if isinstance(record, WorkflowAttemptFailed) and record.archived_from is not None:
            first = record.archived_from
            failed = _key_of(dict(live).get(first))
            live = [
                (n, r)
                for n, r in live
                if isinstance(r, RunRecord) or (r.call.key != failed and (record.alone or r.call.mark < first))
            ]
        live.append((number, record))
    return live


def _key_of(record: Record | None) -> str | None:
    return None if record is None or isinstance(record, RunRecord) else record.call.key


def _view_step(record: StepRecord, before: StepRun | None) -> StepRun:
    known = before or StepRun(key=record.call.key, kind=kind_of(record), status="waiting")
    return replace(known, **_CHANGES[type(record)](record))


def _ended(record: StepSucceeded | StepFailed) -> dict[str, Any]:
    return {
        "attempt": record.attempt,
        "started_at": from_ms(record.started_at_ms),
        "finished_at": from_ms(record.at_ms),
        "next_attempt_at": None,
    }


def _child_ended(record: ChildEnded) -> dict[str, Any]:
    changes: dict[str, Any] = {"finished_at": from_ms(record.at_ms), "next_attempt_at": None, "error": None}
    if record.status == "succeeded":
        return {**changes, "status": "succeeded", "output": codec.decode(record.payload)}
    return {**changes, "status": "failed", "error": child_failure(record)}


def _due(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else from_ms(at_ms)


_CHANGES: dict[type, Callable[[Any], dict[str, Any]]] = {
    StepSucceeded: lambda r: {**_ended(r), "status": "succeeded", "output": codec.decode(r.payload), "error": None},
    StepFailed: lambda r: {**_ended(r), "status": "failed", "error": r.failure},
    AttemptFailed: lambda r: {
        "attempt": r.attempt,
        "started_at": from_ms(r.started_at_ms),
        "next_attempt_at": from_ms(r.due_at_ms),
        "error": r.failure,
    },
    TimerAsked: lambda r: {"started_at": from_ms(r.at_ms), "next_attempt_at": _due(r.due_at_ms)},
    SignalAsked: lambda r: {"started_at": from_ms(r.at_ms), "next_attempt_at": _due(r.due_at_ms)},
    TimerFired: lambda r: {"status": "succeeded", "finished_at": from_ms(r.at_ms)},
    SignalReceived: lambda r: {
        "status": "succeeded",
        "finished_at": from_ms(r.at_ms),
        "next_attempt_at": None,
        "output": codec.decode(r.payload),
    },
    RedisAsked: lambda r: {"started_at": from_ms(r.at_ms)},
    ChildAsked: lambda r: {"started_at": from_ms(r.at_ms), "child_id": r.run_id},
    ChildStarted: lambda _: {"next_attempt_at": None, "error": None},
    ChildEnded: _child_ended,
    CompensationAsked: lambda _: {},
}
"""What each kind of record says of its step that was not known before."""
