"""What people do through the dashboard, in one place for pages and the API.

Each action checks who asks, is done by the public client, stands in the log (who, what, to which, with which outcome;
never a payload) and, where it is about a run, among that run's events.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Unpack

from redisflow.authoring.definition import untyped
from redisflow.authoring.outside import Broadcast
from redisflow.client.bulk import BulkJob
from redisflow.client.handle import WorkflowHandle
from redisflow.client.lifecycle import SAME_INPUT
from redisflow.client.start import RunOptions, StartedRun, StartOptions
from redisflow.dashboard.access.roles import Action, Identity, check_permitted
from redisflow.durations import Instant
from redisflow.errors import RedisflowError, UnknownWorkflow
from redisflow.flow import RedisFlow
from redisflow.run_id import check_run_id

_logger = logging.getLogger("redisflow.dashboard.audit")
NOTED = 100
"""Runs of a broadcast at which it is noted."""
_SHOWN = 200
"""Characters of a name that a log line shows."""


class WorkerNotFound(RedisflowError, LookupError):
    """No worker of this name is alive."""


@dataclass(frozen=True, slots=True)
class Actions:
    """Every action raises what the client raises, and NotPermitted."""

    flow: RedisFlow
    read_only: bool = False

    # -- runs -----------------------------------------------------------------------------------------------------

    async def start(
        self, by: Identity, workflow: str, value: Any = None, /, *, unknown: bool = False, **options: Unpack[RunOptions]
    ) -> StartedRun:
        """Start a run. Its input is checked here where the workflow's code is here, else where it runs.

        UnknownWorkflow where others are known here, and not this one, unless `unknown` says that it is meant so.
        """
        async with self._doing(by, "start", "workflow", workflow):
            wanted = workflow if self.flow.served().workflows else untyped(workflow)
            try:
                handle = await self.flow.run_workflow(wanted, value, **options)
            except UnknownWorkflow:
                if not unknown:
                    raise
                handle = await self.flow.run_workflow(untyped(workflow), value, **options)
            started = handle.workflow_run
        if not started.existing:
            await self.note(started.id, "start", by)
        return started

    async def cancel(self, by: Identity, run_id: str) -> None:
        """Cancel a run. RunStateConflict where it has ended in another way."""
        await self._to_run(by, "cancel", run_id, self.flow.bulk.cancel([run_id]))

    async def retry(self, by: Identity, run_id: str, *, deadline_at: Instant | None = None) -> None:
        """Let a failed run go on in place."""
        await self._to_run(by, "retry", run_id, self.flow.bulk.retry([run_id], deadline_at=deadline_at))

    async def pause(self, by: Identity, run_id: str) -> None:
        """Let a run wait."""
        await self._to_run(by, "pause", run_id, self.flow.bulk.pause([run_id]))

    async def resume(self, by: Identity, run_id: str) -> None:
        """Let a paused run go on."""
        await self._to_run(by, "resume", run_id, self.flow.bulk.resume([run_id]))

    async def delete(self, by: Identity, run_id: str) -> None:
        """Delete a run that has ended. RunNotFinished where it has not."""
        await self._to_run(by, "delete", run_id, self.flow.bulk.delete([run_id]))

    async def rerun(self, by: Identity, run_id: str, **options: Unpack[RunOptions]) -> str:
        """Start a new run with the same input; returns its id."""
        job = self.flow.bulk.rerun([run_id], options=StartOptions(**options))
        new_run_id = await self._to_run(by, "rerun", run_id, job)
        assert new_run_id is not None  # noqa: S101  # a rerun that was done has made one
        await self.note(new_run_id, "start by rerun", by)
        return new_run_id

    async def fork(
        self,
        by: Identity,
        run_id: str,
        from_step: str | None = None,
        *,
        input: Any = SAME_INPUT,  # noqa: A002  # the word that users have for it
        steps: Mapping[str, Any] | None = None,
        **options: Unpack[RunOptions],
    ) -> str:
        """Start a new run that shares the beginning of this one; returns its id."""
        async with self._doing(by, "fork", "run", run_id):
            handle = await self.flow.get_handle(run_id)
            forked: WorkflowHandle[Any] = await handle.fork(from_step, input=input, steps=steps, **options)
        await self.note(run_id, "fork", by)
        await self.note(forked.id, "start by fork", by)
        return forked.id

    async def signal(
        self, by: Identity, run_id: str, name: str, data: Any = None, *, idempotency_key: str | None = None
    ) -> None:
        """Send a run a signal."""
        async with self._doing(by, "signal", "run", run_id):
            await self.flow.signal(run_id, name, data, idempotency_key=idempotency_key)
        await self.note(run_id, f"signal {name}", by)

    async def broadcast(
        self, by: Identity, name: str, data: Any = None, *, idempotency_key: str | None = None
    ) -> Broadcast:
        """Send a signal to all runs that wait for it now; it is noted at the first of them."""
        async with self._doing(by, "signal", "signal", name):
            reached = await self.flow.send_signal(name, data, idempotency_key=idempotency_key)
        await asyncio.gather(*(self.note(run_id, f"signal {name}", by) for run_id in reached.run_ids[:NOTED]))
        return reached

    # -- queues, workflows, schedules -----------------------------------------------------------------------------

    async def pause_queue(self, by: Identity, queue: str) -> None:
        """Let no run of it be taken up."""
        async with self._doing(by, "pause", "queue", queue):
            await self.flow.controls.pause(queue=queue)

    async def resume_queue(self, by: Identity, queue: str) -> None:
        """Let its runs be taken up again."""
        async with self._doing(by, "resume", "queue", queue):
            await self.flow.controls.resume(queue=queue)

    async def pause_workflow(self, by: Identity, workflow: str) -> None:
        """Let no run of it be taken up."""
        async with self._doing(by, "pause", "workflow", workflow):
            await self.flow.controls.pause(workflow=workflow)

    async def resume_workflow(self, by: Identity, workflow: str) -> None:
        """Let its runs be taken up again."""
        async with self._doing(by, "resume", "workflow", workflow):
            await self.flow.controls.resume(workflow=workflow)

    async def pause_schedule(self, by: Identity, schedule_id: str) -> None:
        """Let it start nothing."""
        async with self._doing(by, "pause", "schedule", schedule_id):
            await self.flow.schedules.pause(schedule_id)

    async def resume_schedule(self, by: Identity, schedule_id: str) -> None:
        """Let it go on with its next tick."""
        async with self._doing(by, "resume", "schedule", schedule_id):
            await self.flow.schedules.resume(schedule_id)

    async def trigger_schedule(self, by: Identity, schedule_id: str) -> str | None:
        """Start a run of it now; its id, or None where it was skipped because the run before has not ended."""
        async with self._doing(by, "trigger", "schedule", schedule_id):
            run = await self.flow.schedules.trigger(schedule_id)
        if run is None:
            return None
        await self.note(run.id, "start by trigger", by)
        return run.id

    async def delete_schedule(self, by: Identity, schedule_id: str) -> None:
        """Delete it; its runs stay. ScheduleNotFound where it is not there."""
        async with self._doing(by, "delete schedule", "schedule", schedule_id):
            await self.flow.schedules.get(schedule_id)
            await self.flow.schedules.delete(schedule_id)

    async def drain_worker(self, by: Identity, name: str) -> None:
        """Let a worker claim nothing more, and stop. WorkerNotFound where none of this name is alive."""
        async with self._doing(by, "drain", "worker", name):
            if not await self.flow.drain_worker(name):
                msg = f"no worker {name[:_SHOWN]!r} is alive"
                raise WorkerNotFound(msg)

    # -- how each of them is done ---------------------------------------------------------------------------------

    def check(self, by: Identity, action: Action, kind: str, name: str) -> None:
        """NotPermitted, which stands in the log."""
        try:
            check_permitted(by, action, read_only=self.read_only)
        except RedisflowError:
            log_action(by, action, kind, name, "not permitted")
            raise

    async def note(self, run_id: str, action: str, by: Identity) -> None:
        """Keep it among the run's events. What was done stays done where that fails, and stands in the log anyway."""
        try:
            await self.flow.note(run_id, action, by.name)
        except RedisflowError as error:
            _logger.warning("%s of run %s is not among its events: %s", action, run_id, type(error).__name__)

    async def _to_run(self, by: Identity, action: Action, run_id: str, job: BulkJob) -> str | None:
        async with self._doing(by, action, "run", run_id):
            outcomes = [outcome async for outcome in job]
            if (error := outcomes[0].error) is not None:
                raise error
        if action != "delete":
            await self.note(check_run_id(run_id), action, by)
        return outcomes[0].new_run_id

    @contextlib.asynccontextmanager
    async def _doing(self, by: Identity, action: Action, kind: str, name: str) -> AsyncGenerator[None]:
        self.check(by, action, kind, name)
        try:
            yield
        except BaseException as error:
            log_action(by, action, kind, name, type(error).__name__)
            raise
        log_action(by, action, kind, name, "done")


def log_action(by: Identity, action: str, kind: str, name: str, outcome: str) -> None:
    """One line; what came from outside is quoted, so that it makes no second one."""
    fields = {"action": action, "by": by.name, "role": by.role.name.lower(), "kind": kind, "outcome": outcome}
    _logger.info(
        "%s of %s %r by %r (%s): %s",
        action,
        kind,
        name[:_SHOWN],
        by.name,
        fields["role"],
        outcome,
        extra={f"redisflow_{field}": value for field, value in fields.items()} | {"redisflow_id": name[:_SHOWN]},
    )
