"""`flow.schedules`: what users do with schedules. Inputs are validated here, in the caller, as those of runs are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypedDict, TypeVar, Unpack, overload

from redisflow.authoring.definition import WorkflowSpec
from redisflow.authoring.inputs import encode_input
from redisflow.authoring.limits import NO_QUEUE_LIMITS, QueueLimits, limits_for
from redisflow.client.handle import WorkflowHandle
from redisflow.client.start import StartedRun
from redisflow.client.workflow import Workflow
from redisflow.contract import Backend
from redisflow.durations import Duration
from redisflow.errors import ScheduleNotFound, UnknownWorkflow
from redisflow.names import check_name
from redisflow.payload import PayloadType
from redisflow.run_id import new_run_id, partition_for_key
from redisflow.schedule import CatchUp, Overlap, Schedule, ScheduleDefinition, ScheduleInfo

In = TypeVar("In")

READ_AT_ONCE = 100


class ScheduleOptions(TypedDict, total=False):
    """When a schedule is due, and what it does where runs would overlap or ticks were missed."""

    cron: str | None
    """Five fields, or six with seconds first: `"0 3 * * *"`."""
    every: Duration | None
    """Instead of cron: an interval, counted from 1970 (UTC), so that "15m" is due at the quarters of an hour."""
    timezone: str
    """Of cron: an IANA name; by default UTC."""
    overlap: Overlap
    """While the run before has not ended: `skip` the tick (the default), `queue` its run, or `cancel_running`."""
    catch_up: CatchUp
    """Of ticks that came more than a minute ago: run `none`, the `last` (the default), or `all`."""


class Schedules:
    """The schedules of a namespace."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Backend]],
        find_spec: Callable[[Any, str | None], WorkflowSpec[Any, Any]],
        queue_limits: QueueLimits,
    ) -> None:
        """Made by `RedisFlow`."""
        self._queue_limits = queue_limits
        self._connect = connect
        self._find_spec = find_spec

    @overload
    async def create(
        self,
        schedule_id: str,
        workflow: WorkflowSpec[None, Any] | Workflow[None, Any],
        /,
        *,
        input: None = None,
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleInfo: ...
    @overload
    async def create(
        self,
        schedule_id: str,
        workflow: WorkflowSpec[In, Any] | Workflow[In, Any],
        /,
        *,
        input: In,
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleInfo: ...
    @overload
    async def create(
        self, schedule_id: str, workflow: str, /, *, input: Any = None, **options: Unpack[ScheduleOptions]
    ) -> ScheduleInfo: ...

    async def create(
        self,
        schedule_id: str,
        workflow: WorkflowSpec[Any, Any] | Workflow[Any, Any] | str,
        /,
        *,
        input: Any = None,  # noqa: A002  # the field's word, keyword only
        **options: Unpack[ScheduleOptions],
    ) -> ScheduleInfo:
        """Create a schedule, or replace the one of this id; either `cron` or `every` says when it is due.

        From its first tick after now, exactly one run starts for each tick. With the definition that it has already
        nothing changes, so this is safe to repeat. With another, its next tick is computed anew; its history stays,
        and one that is paused stays paused.

        Raises InvalidSchedule, InvalidInput and InvalidLimit (nothing was stored), BackpressureError,
        BackendUnavailable.
        """
        schedule = Schedule(id=schedule_id, input=input, **options)
        definition = definition_of(self._find_spec(workflow, None), schedule, self._queue_limits)
        await (await self._connect()).schedules.put(definition)
        return await self.get(schedule_id)

    async def get(self, schedule_id: str) -> ScheduleInfo:
        """The schedule as it is now. ScheduleNotFound where it is not stored."""
        backend = await self._connect()
        info = await backend.schedules.get(check_name("schedule", schedule_id))
        if info is None:
            raise _not_found(schedule_id, backend)
        return info

    async def list(self) -> list[ScheduleInfo]:
        """All schedules, by their ids; `info.next_fire_times(5)` says when each fires."""
        schedules = (await self._connect()).schedules
        ids = await schedules.list_ids()
        found: list[ScheduleInfo] = []
        for first in range(0, len(ids), READ_AT_ONCE):
            read = await asyncio.gather(*map(schedules.get, ids[first : first + READ_AT_ONCE]))
            found += [info for info in read if info is not None]
        return found

    async def pause(self, schedule_id: str) -> None:
        """Fire no tick until it is resumed; runs that it has started go on. ScheduleNotFound; safe to repeat."""
        backend = await self._connect()
        if not await backend.schedules.pause(check_name("schedule", schedule_id)):
            raise _not_found(schedule_id, backend)

    async def resume(self, schedule_id: str) -> None:
        """Go on with the first tick after now: those in between are not caught up. ScheduleNotFound; safe to repeat."""
        backend = await self._connect()
        if not await backend.schedules.resume(check_name("schedule", schedule_id)):
            raise _not_found(schedule_id, backend)

    async def trigger(self, schedule_id: str) -> WorkflowHandle[Any] | None:
        """Start a run now, besides its ticks, also while it is paused; the overlap policy holds for it.

        None where it was skipped because the run before has not ended. ScheduleNotFound.
        """
        backend = await self._connect()
        check_name("schedule", schedule_id)
        run_id = new_run_id(partition_for_key(f"schedule\0{schedule_id}", backend.partitions))
        info = await self.get(schedule_id)
        while (outcome := await backend.schedules.trigger(info, run_id)) == "stale":
            info = await self.get(schedule_id)
        if outcome == "missing":
            raise _not_found(schedule_id, backend)
        if outcome == "skipped":
            return None
        return WorkflowHandle(
            backend,
            self._spec_of(info.definition),
            StartedRun(
                run_id,
                info.workflow,
                info.definition.version,
                existing=False,
                is_confirmed=backend.durability.level != "replicated",  # the trigger's answer does not say it
            ),
        )

    def _spec_of(self, definition: ScheduleDefinition) -> WorkflowSpec[Any, Any]:
        try:
            return self._find_spec(definition.workflow, definition.version)
        except UnknownWorkflow:
            # It is implemented elsewhere: its result comes as plain data.
            return WorkflowSpec(
                name=definition.workflow,
                version=definition.version,
                queue=definition.queue,
                input=PayloadType.of(Any),
                output=PayloadType.of(Any),
            )

    async def delete(self, schedule_id: str) -> None:
        """Delete it; safe to repeat. A run that is going on goes on; runs that are queued behind it are canceled."""
        await (await self._connect()).schedules.delete(check_name("schedule", schedule_id))


def definition_of(
    spec: WorkflowSpec[Any, Any], schedule: Schedule, queue_limits: QueueLimits = NO_QUEUE_LIMITS
) -> ScheduleDefinition:
    """A declared schedule of a workflow, its input encoded, with what its limits mean for such runs.

    InvalidInput where the input does not fit the workflow, InvalidLimit where a limit cannot be worked out from it.
    """
    data, validated = encode_input(spec, schedule.input)
    limits = limits_for(spec.control, spec.name, spec.queue, validated, queue_limits)
    return ScheduleDefinition(
        id=check_name("schedule", spec.name if schedule.id is None else schedule.id),
        workflow=spec.name,
        version=spec.version,
        queue=spec.queue,
        input=data,
        ticks=schedule.ticks,
        overlap=schedule.overlap,
        catch_up=schedule.catch_up,
        limits=limits.fields,
    )


def _not_found(schedule_id: str, backend: Backend) -> ScheduleNotFound:
    return ScheduleNotFound(f"schedule {schedule_id!r} is not stored in namespace {backend.namespace!r}")
