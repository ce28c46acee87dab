"""`redisflow run list`: the runs that match. It imports no more than it needs, since it is typed most often."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from cyclopts import Parameter

from redisflow import documents
from redisflow.cli.filters import ALL, Filters, check_limit, note_more
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import Column, Output, note, took
from redisflow.client.finding import PAGE_LIMIT, FindOptions, list_page


async def list_runs(
    *,
    filters: Filters = ALL,
    oldest_first: Annotated[bool, Parameter(negative=(), help="instead of the latest")] = False,
    limit: Annotated[int, Parameter(alias="-l", help="at most so many; 0: all")] = 50,
    given: Given = PLAIN,
) -> None:
    """List runs: those that go on first, then those that ended, the latest first."""
    check_limit(limit)
    query = filters.query
    if oldest_first:
        query["order"] = "oldest"
    wanted = FindOptions(**query).filter()
    async with given.connect() as backend:
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            # One more than is shown: whether there are more is not known before.
            left = limit + 1 - len(found) if limit else PAGE_LIMIT
            page = await list_page(backend, wanted, min(left, PAGE_LIMIT), cursor)
            found += map(documents.of_summary, page.runs)
            cursor = page.cursor
            if cursor is None or 0 < limit < len(found):
                break
    out = given.out
    out.rows(columns(out), found[: limit or None])
    if 0 < limit < len(found):
        note_more(limit)
    elif not found and out.form == "table":
        note("no run matches")


def columns(out: Output) -> tuple[Column, ...]:
    """What a list of runs shows."""
    return (
        Column("ID", lambda run: run["id"]),
        Column(
            "WORKFLOW",
            lambda run: run["workflow"] + (f" {run['version']}" if run["version"] else ""),
            may_shrink=True,
        ),
        Column("STATUS", status_of),
        Column("CREATED", lambda run: out.when(run["created_at"]), right=True),
        Column("TOOK", _took, right=True),
        Column("TAGS", lambda run: " ".join(f"{name}={value}" for name, value in run["tags"].items()), may_shrink=True),
    )


def status_of(run: dict[str, Any]) -> str:
    """Of a run, with what it waits for or why it was ended."""
    more = run["waiting_for"] or run["cause"]
    return f"{run['status']} ({more})" if more and more != run["status"] else run["status"]


def _took(run: dict[str, Any]) -> str:
    if run["finished_at"] is None:
        return ""
    ended, created = (datetime.fromisoformat(run[name]) for name in ("finished_at", "created_at"))
    return took((ended - created).total_seconds())


def as_duration(text: str | None) -> str | float | None:
    """A duration as typed, in seconds where it is a bare number."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text
