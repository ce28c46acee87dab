"""A run with its descendants, as far as they are read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from redisflow.errors import RunNotFound
from redisflow.runs import WorkflowRun


@dataclass(frozen=True, slots=True)
class Family:
    """A run, and those of its descendants that were read, by their ids; it is among them."""

    root: WorkflowRun
    runs: Mapping[str, WorkflowRun]
    missing: frozenset[str] = frozenset()
    """Of those that were looked for, the ids of runs that are not stored: deleted, or still to be started."""


async def read_family(
    get_run: Callable[[str], Awaitable[WorkflowRun]],
    root: WorkflowRun,
    *,
    depth: int,
    most: int,
    known: Mapping[str, WorkflowRun] | None = None,
) -> Family:
    """Generation by generation, `depth` of them and `most` runs in all.

    Runs of `known` that had ended are not read again.
    """
    known = known or {}

    async def read(child_id: str) -> WorkflowRun | None:
        before = known.get(child_id)
        if before is not None and before.is_finished:
            return before
        try:
            return await get_run(child_id)
        except RunNotFound:
            return None

    runs = {root.id: root}
    missing: set[str] = set()
    level = [root]
    for _ in range(depth):
        ids = dict.fromkeys(step.child_id for run in level for step in run.steps if step.child_id not in runs)
        wanted = [child_id for child_id in ids if child_id is not None][: most - len(runs)]
        read_runs = await asyncio.gather(*map(read, wanted))
        missing |= {child_id for child_id, run in zip(wanted, read_runs, strict=True) if run is None}
        level = [run for run in read_runs if run is not None]
        if not level:
            break
        runs |= {run.id: run for run in level}
    return Family(root, runs, frozenset(missing))
