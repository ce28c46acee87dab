"""`redisflow workflow`: what is stored of each workflow, and holding back the runs of one."""

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


async def pause(workflow: str, /, *, given: Given = PLAIN) -> None:
    """Take up no run of this workflow from now on; those that a worker holds go on until they wait."""
    async with given.flow() as flow:
        await flow.controls.pause(workflow=workflow)
    note(f"workflow {workflow} is paused")


async def resume(workflow: str, /, *, given: Given = PLAIN) -> None:
    """Let its runs be taken up again."""
    async with given.flow() as flow:
        await flow.controls.resume(workflow=workflow)
    note(f"workflow {workflow} goes on")
