"""The workers of a namespace as they describe themselves, and what they leave undone: runs that none of them serves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from redisflow.words import counted, first_of

NAMED = 3
"""Workers that a sentence names; of the others it says how many they are."""

StrandedCause: TypeAlias = Literal["no_worker", "no_code", "other_queue", "served"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """A worker, as it said with its last heartbeat."""

    name: str
    host: str
    pid: int
    queues: Sequence[str]
    workflows: Sequence[tuple[str, str | None]]
    """Names and versions for which it has code; without a version it has it for all of them."""
    concurrency: int
    """Runs that it holds at most."""
    python: str
    redisflow: str | None
    """Its version; None where the worker is of one that did not say it."""
    held: int
    """Runs that it holds now."""
    is_alive: bool
    """Whether its presence has not run out: a heartbeat renews it for a lease."""
    seen_at: datetime
    """Its last heartbeat."""
    is_draining: bool = False
    """Whether it was told to claim nothing more, and to stop."""
    lease: timedelta | None = None
    """For how long it may say nothing before it counts as gone, and its runs are given to others; None where the worker
    is of a version that did not say it."""

    def __str__(self) -> str:
        """For people, in a line."""
        state = (
            f"holds {self.held:,} of {self.concurrency:,} runs"
            if self.is_alive
            else f"gone since {_clock(self.seen_at)}"
        )
        state += " and drains" if self.is_draining else ""
        served = ", ".join(place_of(*place) for place in self.workflows)
        return f"{self.name} (pid {self.pid} on {self.host}): {state}; serves {served} from {', '.join(self.queues)}"

    def serves(self, workflow: str, version: str | None) -> bool:
        """Whether it has the code of this version, or of all versions."""
        return any(name == workflow and own in (version, None) for name, own in self.workflows)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRun:
    """A run that a worker holds: it is working on it, or has died and the run's lease is not over."""

    run_id: str
    worker: str
    idle: timedelta
    """Since the worker took it up, or last renewed its lease; once this is as long as a lease, others take it up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueInfo:
    """A queue as it is now. Runs that wait for something (a timer, a signal, a limit) are in no queue."""

    name: str
    ready: int
    """Runs that the next free worker takes."""
    held: int
    """Runs that workers hold."""
    oldest_at: datetime | None
    """When the oldest of both came; None where there is none."""
    is_paused: bool
    """Whether it is paused, or let go slowly: see `flow.controls`."""

    def __str__(self) -> str:
        """For people, in a line."""
        paused = ", paused" if self.is_paused else ""
        since = f", the oldest since {_clock(self.oldest_at)}" if self.oldest_at else ""
        return f"queue {self.name}: {self.ready:,} ready, {self.held:,} held{since}{paused}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StrandedRuns:
    """The runs of one workflow, version and queue that wait for code."""

    workflow: str
    version: str | None
    queue: str
    stranded: int
    """A worker has met them and had no code for them. They are offered again by themselves, and at once to a worker
    that starts and has it."""
    suspended: int
    """Their record does not match the code, and they are offered again in the same way; or their code never rests, or
    the engine failed, and they wait for a worker to start."""
    since: datetime
    """When the first of them was put aside, the last time that it was."""
    next_look_at: datetime | None
    """When the next of them is offered again; None where all wait for a worker to start."""
    run_ids: Sequence[str]
    """Some of them, those first that have waited longest."""
    cause: StrandedCause
    """`no_worker`: none is alive. `no_code`: no live worker has this workflow and version. `other_queue`: those that
    have it do not read this queue. `served`: a live worker has it now."""
    why: str
    """The cause in a sentence, with what the live workers have instead."""

    def __str__(self) -> str:
        """For people, in a line."""
        counts = [
            f"{count:,} {word}" for count, word in ((self.stranded, "stranded"), (self.suspended, "suspended")) if count
        ]
        place = f"{place_of(self.workflow, self.version)} in queue {self.queue}"
        return f"{place}: {', '.join(counts)} since {_clock(self.since)}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnservedWorkflow:
    """A workflow (of which all runs are counted), or one version of it, for which no live worker has code."""

    workflow: str
    version: str | None
    """Of which version the runs are; None as well where all versions of the workflow are counted together."""
    unfinished: int
    """Runs that have not ended, whatever they do or wait for."""
    why: str

    def __str__(self) -> str:
        """For people, in a line."""
        return f"{place_of(self.workflow, self.version)}: {self.unfinished:,} unfinished: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadQueue:
    """A queue with runs in it that no live worker reads."""

    queue: str
    runs: int
    """Those that are to be claimed, and those that a dead worker still holds."""
    since: datetime
    """When the oldest of them came."""
    why: str

    def __str__(self) -> str:
        """For people, in a line."""
        return f"queue {self.queue}: {counted(self.runs, 'run')} since {_clock(self.since)}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StrandedReport:
    """What no live worker serves. A run may be told of in several of its parts. Print it, or go through its parts."""

    runs: Sequence[StrandedRuns] = ()
    """Runs that a worker has put aside because it has no code for them, or because code and record differ."""
    workflows: Sequence[UnservedWorkflow] = ()
    """Workflows with unfinished runs for which no live worker has code."""
    queues: Sequence[UnreadQueue] = ()
    """Queues with runs in them that no live worker reads."""
    workers: Sequence[WorkerInfo] = field(default=(), repr=False)
    """The live ones."""

    @property
    def is_clear(self) -> bool:
        """Whether there is nothing to report."""
        return not (self.runs or self.workflows or self.queues)

    def __str__(self) -> str:
        """For people: a line for each cause."""
        alive = counted(len(self.workers), "live worker")
        if self.is_clear:
            return f"no run is stranded ({alive})"
        return "\n".join([*map(str, self.runs), *map(str, self.workflows), *map(str, self.queues), alive])


@dataclass(frozen=True, slots=True)
class Fleet:
    """The live workers, and why they do not serve something."""

    workers: Sequence[WorkerInfo]

    def has_code(self, workflow: str, version: str | None) -> list[WorkerInfo]:
        """Those that have it."""
        return [worker for worker in self.workers if worker.serves(workflow, version)]

    def explain(
        self, workflow: str, version: str | None, queue: str, *, are_suspended: bool
    ) -> tuple[StrandedCause, str]:
        """Why runs of it do not go on: all of them suspended, or some put aside without having been begun."""
        if not self.workers:
            return "no_worker", "no worker is alive"
        able = self.has_code(workflow, version)
        if not able:
            return "no_code", self.explain_code(workflow, version)
        if reading := [worker for worker in able if queue in worker.queues]:
            if are_suspended:
                return "served", f"run.error says why; alive: {_named(reading)}"
            return "served", f"{_named(reading)} can serve it now, so it is offered again soon"
        own = ", ".join(sorted({name for worker in able for name in worker.queues}))
        return "other_queue", f"{_named(able)} could serve it, but reads {own} and not {queue}"

    def explain_code(self, workflow: str, version: str | None) -> str:
        """Why no worker has it, where none has it."""
        if not self.workers:
            return "no worker is alive"
        what = f"no live worker serves {place_of(workflow, version)}"
        others = [worker for worker in self.workers if any(name == workflow for name, _ in worker.workflows)]
        if not others:
            return f"{what}, in no version ({len(self.workers):,} alive)"
        return f"{what}; alive: {_named(others)}, with {', '.join(self.versions_of(workflow))}"

    def versions_of(self, workflow: str) -> list[str]:
        """What the live workers have of it, sorted."""
        places = {place for worker in self.workers for place in worker.workflows if place[0] == workflow}
        return sorted(place_of(*place) for place in places)

    def explain_queue(self, queue: str) -> str:
        """Why nobody reads it."""
        if not self.workers:
            return "no worker is alive"
        read = ", ".join(sorted({name for worker in self.workers for name in worker.queues}))
        return f"no live worker reads {queue}; they read {read}"


def place_of(workflow: str, version: str | None) -> str:
    """As people write it."""
    return f"{workflow}@{version}" if version else workflow


def _named(workers: Iterable[WorkerInfo]) -> str:
    return first_of(sorted(worker.name for worker in workers), NAMED)


def _clock(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M:%S UTC")
