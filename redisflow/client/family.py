"""A run with its descendants, as far as they are read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from redisflow.client.unreadable import UNREADABLE, why_unreadable
from redisflow.errors import RunNotFound
from redisflow.runs import WorkflowRun


@dataclass(frozen=True, slots=True)
class Family:
    """A run, and those of its descendants that were read, by their ids; it is among them."""

    root: WorkflowRun
    runs: Mapping[str, WorkflowRun]
    missing: frozenset[str] = frozenset()
    """Of those that were looked for, the ids of runs that are not stored: deleted, or still to be started."""
    unreadable: Mapping[str, str] = field(default_factory=dict[str, str])
    """Those that are stored and cannot be read here, by their ids, with why in a few words."""

    def why_not(self, child_id: str) -> str | None:
        """Why this descendant is not among the runs, in a few words; None where it is."""
        if child_id in self.runs:
            return None
        if child_id in self.unreadable:
            return f"cannot be read here: {self.unreadable[child_id]}"
        return "not stored" if child_id in self.missing else "not read"


async def read_family(
    get_run: Callable[[str], Awaitable[WorkflowRun]],
    root: WorkflowRun,
    *,
    depth: int,
    most: int,
    known: Mapping[str, WorkflowRun] | None = None,
) -> Family:
    """Generation by generation, `depth` of them and `most` runs in all; one that cannot be read hides no other.

    Runs of `known` that had ended are not read again.
    """
    known = known or {}
    runs = {root.id: root}
    missing: set[str] = set()
    unreadable: dict[str, str] = {}

    async def read(child_id: str) -> WorkflowRun | None:
        before = known.get(child_id)
        if before is not None and before.is_finished:
            return before
        try:
            return await get_run(child_id)
        except RunNotFound:
            missing.add(child_id)
        except UNREADABLE as error:
            unreadable[child_id] = why_unreadable(error)
        return None

    level = [root]
    for _ in range(depth):
        ids = dict.fromkeys(step.child_id for run in level for step in run.steps if step.child_id not in runs)
        wanted = [child_id for child_id in ids if child_id is not None][: most - len(runs)]
        read_runs = await asyncio.gather(*map(read, wanted))
        level = [run for run in read_runs if run is not None]
        if not level:
            break
        runs |= {run.id: run for run in level}
    return Family(root, runs, frozenset(missing), unreadable)
