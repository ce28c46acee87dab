"""`redisflow run export`: runs with their whole records, as files."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from redisflow.cli.chosen import NONE, Chosen
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import STDOUT, about_file, note
from redisflow.cli.progress import progress
from redisflow.run_id import check_run_id
from redisflow.words import counted

if TYPE_CHECKING:
    from redisflow.flow import RedisFlow


async def export(
    run_ids: Annotated[tuple[str, ...], Parameter(help="run ids")] = (),
    /,
    *,
    to: Annotated[Path | None, Parameter(help="a file; by default standard output")] = None,
    chosen: Chosen = NONE,
    given: Given = PLAIN,
) -> None:
    """Export runs with their records, payloads and events, for `redisflow run import` and `replay`, and for reports.

    Filters mean all that match. One run is a JSON document over several lines; of several, each is a line.
    """
    if bool(run_ids) == bool(chosen.query):
        msg = "say which runs to export: their ids, or filters such as --workflow NAME"
        raise ValueError(msg)
    ids = [check_run_id(run_id) for run_id in run_ids]
    indent = 1 if len(ids) == 1 else None
    count = 0
    with about_file(str(to or STDOUT)), ExitStack() as stack:
        async with given.flow() as flow:
            # Opened when there is something to write: what was there before is not lost to a mistyped id.
            file = sys.stdout if to is None else None
            tell = stack.enter_context(progress("export", len(ids) or None))
            async for document in _documents(flow, ids, chosen):
                if file is None and to is not None:
                    file = stack.enter_context(to.open("w", encoding="utf-8"))
                if file is not None:
                    file.write(json.dumps(document, indent=indent) + "\n")
                count += 1
                tell(count)
    if to is not None and count:
        note(f"wrote {counted(count, 'run')} to {to}" if indent is None else f"wrote {to}")
    elif not count:
        note("no run matches")


async def _documents(flow: RedisFlow, ids: list[str], chosen: Chosen) -> AsyncIterator[dict[str, Any]]:
    for run_id in ids:
        yield await flow.export_run(run_id)
    if chosen.query:
        async for document in chosen.export(flow, most=0):
            yield document
