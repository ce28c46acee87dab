"""What the API answers, as models: they describe the documents of `redisflow.documents` for OpenAPI.

Answers are not made of them: a test holds the documents of real runs against them, so neither can change alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, RootModel

from redisflow.dashboard.bulk_jobs import State, Verb
from redisflow.runs import RunStatus, StepStatus, WaitReason
from redisflow.schedule import CatchUp, Overlap, TickOutcome


class Answer(BaseModel):
    """No field is ever left out: what is not there is null."""

    model_config = ConfigDict(extra="forbid")


class RunInList(Answer):
    """A run in a list."""

    id: str
    workflow: str
    version: str | None
    queue: str
    status: RunStatus
    waiting_for: WaitReason | None
    schedule: str | None
    tags: dict[str, str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    claims: int
    crashes: int
    cause: str | None


class Runs(Answer):
    """A page of runs."""

    runs: list[RunInList]
    cursor: str | None


class Error(Answer):
    """An error as data."""

    type: str
    message: str
    traceback: str


class Attempt(Answer):
    """An attempt that has ended."""

    attempt: int
    started_at: datetime
    finished_at: datetime
    error: Error | None


class Step(Answer):
    """A step, sleep, wait or child of a run."""

    key: str
    kind: str
    status: StepStatus
    attempt: int
    started_at: datetime | None
    finished_at: datetime | None
    next_attempt_at: datetime | None
    child_id: str | None
    output: Any
    error: Error | None
    progress: Any
    attempts: list[Attempt]


class Steps(Answer):
    """The steps of a run, in the order in which its code asked for them."""

    steps: list[Step]


class BufferedSignal(Answer):
    """A signal that was sent to a run and that its code has not taken."""

    number: int
    name: str
    data: Any


class BufferedSignals(Answer):
    """Those of a run, the oldest first."""

    signals: list[BufferedSignal]


class Run(Answer):
    """A run with its steps and payloads."""

    id: str
    workflow: str
    version: str | None
    queue: str
    status: RunStatus
    waiting_for: WaitReason | None
    ending: Literal["canceled", "deadline", "replaced"] | None
    tags: dict[str, str]
    input: Any
    output: Any
    error: Error | None
    attempt: int
    claims: int
    crashes: int
    retries: int
    continued: int
    created_at: datetime
    available_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    deadline_at: datetime | None
    expires_at: datetime | None
    imported_at: datetime | None
    parent: str | None
    forked_from: str | None
    schedule: str | None
    scheduled_at: datetime | None
    worker: str | None
    steps: list[Step]


class Started(Answer):
    """A run that was started, or that a key led to."""

    id: str
    workflow: str
    version: str | None
    existing: bool
    available_at: datetime | None


class Done(Answer):
    """What an action was done to, and the run that it made, if it makes one."""

    id: str
    action: str
    run_id: str | None


class Reached(Answer):
    """Whom a signal reached."""

    id: str
    count: int
    run_ids: list[str]


class RunEvent(Answer):
    """Something that a run said, or (of kind `audit`) that somebody did to it."""

    id: str
    kind: str
    data: Any
    step: str | None
    attempt: int | None
    at: datetime
    is_after_gap: bool


class Events(Answer):
    """Some events; give `after` back for those behind them."""

    events: list[RunEvent]
    after: str | None
    has_more: bool


class BulkRunError(Answer):
    """Why it was not done to one run."""

    run_id: str
    error: str
    message: str


class Bulk(Answer):
    """A bulk job of this dashboard process."""

    id: str
    verb: Verb
    by: str
    what: str
    state: State
    started_at: datetime
    finished_at: datetime | None
    total: int | None
    done: int
    refused: int
    failed: int
    errors: list[BulkRunError]
    problem: str | None


class Bulks(Answer):
    """Those that are remembered, the latest first."""

    bulk: list[Bulk]


class Workflow(Answer):
    """How many runs of a workflow there are."""

    id: str
    unfinished: int
    stuck: int
    succeeded: int
    failed: int
    canceled: int
    by_status: dict[str, int] | None


class Workflows(Answer):
    """All that have runs."""

    workflows: list[Workflow]


class Queue(Answer):
    """A queue."""

    id: str
    ready: int
    held: int
    oldest_at: datetime | None
    is_paused: bool


class Queues(Answer):
    """All that were ever used."""

    queues: list[Queue]


class Served(Answer):
    """A workflow for which a worker has code; without a version for all of them."""

    name: str
    version: str | None


class Worker(Answer):
    """A worker."""

    id: str
    host: str
    pid: int
    python: str
    redisflow: str | None
    queues: list[str]
    workflows: list[Served]
    concurrency: int
    held: int
    is_alive: bool
    is_draining: bool
    seen_at: datetime
    run_ids: list[str]


class Workers(Answer):
    """All that are alive."""

    workers: list[Worker]


class Schedule(Answer):
    """A schedule, with its next five ticks."""

    id: str
    workflow: str
    version: str | None
    queue: str
    ticks: str
    overlap: Overlap
    catch_up: CatchUp
    is_paused: bool
    created_at: datetime
    last_outcome: TickOutcome | None
    last_run_id: str | None
    next_fire_times: list[datetime]


class Schedules(Answer):
    """All of them."""

    schedules: list[Schedule]


class StrandedRuns(Answer):
    """Runs of one workflow, version and queue that wait for code."""

    workflow: str
    version: str | None
    queue: str
    stranded: int
    suspended: int
    since: datetime
    next_look_at: datetime | None
    run_ids: list[str]
    cause: str
    why: str


class StrandedWorkflow(Answer):
    """A workflow without a worker."""

    workflow: str
    version: str | None
    unfinished: int
    why: str


class StrandedQueue(Answer):
    """A queue that nobody reads."""

    queue: str
    runs: int
    since: datetime
    why: str


class Stranded(Answer):
    """What no live worker serves."""

    id: str
    is_clear: bool
    runs: list[StrandedRuns]
    workflows: list[StrandedWorkflow]
    queues: list[StrandedQueue]
    workers: list[str]


class WorkflowMinute(Answer):
    """What happened to the runs of a workflow. Durations and latencies: how many, by upper bound in ms."""

    started: int
    succeeded: int
    failed: int
    canceled: int
    step_failures: int
    durations: dict[str, int]
    latencies: dict[str, int]


class Minute(Answer):
    """What happened within a minute, which began at `at`; how many runs waited in each queue, where somebody looked."""

    at: datetime
    workflows: dict[str, WorkflowMinute]
    queues: dict[str, int]


class Metrics(Answer):
    """The minutes, the oldest first."""

    minutes: list[Minute]


class OpenApi(RootModel[dict[str, Any]]):
    """This description."""


class Problem(BaseModel):
    """RFC 9457. `error` names the library's error, `run_id` and `run_status` the run that is in the way."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    error: str | None = None
    run_id: str | None = None
    run_status: str | None = None
