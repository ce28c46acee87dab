"""`redisflow schedule`: what starts runs by the clock."""

from __future__ import annotations

from redisflow import documents
from redisflow.cli.exits import EXIT_CONFLICT
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import Column, note


async def list_schedules(*, given: Given = PLAIN) -> None:
    """List schedules with their next ticks."""
    async with given.flow() as flow:
        found = [documents.of_schedule(each) for each in await flow.schedules.list()]
    out = given.out
    columns = (
        Column("ID", lambda row: row["id"]),
        Column("WORKFLOW", lambda row: row["workflow"]),
        Column("WHEN", lambda row: row["ticks"]),
        Column(
            "NEXT", lambda row: "paused" if row["is_paused"] else out.when(next(iter(row["next_fire_times"]), None))
        ),
        Column("LAST", lambda row: row["last_outcome"] or ""),
        Column("LAST RUN", lambda row: row["last_run_id"] or ""),
    )
    out.rows(columns, found)
    if not found and out.form == "table":
        note("there is no schedule")


async def pause(schedule_id: str, /, *, given: Given = PLAIN) -> None:
    """Start nothing from now on."""
    async with given.flow() as flow:
        await flow.schedules.pause(schedule_id)
    note(f"schedule {schedule_id} is paused")


async def resume(schedule_id: str, /, *, given: Given = PLAIN) -> None:
    """Go on with the next tick."""
    async with given.flow() as flow:
        await flow.schedules.resume(schedule_id)
    note(f"schedule {schedule_id} goes on")


async def trigger(schedule_id: str, /, *, given: Given = PLAIN) -> int:
    """Start a run of it now; prints its id."""
    async with given.flow() as flow:
        run = await flow.schedules.trigger(schedule_id)
    if run is None:
        note(f"schedule {schedule_id}: skipped, since the run before has not ended")
        return EXIT_CONFLICT
    run_id = run.id
    given.out.one({"id": run_id, "schedule": schedule_id}, lambda: run_id)
    return 0


async def delete(schedule_id: str, /, *, given: Given = PLAIN) -> None:
    """Delete it; its runs stay."""
    async with given.flow() as flow:
        await flow.schedules.delete(schedule_id)
    note(f"schedule {schedule_id} is deleted")
