"""`redisflow run trace`: what a run did when, with its attempts, its waits and its children, as bars over time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from redisflow import documents
from redisflow.cli.arguments import RunId
from redisflow.cli.exits import EXIT_FAILED
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import Document, console, is_terminal
from redisflow.cli.trace_picture import draw_trace
from redisflow.client.family import Family, read_family

if TYPE_CHECKING:
    from redisflow.flow import RedisFlow
    from redisflow.runs import WorkflowRun

LOOK_S = 0.5
"""Between two looks at runs that go on."""
BARS_PLAIN = 60
BARS_LEAST, BARS_MOST = 20, 100
BESIDE = 70
"""Columns of a terminal that names and what is said of steps take."""


async def trace(
    run_id: RunId,
    /,
    *,
    live: Annotated[
        bool, Parameter(negative=(), help="follow it until it has ended; then 1 unless it succeeds")
    ] = False,
    depth: Annotated[int, Parameter(help="generations of children that are shown")] = 3,
    most: Annotated[int, Parameter(name="--limit", alias="-l", help="runs that are read at most")] = 50,
    given: Given = PLAIN,
) -> int:
    """Show what a run did when: its steps with their attempts and waits, and its children below them.

    Each run is drawn to its own scale; long stretches in which nothing runs are drawn short.
    """
    if depth < 0 or most < 1:
        msg = "--depth is a whole number from 0, --limit one from 1"
        raise ValueError(msg)
    async with given.flow() as flow:
        if live:
            found = await _follow(flow, run_id, depth, most, is_shown=given.out.form == "table" and is_terminal())
        else:
            found = await _read(flow, run_id, depth, most, {})
    if not (live and given.out.form == "table" and is_terminal()):
        given.out.one(_document(found, found.root), lambda: _draw(found))
    return EXIT_FAILED if live and found.root.status != "succeeded" else 0


async def _follow(flow: RedisFlow, run_id: str, depth: int, most: int, *, is_shown: bool) -> Family:
    if not is_shown:
        found = await _read(flow, run_id, depth, most, {})
        while not found.root.is_finished:
            await asyncio.sleep(LOOK_S)
            found = await _read(flow, run_id, depth, most, found.runs)
        return found
    from rich.live import Live  # noqa: PLC0415  # where a person watches

    found = await _read(flow, run_id, depth, most, {})
    with Live(_draw(found), console=console(), refresh_per_second=4) as shown:
        while not found.root.is_finished:
            await asyncio.sleep(LOOK_S)
            found = await _read(flow, run_id, depth, most, found.runs)
            shown.update(_draw(found))
    return found


async def _read(flow: RedisFlow, run_id: str, depth: int, most: int, known: Mapping[str, WorkflowRun]) -> Family:
    return await read_family(flow.get_run, await flow.get_run(run_id), depth=depth, most=most, known=known)


def _draw(found: Family) -> Any:
    is_plain = not is_terminal()
    width = BARS_PLAIN if is_plain else max(BARS_LEAST, min(BARS_MOST, console().width - BESIDE))
    return draw_trace(found, datetime.now(UTC), width, plain=is_plain)


def _document(found: Family, run: WorkflowRun) -> Document:
    """The run's own document; where a child was read, its step has it as `child`, else why not as `child_missing`."""
    document = documents.of_run(run)
    for step in document["steps"]:
        child = found.runs.get(step["child_id"])
        step["child"] = None if child is None else _document(found, child)
        step["child_missing"] = None if step["child_id"] is None else found.why_not(step["child_id"])
    return document
