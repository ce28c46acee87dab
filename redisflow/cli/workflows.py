"""`redisflow workflow`: what is stored of each workflow."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from redisflow import documents
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import Column, Document, note


async def list_workflows(
    *,
    detailed: Annotated[
        bool, Parameter(negative=(), help="look at unfinished runs: about 100,000 in a second")
    ] = False,
    given: Given = PLAIN,
) -> None:
    """List the workflows that have runs, and how many in which status."""
    async with given.connect() as backend:
        counts = await backend.listings.count_runs(detailed=detailed)
    found = [documents.of_counts(name, each) for name, each in sorted(counts.workflows.items())]
    columns = [Column("WORKFLOW", lambda row: row["id"])]
    columns += map(_count_of, ("unfinished", "stuck", "succeeded", "failed", "canceled"))
    if detailed:
        columns += map(_count_of, ("pending", "running", "waiting"))
    given.out.rows(columns, found)
    if not found and given.out.form == "table":
        note("no run is stored")


def _count_of(name: str) -> Column:
    def text(row: Document) -> str:
        by_status: dict[str, int] = row["by_status"] or {}
        return f"{row[name] if name in row else by_status.get(name, 0):,}"

    return Column(name.upper(), text, right=True)
