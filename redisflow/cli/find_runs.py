"""`redisflow run list`: the runs that match. It imports no more than it needs, since it is typed most often."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from cyclopts import Parameter

from redisflow import documents
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import Column, Output, note, took
from redisflow.client.finding import PAGE_LIMIT, FindOptions, list_page
from redisflow.durations import read_instant


async def list_runs(  # noqa: PLR0913  # each is a filter
    *,
    workflow: Annotated[str | None, Parameter(alias="-w", help="of this workflow")] = None,
    version: Annotated[str | None, Parameter(help="of this version of it")] = None,
    status: Annotated[
        list[str] | None,
        Parameter(
            alias="-s", help="pending, running, waiting, succeeded, failed, canceled; waiting:timer", negative=()
        ),
    ] = None,
    tag: Annotated[list[str] | None, Parameter(alias="-t", help="NAME=VALUE; all of them", negative=())] = None,
    created_after: Annotated[str | None, Parameter(help="so long ago at most (`1h`), or an instant")] = None,
    created_before: Annotated[str | None, Parameter(help="so long ago at least, or an instant")] = None,
    finished_after: Annotated[str | None, Parameter(help="ended so long ago at most, or an instant")] = None,
    finished_before: Annotated[str | None, Parameter(help="ended so long ago at least, or an instant")] = None,
    oldest_first: Annotated[bool, Parameter(negative=(), help="instead of the latest")] = False,
    limit: Annotated[int, Parameter(alias="-l", help="at most so many; 0: all")] = 50,
    given: Given = PLAIN,
) -> None:
    """List runs: those that go on first, then those that ended, the latest first."""
    if limit < 0:
        msg = f"--limit is a whole number from 0, not {limit}"
        raise ValueError(msg)
    instants = {
        "created_after": created_after,
        "created_before": created_before,
        "finished_after": finished_after,
        "finished_before": finished_before,
    }
    options = FindOptions(
        status=status or (),
        workflow=workflow,
        version=version,
        tags=read_tags(tag or []),
        order="oldest" if oldest_first else "newest",
        **{name: read_instant(text) for name, text in instants.items() if text is not None},
    )
    async with given.connect() as backend:
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        wanted = options.filter()
        while True:
            left = limit - len(found) if limit else PAGE_LIMIT
            page = await list_page(backend, wanted, min(left, PAGE_LIMIT), cursor)
            found += map(documents.of_summary, page.runs)
            cursor = page.cursor
            if cursor is None or (limit and len(found) >= limit):
                break
    out = given.out
    out.rows(columns(out), found)
    if cursor is not None and out.form == "table":
        note(f"the first {limit}; there are more (--limit 0: all)")
    elif not found and out.form == "table":
        note("no run matches")


def columns(out: Output) -> tuple[Column, ...]:
    """What a list of runs shows."""
    return (
        Column("ID", lambda run: run["id"]),
        Column("WORKFLOW", lambda run: run["workflow"] + (f" {run['version']}" if run["version"] else "")),
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


def read_tags(texts: list[str]) -> dict[str, str]:
    """`NAME=VALUE`, each."""
    tags: dict[str, str] = {}
    for text in texts:
        name, is_pair, value = text.partition("=")
        if not is_pair:
            msg = f"a tag is written NAME=VALUE, not {text!r}"
            raise ValueError(msg)
        tags[name] = value
    return tags


def as_duration(text: str | None) -> str | float | None:
    """A duration as typed, in seconds where it is a bare number."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text
