"""`redisflow workers` and `redisflow stranded`: who works, and what nobody serves."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from redisflow import documents
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import Column, note


async def list_workers(
    *,
    gone: Annotated[bool, Parameter(negative=(), help="those of the last hour that ended without a word, too")] = False,
    given: Given = PLAIN,
) -> None:
    """List the workers that are alive: what they serve, and how many runs each holds."""
    async with given.connect() as backend:
        workers = [worker for worker in await backend.fleet.list_workers() if gone or worker.is_alive]
    out = given.out
    columns = (
        Column("NAME", lambda row: row["id"]),
        Column("HOST", lambda row: row["host"]),
        Column("PID", lambda row: str(row["pid"]), right=True),
        Column("RUNS", lambda row: f"{row['held']} of {row['concurrency']}", right=True),
        Column("QUEUES", lambda row: ", ".join(row["queues"])),
        Column("WORKFLOWS", lambda row: ", ".join(_place(each) for each in row["workflows"])),
        Column(
            "SEEN", lambda row: out.when(row["seen_at"]) if row["is_alive"] else f"gone, {out.when(row['seen_at'])}"
        ),
    )
    out.rows(columns, [documents.of_worker(worker) for worker in workers])
    if not workers and out.form == "table":
        note("no worker is alive")


async def stranded(
    *,
    detailed: Annotated[bool, Parameter(negative=(), help="tell versions apart, run by run")] = False,
    given: Given = PLAIN,
) -> None:
    """What no live worker serves, and why."""
    async with given.connect() as backend:
        report = await backend.fleet.find_stranded(detailed=detailed, look_at=None)
    given.out.one(documents.of_stranded(report), lambda: str(report))


def _place(workflow: dict[str, str | None]) -> str:
    return f"{workflow['name']} {workflow['version']}" if workflow["version"] else str(workflow["name"])
