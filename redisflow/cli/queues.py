"""`redisflow queue list` and `redisflow queue peek`: how much lies in queues, and what comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from redisflow import documents
from redisflow.cli.arguments import QueueName
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import Column, note
from redisflow.client import queues
from redisflow.names import check_name

if TYPE_CHECKING:
    from redisflow.contract import Backend

MOST = 1000
"""Runs that a look at a queue reads."""


async def list_queues(*, given: Given = PLAIN) -> None:
    """List queues: runs that the next free worker takes, runs that workers hold, and since when the oldest is there."""
    async with given.connect() as backend:

        async def connected() -> Backend:
            return backend

        found = [documents.of_queue(each) for each in await queues.list_queues(connected)]
    out = given.out
    columns = (
        Column("QUEUE", lambda row: row["id"]),
        Column("READY", lambda row: f"{row['ready']:,}", right=True),
        Column("HELD", lambda row: f"{row['held']:,}", right=True),
        Column("OLDEST", lambda row: out.when(row["oldest_at"]), right=True),
        Column("PAUSED", lambda row: "paused" if row["is_paused"] else ""),
    )
    out.rows(columns, found)


async def peek(
    queue: QueueName,
    /,
    *,
    limit: Annotated[int, Parameter(alias="-l", help=f"at most so many, up to {MOST}")] = 20,
    given: Given = PLAIN,
) -> None:
    """The next runs of a queue: woken ones, then by priority, those first that came first."""
    if not 1 <= limit <= MOST:
        msg = f"--limit is a whole number from 1 to {MOST}, not {limit}"
        raise ValueError(msg)
    check_name("queue", queue)
    async with given.connect() as backend:
        found = [documents.of_queued_run(each) for each in await backend.listings.peek_queue(queue, limit)]
        # What is paused is so in each partition.
        held = {row.control: row.state for row in await backend.controls.list(0)}.get(f"q:{queue}")
    out = given.out
    columns = (
        Column("ID", lambda run: run["id"]),
        Column("WORKFLOW", lambda run: run["workflow"] + (f" {run['version']}" if run["version"] else "")),
        Column("PRIORITY", lambda run: "woken" if run["priority"] is None else str(run["priority"]), right=True),
        Column("QUEUED", lambda run: out.when(run["queued_at"]), right=True),
        Column("TAGS", lambda run: " ".join(f"{name}={value}" for name, value in run["tags"].items()), may_shrink=True),
    )
    out.rows(columns, found)
    if out.form == "table":
        if not found:
            note(f"nothing is to be claimed from queue {queue}")
        elif held is not None:
            note(f"queue {queue} is {held}: they wait until it is let go")
