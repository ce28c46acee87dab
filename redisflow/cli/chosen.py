"""Runs that are read whole: those that match, all of them or up to a number."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from redisflow.cli.filters import Filters, check_limit, note_more
from redisflow.errors import RunNotFound

if TYPE_CHECKING:
    from redisflow.flow import RedisFlow


@Parameter(name="*", group="Which runs")
@dataclass(frozen=True, kw_only=True)
class Chosen(Filters):
    """Those that match, the latest first."""

    limit: Annotated[int | None, Parameter(alias="-l", help="of those that match, at most so many; 0: all")] = None

    def __post_init__(self) -> None:
        """See `check_limit`."""
        check_limit(self.limit or 0)

    async def export(self, flow: RedisFlow, *, most: int, events: bool = True) -> AsyncIterator[dict[str, Any]]:
        """Each as a document, one at a time: a long one is not kept beside the others. `most` where nothing is said."""
        limit = most if self.limit is None else self.limit
        seen = 0
        async for run in flow.list_runs(**self.query):
            if seen == limit > 0:
                note_more(limit)
                return
            with contextlib.suppress(RunNotFound):  # it was deleted meanwhile
                yield await flow.export_run(run.id, events=events)
                seen += 1


NONE = Chosen()
