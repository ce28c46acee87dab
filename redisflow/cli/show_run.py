"""`redisflow run show` and `watch`: one run, now, and until it ends."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from redisflow import documents
from redisflow.cli.arguments import RunId
from redisflow.cli.exits import EXIT_FAILED
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import console, is_terminal, to_json, write_line
from redisflow.cli.picture import draw_run

if TYPE_CHECKING:
    from redisflow.flow import RedisFlow
    from redisflow.runs import WorkflowRun

LOOK_S = 0.5
"""Between two looks at a run that is watched."""


async def show(run_id: RunId, /, *, given: Given = PLAIN) -> None:
    """Show a run: its steps with their times, its payloads, and the traceback of its error."""
    async with given.flow() as flow:
        run = await flow.get_run(run_id)
        holder = await flow.find_holder(run_id) if run.status == "running" else None
    document = documents.of_run(run) | {"worker": holder and holder.worker}
    out = given.out
    out.one(document, lambda: draw_run(document, out, _width()))


async def watch(run_id: RunId, /, *, given: Given = PLAIN) -> int:
    """Follow a run until it has ended; exit code 1 where it does not succeed."""
    async with given.flow() as flow:
        if given.out.form == "table" and is_terminal():
            run = await _watch_live(flow, run_id, given)
        else:
            run = await _watch_lines(flow, run_id, given)
    return 0 if run.status == "succeeded" else EXIT_FAILED


def _width() -> int | None:
    """Of the terminal; None where there is none."""
    return console().width if is_terminal() else None


async def _watch_live(flow: RedisFlow, run_id: str, given: Given) -> WorkflowRun:
    from rich.live import Live  # noqa: PLC0415  # where a person watches

    with Live(console=console(), refresh_per_second=4, vertical_overflow="visible") as live:
        while True:
            run = await flow.get_run(run_id)
            live.update(draw_run(documents.of_run(run), given.out, _width(), with_payloads=run.is_finished))
            if run.is_finished:
                return run
            await asyncio.sleep(LOOK_S)


async def _watch_lines(flow: RedisFlow, run_id: str, given: Given) -> WorkflowRun:
    """A line for each change of the run or of a step, or each as a document. The last line is the end of the run."""
    told: dict[str, str] = {}
    while True:
        run = await flow.get_run(run_id)
        first = {"": str(run).partition("\n")[0]}
        steps = {step.key: f"  {step}" for step in run.steps}
        lines = steps | first if run.is_finished else first | steps
        changed = [line for key, line in lines.items() if told.get(key) != line]
        if changed and given.out.form == "table":
            for line in changed:
                write_line(line)
        elif changed:
            write_line(to_json(documents.of_run(run)))
        told = lines
        if run.is_finished:
            return run
        sys.stdout.flush()
        await asyncio.sleep(LOOK_S)
