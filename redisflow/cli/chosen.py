"""Runs that are read whole: some by their ids, or those that match, up to a number."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from redisflow.cli.find_runs import read_tags
from redisflow.durations import read_instant
from redisflow.errors import RunNotFound

if TYPE_CHECKING:
    from redisflow.flow import RedisFlow


@Parameter(name="*", group="Which runs")
class Chosen:
    """Those that match, the latest first."""

    def __init__(
        self,
        *,
        workflow: Annotated[str | None, Parameter(alias="-w", help="runs of this workflow")] = None,
        status: Annotated[list[str] | None, Parameter(alias="-s", help="in this status", negative=())] = None,
        tag: Annotated[list[str] | None, Parameter(alias="-t", help="with NAME=VALUE", negative=())] = None,
        created_after: Annotated[str | None, Parameter(help="so long ago at most (`1d`), or an instant")] = None,
        created_before: Annotated[str | None, Parameter(help="so long ago at least, or an instant")] = None,
        limit: Annotated[int, Parameter(alias="-l", help="of those that match, at most so many; 0: all")] = 50,
    ) -> None:
        """As typed."""
        if limit < 0:
            msg = f"--limit is a whole number from 0, not {limit}"
            raise ValueError(msg)
        query: dict[str, Any] = {
            "workflow": workflow,
            "status": status or None,
            "tags": read_tags(tag) if tag else None,
            "created_after": None if created_after is None else read_instant(created_after),
            "created_before": None if created_before is None else read_instant(created_before),
        }
        self.query = {name: said for name, said in query.items() if said is not None}
        self.limit = limit

    async def export(self, flow: RedisFlow, *, events: bool = True) -> AsyncIterator[dict[str, Any]]:
        """Each as a document, one at a time: a long one is not kept beside the others."""
        seen = 0
        async for run in flow.list_runs(**self.query):
            with contextlib.suppress(RunNotFound):  # it was deleted meanwhile
                yield await flow.export_run(run.id, events=events)
                seen += 1
            if seen == self.limit > 0:
                return


NONE = Chosen()
