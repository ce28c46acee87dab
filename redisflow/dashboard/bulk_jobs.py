"""What is done to many runs in the background of this process, with progress that a page can look at.

A job lives and dies with the process: nothing of it is stored but what it did to runs, and their events. One that was
broken off is started again, and finds what is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias, cast, get_args

from redisflow.client.bulk import BulkJob, BulkOutcome, BulkProgress
from redisflow.client.finding import PAGE_LIMIT
from redisflow.dashboard.access.failures import log_failure
from redisflow.dashboard.access.roles import Identity
from redisflow.dashboard.actions import Actions, log_action
from redisflow.dashboard.filters import Query
from redisflow.errors import BackendError, RedisflowError
from redisflow.flow import RedisFlow
from redisflow.run_id import check_run_id

Verb: TypeAlias = Literal["cancel", "retry", "rerun", "pause", "resume", "delete"]
State: TypeAlias = Literal["running", "done", "canceled", "failed"]

MOST_RUNS: Final = 1_000_000
"""Of one job: their ids are held while it goes on, some 100 bytes each."""
AT_ONCE: Final = 4
"""Jobs that go on at the same time."""
KEPT: Final = 100
"""Jobs that are remembered, those that go on included."""
ERRORS_SHOWN: Final = 20
NOTED_AT_ONCE: Final = 50
"""Runs whose events are written together."""

GOES_ON: Final = ("pending", "running", "waiting")
ENDED: Final = ("succeeded", "failed", "canceled")
MEANT: Final[Mapping[Verb, tuple[str, ...]]] = {
    "cancel": GOES_ON,
    "retry": ("failed",),
    "rerun": ENDED,
    "pause": GOES_ON,
    "resume": ("waiting:paused",),
    "delete": ENDED,
}
"""Of a query that names no status, the runs to which it can be done."""


class TooManyJobs(RedisflowError):
    """As many bulk jobs go on as may; nothing was begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkError:
    """Why it was not done to one run."""

    run_id: str
    error: str
    """The name of the error's class."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkJobView:
    """A job as it is now."""

    id: str
    verb: Verb
    by: str
    what: str
    """The query as text, or how many ids were given."""
    state: State
    started_at: datetime
    """By this process's clock, as `finished_at`."""
    finished_at: datetime | None = None
    total: int | None = None
    """How many runs; None while they are still being listed."""
    done: int = 0
    refused: int = 0
    """Runs whose state does not allow it, or that are not stored any more."""
    failed: int = 0
    errors: tuple[BulkError, ...] = ()
    """The first of those that were refused or failed."""
    problem: str | None = None
    """Why the whole job failed."""

    @property
    def seen(self) -> int:
        """Runs that it has dealt with."""
        return self.done + self.refused + self.failed

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state != "running"


@dataclass(slots=True)
class _Job:
    view: BulkJobView
    identity: Identity
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class BulkJobs:
    """The bulk jobs of one dashboard process."""

    def __init__(self, actions: Actions, *, at_once: int = AT_ONCE, kept: int = KEPT) -> None:
        """None goes on yet."""
        self._actions = actions
        self._at_once = at_once
        self._kept = kept
        self._jobs: dict[str, _Job] = {}

    def start(self, verb: Verb, runs: Query | Iterable[str], identity: Identity) -> BulkJobView:
        """Begin a job over the runs that match a query, or over these ids, and return at once.

        Of a query that names no status, the runs to which the verb can be done are meant. NotPermitted, TooManyJobs,
        InvalidName where an id is none, ValueError where the verb or the query cannot be meant.
        """
        if verb not in get_args(Verb):
            msg = f"{verb!r} is nothing that is done to many runs: that is {', '.join(get_args(Verb))}"
            raise ValueError(msg)
        chosen = runs if isinstance(runs, Query) else list(dict.fromkeys(map(check_run_id, runs)))
        what = chosen.to_text() if isinstance(chosen, Query) else f"{len(chosen):,} given runs"
        self._actions.check(identity, verb, "runs", what)
        if not chosen or chosen == Query():
            msg = "say which runs: an empty filter would mean all of them"
            raise ValueError(msg)
        if isinstance(chosen, Query):
            chosen.find_options()
        elif len(chosen) > MOST_RUNS:
            msg = f"a bulk job is about {MOST_RUNS:,} runs at most"
            raise ValueError(msg)
        if sum(not job.view.is_over for job in self._jobs.values()) >= self._at_once:
            msg = f"{self._at_once} bulk jobs go on: wait for one of them, or cancel it"
            raise TooManyJobs(msg)
        view = BulkJobView(
            id=secrets.token_hex(8), verb=verb, by=identity.name, what=what, state="running", started_at=_now()
        )
        job = _Job(view, identity)
        self._jobs[view.id] = job
        self._forget()
        log_action(identity, f"bulk {verb}", "runs", what, f"begun as {view.id}")
        job.task = asyncio.create_task(self._carry_out(job, chosen), name=f"bulk {verb} {view.id}")
        return view

    def get(self, job_id: str) -> BulkJobView | None:
        """The job as it is now; None where it is not known (any more, or to this process)."""
        job = self._jobs.get(job_id)
        return None if job is None else job.view

    def list(self) -> Sequence[BulkJobView]:
        """All that are known, the latest first."""
        return [job.view for job in reversed(self._jobs.values())]

    def cancel(self, job_id: str, identity: Identity) -> BulkJobView | None:
        """Stop a job: what it has done stays done. One that is over is left alone; None where it is not known.

        NotPermitted for those who may not begin such a job.
        """
        job = self._jobs.get(job_id)
        if job is None:
            return None
        self._actions.check(identity, job.view.verb, "bulk job", job_id)
        if self._stop(job):
            log_action(identity, "cancel", "bulk job", job_id, "done")
        return job.view

    async def wait(self, job_id: str) -> BulkJobView:
        """The job once it is over. LookupError where it is not known."""
        job = self._jobs[job_id]
        if job.task is not None:
            await asyncio.wait([job.task])
        return job.view

    async def close(self) -> None:
        """Cancel all that go on, and wait for their ends."""
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        for job in self._jobs.values():
            self._stop(job)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _stop(self, job: _Job) -> bool:
        """Whether it was not over. A task that has not begun yet ends without a word, so its end is said here."""
        if job.view.is_over or job.task is None:
            return False
        self._end(job, "canceled")
        job.task.cancel()
        return True

    # -- one job --------------------------------------------------------------------------------------------------

    async def _carry_out(self, job: _Job, chosen: Query | Sequence[str]) -> None:
        try:
            await self._act(job, chosen)
        except BackendError as error:
            self._end(job, "failed", str(error))
        except Exception as error:  # noqa: BLE001  # nobody awaits this task: what went wrong is shown with the job
            log_failure(f"bulk job {job.view.id}", error)
            self._end(job, "failed", f"it failed: {type(error).__name__}")
        else:
            self._end(job, "done")

    async def _act(self, job: _Job, chosen: Query | Sequence[str]) -> None:
        # Listed first, so that what it does (reruns are new runs) does not feed it.
        ids = await _ids_of(self._actions.flow, job.view.verb, chosen) if isinstance(chosen, Query) else chosen
        job.view = replace(job.view, total=len(ids))
        bulk = BEGIN[job.view.verb](self._actions.flow, ids)
        done: list[str] = []
        try:
            async with contextlib.aclosing(cast("AsyncGenerator[BulkOutcome]", aiter(bulk))) as outcomes:
                async for outcome in outcomes:
                    self._count(job, outcome, bulk.progress)
                    word = "done" if outcome.error is None else type(outcome.error).__name__
                    log_action(job.identity, job.view.verb, "run", outcome.run_id, f"{word} (bulk job {job.view.id})")
                    if outcome.is_done and job.view.verb != "delete":
                        done += [outcome.run_id, *([outcome.new_run_id] if outcome.new_run_id else [])]
                    if len(done) >= NOTED_AT_ONCE:
                        noted, done = done, []
                        await self._note(job, noted)
        finally:
            # Those that were done before it was stopped, too.
            await asyncio.shield(self._note(job, done))

    async def _note(self, job: _Job, run_ids: Sequence[str]) -> None:
        action = f"{job.view.verb} (bulk job {job.view.id})"
        await asyncio.gather(*(self._actions.note(run_id, action, job.identity) for run_id in run_ids))

    def _count(self, job: _Job, outcome: BulkOutcome, progress: BulkProgress) -> None:
        view, error = job.view, outcome.error
        errors = view.errors
        if error is not None and len(errors) < ERRORS_SHOWN:
            errors += (BulkError(run_id=outcome.run_id, error=type(error).__name__, message=str(error)),)
        job.view = replace(view, done=progress.done, refused=progress.refused, failed=progress.failed, errors=errors)

    def _end(self, job: _Job, state: State, problem: str | None = None) -> None:
        job.view = view = replace(job.view, state=state, finished_at=_now(), problem=problem)
        counts = f"{state}: {view.done} done, {view.refused} refused, {view.failed} failed"
        log_action(job.identity, f"bulk {view.verb}", "bulk job", view.id, counts)

    def _forget(self) -> None:
        """The oldest of those that are over."""
        over = [job_id for job_id, job in self._jobs.items() if job.view.is_over]
        for job_id in over[: max(0, len(self._jobs) - self._kept)]:
            del self._jobs[job_id]


BEGIN: Final[Mapping[Verb, Callable[[RedisFlow, Sequence[str]], BulkJob]]] = {
    "cancel": lambda flow, ids: flow.bulk.cancel(ids),
    "retry": lambda flow, ids: flow.bulk.retry(ids),
    "rerun": lambda flow, ids: flow.bulk.rerun(ids),
    "pause": lambda flow, ids: flow.bulk.pause(ids),
    "resume": lambda flow, ids: flow.bulk.resume(ids),
    "delete": lambda flow, ids: flow.bulk.delete(ids),
}


async def _ids_of(flow: RedisFlow, verb: Verb, query: Query) -> list[str]:
    if query.id is not None:
        return [query.id]
    options = query.find_options()
    options.setdefault("status", MEANT[verb])
    if query.order == "oldest":
        # From the newest on, none that begins meanwhile comes into sight; from the oldest on, all of them would.
        options.setdefault("created_before", 0)
    ids: dict[str, None] = {}  # one that is retried meanwhile may be listed as ended, and then as unfinished
    async for run in flow.list_runs(page_size=PAGE_LIMIT, **options):
        ids[run.id] = None
        if len(ids) >= MOST_RUNS:
            break
    return list(ids)


def _now() -> datetime:
    return datetime.now(UTC)
