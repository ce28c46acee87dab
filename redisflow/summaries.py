"""What a list shows of a run, and how many there are: never an input, a result or an error's words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from redisflow.durations import from_ms
from redisflow.runs import TERMINAL, RunStatus, WaitReason, began_at
from redisflow.tags import Tags, decode_tags

N = TypeVar("N", int, float)

FIELDS = ("w", "v", "q", "s", "tg", "c", "a", "t", "f", "x", "ca", "sc")
"""The fields of a run's hash that a summary is made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run in a list, as it was when it was read. `await flow.get_run(summary.id)` has the rest."""

    id: str
    workflow: str
    version: str | None
    queue: str
    status: RunStatus
    waiting_for: WaitReason | None
    tags: Tags
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    claims: int
    """How often a worker has taken it up."""
    crashes: int
    """Claims in a row that ended in a crash."""
    cause: str | None
    """`deadline`, `poisoned` or `canceled` where a verdict from outside ended it."""
    schedule: str | None = None
    """The schedule that started it."""

    def __str__(self) -> str:
        """For people, in a line."""
        version = f" {self.version}" if self.version else ""
        waits = f" for {self.waiting_for}" if self.waiting_for else ""
        tags = "".join(f" {name}={value}" for name, value in self.tags.items())
        return f"run {self.id} of {self.workflow}{version}: {self.status}{waits}{tags}"

    @property
    def is_finished(self) -> bool:
        """Whether the status is final."""
        return self.status in TERMINAL


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How some finished runs went; canceled ones are neither failed nor successful."""

    runs: int
    failed: int
    succeeded: int
    durations_ms: Sequence[int]
    """Of those that failed or succeeded, from the first claim to the end, the shortest first."""

    @classmethod
    def of(cls, runs: Sequence[RunSummary]) -> Outcomes:
        """Of these."""
        judged = [run for run in runs if run.status in {"failed", "succeeded"}]
        failed = sum(run.status == "failed" for run in judged)
        took = (run.finished_at - run.started_at for run in judged if run.finished_at and run.started_at)
        return cls(len(runs), failed, len(judged) - failed, sorted(int(each.total_seconds() * 1000) for each in took))

    @property
    def failure_ratio(self) -> float | None:
        """Of those that failed or succeeded; None where there are none."""
        judged = self.failed + self.succeeded
        return self.failed / judged if judged else None

    def percentile_ms(self, share: float) -> int | None:
        """The duration that so many of them did not exceed: `0.95`, say. None where there are none."""
        return nearest(self.durations_ms, share)

    def percentile_s(self, share: float) -> float | None:
        """The same in seconds."""
        ms = self.percentile_ms(share)
        return None if ms is None else ms / 1000


def nearest(ordered: Sequence[N], share: float) -> N | None:
    """The nearest one: of a hundred, `0.95` is the 95th. None where there are none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedRun:
    """A run that no worker has taken up yet, in its place of a queue."""

    run: RunSummary
    priority: int | None
    """0 to 9; None for a run that was woken, which goes before all others."""
    queued_at: datetime
    """When it came to the queue."""


@dataclass(frozen=True, slots=True)
class RunPage:
    """Some runs of a list, and where it goes on."""

    runs: Sequence[RunSummary]
    cursor: str | None
    """Give it to `list_page` for what follows; None at the end. Short text that may stand in a URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowCounts:
    """How many runs of one workflow are stored."""

    unfinished: int
    stuck: int
    """Of these, waiting for code: stranded or suspended."""
    succeeded: int
    failed: int
    canceled: int
    by_status: Mapping[str, int] | None = None
    """The unfinished ones by status (`pending`, `running`, `waiting`), where that was asked for or costs nothing."""

    def __str__(self) -> str:
        """For people."""
        stuck = f" ({self.stuck:,} wait for code)" if self.stuck else ""
        ended = f"{self.succeeded:,} succeeded, {self.failed:,} failed, {self.canceled:,} canceled"
        return f"{self.unfinished:,} unfinished{stuck}, {ended}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCounts:
    """How many runs of a namespace are stored. Each partition is counted at one instant."""

    pending: int
    running: int
    waiting: int
    workflows: Mapping[str, WorkflowCounts] = field(repr=False)

    def __str__(self) -> str:
        """For people: a line for all, and one for each workflow."""
        statuses = ("pending", "running", "waiting", "succeeded", "failed", "canceled")
        first = ", ".join(f"{getattr(self, status):,} {status}" for status in statuses)
        return "\n  ".join([first, *(f"{name}: {counts}" for name, counts in sorted(self.workflows.items()))])

    @property
    def succeeded(self) -> int:
        """Of all workflows."""
        return sum(each.succeeded for each in self.workflows.values())

    @property
    def failed(self) -> int:
        """Of all workflows."""
        return sum(each.failed for each in self.workflows.values())

    @property
    def canceled(self) -> int:
        """Of all workflows."""
        return sum(each.canceled for each in self.workflows.values())

    @property
    def stuck(self) -> int:
        """Of the waiting ones, those that wait for code."""
        return sum(each.stuck for each in self.workflows.values())


def view_summary(run_id: str, values: Sequence[bytes | None]) -> RunSummary | None:
    """From the values of FIELDS; None where the run is not stored."""
    text = {name: value.decode() for name, value in zip(FIELDS, values, strict=True) if value is not None}
    if "s" not in text or "w" not in text or "c" not in text:
        return None
    status, _, reason = text["s"].partition(":")
    return RunSummary(
        id=run_id,
        workflow=text["w"],
        version=text.get("v"),
        queue=text.get("q", "default"),
        status=status,  # type: ignore[arg-type]  # the scripts write no other word
        waiting_for=reason or None,  # type: ignore[arg-type]  # the scripts write no other word
        tags=decode_tags(text.get("tg", "")),
        created_at=from_ms(int(text["c"])),
        started_at=began_at(text.get("a"), text["c"]),
        finished_at=_instant(text.get("t")),
        claims=int(text.get("f", "0:").partition(":")[0]),
        crashes=int(text.get("x", 0)),
        cause=text.get("ca"),
        schedule=text.get("sc"),
    )


def _instant(text: str | None) -> datetime | None:
    return None if text is None else from_ms(int(float(text)))
