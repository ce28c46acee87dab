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
        # What is paused is so in each partition.
        held = {row.control[2:]: row.state for row in await backend.controls.list(0) if row.control.startswith("w:")}
    found = [documents.of_counts(name, each) for name, each in sorted(counts.workflows.items())]
    columns = [Column("WORKFLOW", lambda row: row["id"])]
    columns += map(_count_of, ("unfinished", "stuck", "succeeded", "failed", "canceled"))
    if detailed:
        columns += map(_count_of, ("pending", "running", "waiting"))
    given.out.rows(columns, found)
    if given.out.form == "table":
        if not found:
            note("no run is stored")
        for name, state in sorted(held.items()):
            note(f"workflow {name} is {state}")


def _count_of(name: str) -> Column:
    def text(row: Document) -> str:
        by_status: dict[str, int] = row["by_status"] or {}
        return f"{row[name] if name in row else by_status.get(name, 0):,}"

    return Column(name.upper(), text, right=True)
