"""`redisflow schedule`: what starts runs by the clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from cyclopts import Parameter

from redisflow import documents
from redisflow.cli.arguments import ScheduleId, WorkflowName
from redisflow.cli.asking import is_meant
from redisflow.cli.exits import EXIT_FAILED, Refused
from redisflow.cli.find_runs import as_duration, status_of
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import Column, Document, Output, note
from redisflow.cli.problems import unsure
from redisflow.cli.start_run import Value, read_value, wanted_of

if TYPE_CHECKING:
    from redisflow.client.schedules import ScheduleOptions
    from redisflow.flow import RedisFlow

LAST_RUNS = 5
LOOKED_AT = 500
"""Of the last runs of the workflow, so many are looked at for those of the schedule."""


async def list_schedules(*, given: Given = PLAIN) -> None:
    """List schedules with their next ticks."""
    async with given.flow() as flow:
        found = [documents.of_schedule(each) for each in await flow.schedules.list()]
    out = given.out
    columns = (
        Column("ID", lambda row: row["id"]),
        Column("WORKFLOW", lambda row: row["workflow"], may_shrink=True),
        Column("WHEN", lambda row: row["ticks"], may_shrink=True),
        Column(
            "NEXT", lambda row: "paused" if row["is_paused"] else out.when(next(iter(row["next_fire_times"]), None))
        ),
        Column("LAST", lambda row: row["last_outcome"] or ""),
        Column("LAST RUN", lambda row: row["last_run_id"] or "", spare=1),
    )
    out.rows(columns, found)
    if not found and out.form == "table":
        note("there is no schedule")


async def show(schedule_id: ScheduleId, /, *, given: Given = PLAIN) -> None:
    """Show a schedule: when it is due, in words too, what it does where runs overlap, and its last runs."""
    async with given.flow() as flow:
        info = await flow.schedules.get(schedule_id)
        document = {
            **documents.of_schedule(info),
            "explanation": info.definition.ticks.explain(),
            "last_fire_at": documents.iso(info.last_fire_at),
            "last_runs": await _last_runs(flow, schedule_id, info.workflow),
        }
    out = given.out
    out.one(document, lambda: _text(document, out))


async def _last_runs(flow: RedisFlow, schedule_id: str, workflow: str) -> list[Document]:
    found: list[Document] = []
    seen = 0
    async for run in flow.list_runs(workflow=workflow):
        seen += 1
        if run.schedule == schedule_id:
            found.append(documents.of_summary(run))
        if len(found) == LAST_RUNS or seen == LOOKED_AT:
            break
    return found


def _text(document: Document, out: Output) -> str:
    version = f" {document['version']}" if document["version"] else ""
    lines = [
        f"schedule {document['id']} of {document['workflow']}{version}, in queue {document['queue']}",
        f"{document['ticks']}: {document['explanation']}",
        f"overlap: {document['overlap']}; ticks that were missed: {document['catch_up']}",
    ]
    if document["last_fire_at"]:
        lines.append(f"last tick {out.when(document['last_fire_at'])}: {document['last_outcome']}")
    lines += ["", "paused" if document["is_paused"] else "next ticks"]
    lines += [f"  {instant}  ({out.when(instant)})" for instant in document["next_fire_times"]]
    if document["last_runs"]:
        lines += ["", "last runs"]
        lines += [
            f"  {run['id']}  {status_of(run)}  created {out.when(run['created_at'])}" for run in document["last_runs"]
        ]
    return "\n".join(lines)


async def create(  # noqa: PLR0913  # each is a part of its definition
    schedule_id: ScheduleId,
    workflow: WorkflowName,
    /,
    value: Value = None,
    *,
    cron: Annotated[str | None, Parameter(help='five fields, or six with seconds first: "0 3 * * *"')] = None,
    every: Annotated[str | None, Parameter(help="instead of cron: an interval, such as 15m")] = None,
    timezone: Annotated[str | None, Parameter(help="of cron; by default UTC")] = None,
    overlap: Annotated[
        Literal["skip", "queue", "cancel_running"] | None, Parameter(help="while the run before has not ended")
    ] = None,
    catch_up: Annotated[Literal["none", "last", "all"] | None, Parameter(help="of ticks that were missed")] = None,
    given: Given = PLAIN,
) -> None:
    """Create a schedule, or give the one of this id another definition. Safe to repeat."""
    options: dict[str, Any] = {
        "cron": cron,
        "every": as_duration(every),
        "timezone": timezone,
        "overlap": overlap,
        "catch_up": catch_up,
    }
    options = {name: said for name, said in options.items() if said is not None}
    read = read_value(value)
    async with given.flow() as flow:
        wanted: Any = wanted_of(flow, workflow)
        info = await flow.schedules.create(schedule_id, wanted, input=read, **cast("ScheduleOptions", options))
    document = {**documents.of_schedule(info), "explanation": info.definition.ticks.explain()}
    given.out.one(document, lambda: f"{info}\n{document['explanation']}")


async def pause(schedule_id: ScheduleId, /, *, given: Given = PLAIN) -> None:
    """Start nothing from now on."""
    async with given.flow() as flow:
        await flow.schedules.pause(schedule_id)
    note(f"schedule {schedule_id} is paused")


async def resume(schedule_id: ScheduleId, /, *, given: Given = PLAIN) -> None:
    """Go on with the next tick."""
    async with given.flow() as flow:
        await flow.schedules.resume(schedule_id)
    note(f"schedule {schedule_id} goes on")


async def trigger(schedule_id: ScheduleId, /, *, given: Given = PLAIN) -> None:
    """Start a run of it now; prints its id."""
    async with given.flow() as flow:
        with unsure("a run was started", f"look first: `redisflow schedule show {schedule_id}`"):
            run = await flow.schedules.trigger(schedule_id)
    if run is None:
        msg = f"schedule {schedule_id}: skipped, since the run before has not ended"
        raise Refused(msg)
    run_id = run.id
    given.out.one({"id": run_id, "schedule": schedule_id}, lambda: run_id)


async def delete(
    schedule_id: ScheduleId,
    /,
    *,
    yes: Annotated[bool, Parameter(alias="-y", negative=(), help="do not ask")] = False,
    dry_run: Annotated[bool, Parameter(negative=(), help="say what it starts, and do nothing")] = False,
    given: Given = PLAIN,
) -> int:
    """Delete it; its runs stay, but those that are queued behind one that goes on are canceled."""
    async with given.flow() as flow:
        if dry_run:
            info = await flow.schedules.get(schedule_id)
            note(f"would delete schedule {schedule_id}: {info.definition.ticks} of {info.workflow}")
            return 0
        if not is_meant(f"delete schedule {schedule_id}", is_sure=yes):
            return EXIT_FAILED
        await flow.schedules.delete(schedule_id)
    note(f"schedule {schedule_id} is deleted")
    return 0
