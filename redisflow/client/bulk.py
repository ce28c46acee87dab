"""What is done to many runs: one call a run, some at a time, with an outcome for each.

Each run is judged on its own, so a run whose state does not allow it stops nothing. Nothing is remembered of a bulk:
one that was broken off is called again, and finds what is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from redisflow.client.handle import cancel_run, delete_run
from redisflow.client.lifecycle import pause_run, rerun, resume_run, retry_run
from redisflow.client.start import StartOptions
from redisflow.contract import Backend
from redisflow.durations import Instant
from redisflow.errors import BackendError, RedisflowError, RunNotFinished, RunNotFound, RunStateConflict
from redisflow.names import check_name
from redisflow.run_id import check_run_id
from redisflow.runs import WorkflowRun
from redisflow.summaries import RunSummary

Named: TypeAlias = str | WorkflowRun | RunSummary
Runs: TypeAlias = AsyncIterable[Named] | Iterable[Named]
EndStatus: TypeAlias = Literal["succeeded", "failed", "canceled"]

PAGE = 500
AT_ONCE = 50
"""Runs that a bulk works on at the same time: their calls leave together."""


@dataclass(frozen=True, slots=True)
class BulkOutcome:
    """What became of one run."""

    run_id: str
    is_done: bool
    new_run_id: str | None = None
    """The run that `rerun` made."""
    error: RedisflowError | None = None
    """Why it was not done: RunStateConflict, RunNotFound, ..."""


@dataclass(frozen=True, slots=True)
class BulkProgress:
    """How far a bulk has come."""

    done: int = 0
    refused: int = 0
    """Runs whose state does not allow it, or that are not stored any more."""
    failed: int = 0

    @property
    def seen(self) -> int:
        """All of them."""
        return self.done + self.refused + self.failed


class BulkJob:
    """A bulk that begins when it is awaited (for its final progress), or iterated over (for each outcome as it comes).

    BackendUnavailable ends it; so does leaving the iteration.
    """

    def __init__(
        self,
        runs: Callable[[], AsyncIterator[str]],
        act: Callable[[str], Awaitable[str | None]],
        on_progress: Callable[[BulkProgress], object] | None,
        concurrency: int,
    ) -> None:
        """Made by `Bulk`."""
        self.progress: BulkProgress = BulkProgress()
        """So far."""
        self._runs = runs
        self._act = act
        self._on_progress = on_progress
        self._concurrency = concurrency

    def __await__(self) -> Generator[Any, Any, BulkProgress]:
        """Do all of it."""
        return self._finish().__await__()

    async def _finish(self) -> BulkProgress:
        async for _ in self:
            pass
        return self.progress

    async def __aiter__(self) -> AsyncIterator[BulkOutcome]:
        """Do it, outcome by outcome."""
        running: set[asyncio.Task[BulkOutcome]] = set()
        try:
            async for run_id in self._runs():
                while len(running) >= self._concurrency:
                    ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in ended:
                        yield self._count(task.result())
                running.add(asyncio.create_task(self._act_on(run_id)))
            while running:
                ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    yield self._count(task.result())
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _act_on(self, run_id: str) -> BulkOutcome:
        try:
            return BulkOutcome(run_id, is_done=True, new_run_id=await self._act(run_id))
        except BackendError:
            raise
        except RedisflowError as error:
            return BulkOutcome(run_id, is_done=False, error=error)

    def _count(self, outcome: BulkOutcome) -> BulkOutcome:
        progress = self.progress
        if outcome.is_done:
            self.progress = replace(progress, done=progress.done + 1)
        elif isinstance(outcome.error, RunStateConflict | RunNotFound | RunNotFinished):
            self.progress = replace(progress, refused=progress.refused + 1)
        else:
            self.progress = replace(progress, failed=progress.failed + 1)
        if self._on_progress is not None:
            self._on_progress(self.progress)
        return outcome


class Bulk:
    """What `flow.bulk` gives: `await flow.bulk.retry(...)`, or `async for outcome in flow.bulk.retry(...)`.

    Each call takes the runs (ids, or what `flow.list_runs(...)` gives), or the name of a workflow: then its runs that
    have not ended, or those that ended with `status`, as they are listed when the bulk begins.
    """

    def __init__(self, connect: Callable[[], Awaitable[Backend]]) -> None:
        """Made by `RedisFlow`."""
        self._connect = connect

    def cancel(
        self,
        runs: Runs | None = None,
        *,
        workflow: str | None = None,
        on_progress: Callable[[BulkProgress], object] | None = None,
        concurrency: int = AT_ONCE,
    ) -> BulkJob:
        """Cancel them. One that ended in another way is refused."""

        async def act(backend: Backend, run_id: str) -> None:
            if not await cancel_run(backend, run_id):
                run = await backend.get_workflow_run(run_id)
                status = "ended" if run is None else run.status
                msg = f"run {run_id} is {status}: it cannot be canceled any more"
                raise RunStateConflict(msg, run_id, status)

        return self._job(act, runs, workflow, None, on_progress, concurrency)

    def pause(
        self,
        runs: Runs | None = None,
        *,
        workflow: str | None = None,
        on_progress: Callable[[BulkProgress], object] | None = None,
        concurrency: int = AT_ONCE,
    ) -> BulkJob:
        """Pause them, each as `handle.pause()` does."""
        return self._job(pause_run, runs, workflow, None, on_progress, concurrency)

    def resume(
        self,
        runs: Runs | None = None,
        *,
        workflow: str | None = None,
        on_progress: Callable[[BulkProgress], object] | None = None,
        concurrency: int = AT_ONCE,
    ) -> BulkJob:
        """Let those that are paused go on."""
        return self._job(resume_run, runs, workflow, None, on_progress, concurrency)

    def retry(
        self,
        runs: Runs | None = None,
        *,
        workflow: str | None = None,
        deadline_at: Instant | None = None,
        on_progress: Callable[[BulkProgress], object] | None = None,
        concurrency: int = AT_ONCE,
    ) -> BulkJob:
        """Retry them in place; of a workflow, those that failed. One that fails again is not retried again."""

        async def act(backend: Backend, run_id: str) -> None:
            await retry_run(backend, run_id, deadline_at)

        return self._job(act, runs, workflow, "failed", on_progress, concurrency)

    def rerun(
        self,
        runs: Runs | None = None,
        *,
        workflow: str | None = None,
        status: EndStatus = "failed",
        options: StartOptions | None = None,
        on_progress: Callable[[BulkProgress], object] | None = None,
        concurrency: int = AT_ONCE,
    ) -> BulkJob:
        """Start each anew, with its own input. A bulk that was broken off starts those again that it had started."""

        async def act(backend: Backend, run_id: str) -> str:
            return (await rerun(backend, None, run_id, options or StartOptions())).id

        return self._job(act, runs, workflow, status, on_progress, concurrency)

    def delete(
        self,
        runs: Runs | None = None,
        *,
        workflow: str | None = None,
        status: EndStatus = "failed",
        on_progress: Callable[[BulkProgress], object] | None = None,
        concurrency: int = AT_ONCE,
    ) -> BulkJob:
        """Delete them with all that is kept of them. One that goes on is refused."""
        return self._job(delete_run, runs, workflow, status, on_progress, concurrency)

    def _job(
        self,
        act: Callable[[Backend, str], Awaitable[str | None]],
        runs: Runs | None,
        workflow: str | None,
        status: EndStatus | None,
        on_progress: Callable[[BulkProgress], object] | None,
        concurrency: int,
    ) -> BulkJob:
        if (runs is None) == (workflow is None):
            msg = "say which runs: an iterable of ids, or workflow=..."
            raise ValueError(msg)
        if concurrency < 1:
            msg = f"concurrency is a number from 1, not {concurrency!r}"
            raise ValueError(msg)

        async def act_on(run_id: str) -> str | None:
            return await act(await self._connect(), run_id)

        def chosen() -> AsyncIterator[str]:
            return _ids_of(runs) if runs is not None else self._listed(check_name("workflow", workflow or ""), status)

        return BulkJob(chosen, act_on, on_progress, concurrency)

    async def _listed(self, workflow: str, status: EndStatus | None) -> AsyncIterator[str]:
        """The runs of a listing up to the one that is its last now. Those that leave it meanwhile shift nothing."""
        backend = await self._connect()
        calls = backend.lifecycle
        for partition in range(backend.partitions):
            last_ms = await calls.newest_in(partition, workflow, status)
            from_ms, seen = 0.0, set[str]()
            while last_ms is not None:
                # Runs of one instant may fill a page: those that were seen are asked for beside a page of others.
                count = PAGE + len(seen)
                page = await calls.list_ids(partition, workflow, status, from_ms=from_ms, to_ms=last_ms, count=count)
                for run_id, _ in page:
                    if run_id not in seen:
                        yield run_id
                if len(page) < count:
                    break
                from_ms = page[-1][1]
                seen = {run_id for run_id, at_ms in page if at_ms == from_ms}


async def _ids_of(runs: Runs) -> AsyncIterator[str]:
    if isinstance(runs, AsyncIterable):
        async for run in runs:
            yield _id_of(run)
    else:
        for run in runs:
            yield _id_of(run)


def _id_of(run: Named) -> str:
    return check_run_id(run) if isinstance(run, str) else run.id
