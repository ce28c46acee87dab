"""Finding runs: what may be asked, checked where it is written, and the list as an async iterator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TypedDict, cast, get_args

from redisflow.contract import Backend, Order, RunFilter
from redisflow.durations import Instant, When, to_when
from redisflow.names import check_name
from redisflow.runs import RunStatus, WaitReason
from redisflow.summaries import RunPage, RunSummary
from redisflow.tags import Tags, encode_tags

PAGE_SIZE = 100
PAGE_LIMIT = 1000


class RunQuery(TypedDict, total=False):
    """Which runs are wanted: the keywords of `list_runs` and `list_page`. All that is said must hold.

    A duration as a time means so long ago: `created_after="1h"` are the runs of the last hour.
    """

    status: str | Iterable[str]
    """One or several; `waiting:timer` is one, too."""
    workflow: str
    version: str
    tags: Tags
    """All of them."""
    created_after: Instant
    created_before: Instant
    finished_after: Instant
    finished_before: Instant
    order: Order
    """`newest` (the default) or `oldest` first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindOptions:
    """`RunQuery`, validated once."""

    status: str | Iterable[str] = ()
    workflow: str | None = None
    version: str | None = None
    tags: Tags = field(default_factory=dict[str, str])
    created_after: Instant | None = None
    created_before: Instant | None = None
    finished_after: Instant | None = None
    finished_before: Instant | None = None
    order: Order = "newest"

    def filter(self) -> RunFilter:
        """For the backend; ValueError where something cannot be meant so."""
        if self.order not in get_args(Order):
            msg = f"order is 'newest' or 'oldest', not {self.order!r}"
            raise ValueError(msg)
        encode_tags(self.tags)
        return RunFilter(
            statuses=_statuses(self.status),
            workflow=None if self.workflow is None else check_name("workflow", self.workflow),
            version=None if self.version is None else check_name("version", self.version),
            tags=dict(self.tags),
            created_after=_when(self.created_after, "created_after"),
            created_before=_when(self.created_before, "created_before"),
            finished_after=_when(self.finished_after, "finished_after"),
            finished_before=_when(self.finished_before, "finished_before"),
            order=self.order,
        )


async def list_page(backend: Backend, wanted: RunFilter, size: int, cursor: str | None) -> RunPage:
    """One page."""
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= PAGE_LIMIT:
        msg = f"page_size is a whole number from 1 to {PAGE_LIMIT}, not {size!r}"
        raise ValueError(msg)
    return await backend.listings.list_page(wanted, size, cursor)


async def list_runs(
    connect: Callable[[], Awaitable[Backend]], wanted: RunFilter, size: int
) -> AsyncIterator[RunSummary]:
    """All of them, page after page."""
    backend = await connect()
    cursor: str | None = None
    while True:
        page = await list_page(backend, wanted, size, cursor)
        for run in page.runs:
            yield run
        cursor = page.cursor
        if cursor is None:
            return


def _statuses(status: str | Iterable[str]) -> frozenset[str]:
    wanted = frozenset([status] if isinstance(status, str) else status)
    known = [*get_args(RunStatus), *(f"waiting:{reason}" for reason in cast("tuple[str, ...]", get_args(WaitReason)))]
    for each in wanted:
        if each not in known:
            msg = f"{each!r} is no status of a run: those are {', '.join(known)}"
            raise ValueError(msg)
    return wanted


def _when(instant: Instant | None, what: str) -> When | None:
    return None if instant is None else to_when(instant, what=what)
