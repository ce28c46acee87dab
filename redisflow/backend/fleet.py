"""Workers and stranded runs, from what workers say and from listings: no key is scanned, each call is bounded."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from redisflow import codec
from redisflow.backend import replies
from redisflow.contract.fleet import QueueDepth
from redisflow.durations import from_ms
from redisflow.fleet import Fleet, HeldRun, StrandedReport, StrandedRuns, UnreadQueue, UnservedWorkflow, WorkerInfo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from redisflow.backend.listings import ListingCalls
    from redisflow.backend.patience import Patience
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport

STEP = 100
"""Workers or runs that one call looks at."""
SHOWN = 5
"""Runs of one cause that a report names."""
MS_DIGITS = 14
"""Of an instant, until the year 5138."""
NUMBER_AT_MOST = 10**12
"""That a worker says of itself: as a duration these are 31 years."""

Presence: TypeAlias = tuple[int, int, bytes, bool]
"""ms left to live (none: less than 1), when that was said, what the worker says of itself, whether it is to drain."""


@dataclass(slots=True)
class _Group:
    """Runs that wait for the same code."""

    counts: Counter[str] = field(default_factory=Counter[str])
    next_ms: float = math.inf
    oldest: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])

    def add(self, run_id: str, since_ms: float, reason: str, look: bytes) -> None:
        """One that waits since then, and is looked at again then."""
        self.counts[reason] += 1
        if look.isdigit() and len(look) <= MS_DIGITS:
            self.next_ms = min(self.next_ms, float(look))
        self.oldest = sorted([*self.oldest, (since_ms, run_id)])[:SHOWN]


class Workforce:
    """See `FleetCalls`. One object per backend."""

    def __init__(
        self,
        transport: Transport,
        scripts: Scripts,
        prefixes: Sequence[str],
        patience: Patience,
        prefix_of: Callable[[str], str],
        listings: ListingCalls,
    ) -> None:
        """All that it needs to call; `prefix_of` gives the partition of a run."""
        self._transport = transport
        self._scripts = scripts
        self._prefixes = prefixes
        self._patience = patience
        self._prefix_of = prefix_of
        self._listings = listings

    async def _ask(self, prefix: str, name: str, **arguments: Any) -> list[Any]:
        command = self._scripts.by_name[name].call(prefix, **arguments)
        return replies.expect_ok(await self._patience.give(self._transport.send(prefix, command)))

    # -- workers ------------------------------------------------------------------------------------------------------

    async def list_workers(self) -> list[WorkerInfo]:
        """See `FleetCalls`."""
        presence, held = await asyncio.gather(self._read_presence(), self._count_held())
        found = (_worker(name, about, held=held[name]) for name, about in sorted(presence.items()))
        return [worker for worker in found if worker is not None]

    async def drain_worker(self, worker: str) -> bool:
        """See `FleetCalls`."""
        return any(await asyncio.gather(*(self._drain(prefix, worker) for prefix in self._prefixes)))

    async def _drain(self, prefix: str, worker: str) -> bool:
        command = self._scripts.drain_worker.call(prefix, worker=worker)
        word, *_ = await self._patience.give(self._transport.send(prefix, command))
        return bool(word == b"ok")

    async def _read_presence(self) -> dict[str, Presence]:
        """By name; each partition knows a worker: it lives where one of them says so."""
        found: dict[str, Presence] = {}
        for listed in await asyncio.gather(*map(self._list_presence, self._prefixes)):
            for name, presence in listed:
                found[name] = max(found.get(name, presence), presence)
        return found

    async def _list_presence(self, prefix: str) -> list[tuple[str, Presence]]:
        listed: list[tuple[str, Presence]] = []
        more = True
        while more:
            now_ms, *rows = await self._ask(prefix, "list_workers", first=len(listed), limit=STEP)
            listed += [
                (replies.shown(name), (int(float(until)) - now_ms, now_ms, about, bool(drain)))
                for name, until, about, drain in rows
            ]
            more = len(rows) == STEP
        return listed

    async def _count_held(self) -> Counter[str]:
        held: Counter[str] = Counter()
        for prefix in self._prefixes:
            queues = await self._queues(prefix)
            for _, _, *flat in await asyncio.gather(
                *(self._ask(prefix, "survey_queue", queue=each) for each in queues)
            ):
                for name, count in zip(flat[::2], flat[1::2], strict=True):
                    held[replies.shown(name)] += count
        return held

    async def _queues(self, prefix: str) -> list[str]:
        """Those that were ever used."""
        names = await self._patience.give(self._transport.send(prefix, ("SMEMBERS", f"{prefix}queues")))
        return sorted({"default", *(replies.shown(name) for name in names)})

    async def find_holder(self, run_id: str) -> HeldRun | None:
        """See `FleetCalls`."""
        prefix = self._prefix_of(run_id)
        command = self._scripts.find_holder.call(prefix, run_id=run_id)
        word, *found = await self._patience.give(self._transport.send(prefix, command))
        return None if word == b"none" else _held(found[0], run_id.encode(), found[1])

    async def list_held(self, most: int) -> list[HeldRun]:
        """See `FleetCalls`."""
        asked = [(prefix, queue) for prefix in self._prefixes for queue in await self._queues(prefix)]
        answers = await asyncio.gather(
            *(self._ask(prefix, "list_held", queue=queue, most=most) for prefix, queue in asked)
        )
        of_worker: dict[str, list[HeldRun]] = defaultdict(list)
        for row in (row for answer in answers for row in answer):
            held = _held(*row)
            of_worker[held.worker].append(held)
        # A run's id begins with the time at which it was created.
        oldest = (sorted(found, key=attrgetter("run_id"))[:most] for _, found in sorted(of_worker.items()))
        return [held for found in oldest for held in found]

    async def list_queues(self) -> list[QueueDepth]:
        """See `FleetCalls`."""
        asked = [(prefix, queue) for prefix in self._prefixes for queue in await self._queues(prefix)]
        surveys = await asyncio.gather(*(self._ask(prefix, "survey_queue", queue=queue) for prefix, queue in asked))
        found: dict[str, list[list[Any]]] = defaultdict(list)
        for (_, queue), survey in zip(asked, surveys, strict=True):
            found[queue].append(survey)
        return [
            QueueDepth(
                queue=queue,
                runs=sum(runs for runs, *_ in parts),
                held=sum(sum(held[1::2]) for _, _, *held in parts),
                oldest_ms=min((int(oldest) for _, oldest, *_ in parts if oldest), default=None),
            )
            for queue, parts in sorted(found.items())
        ]

    # -- what nobody serves -------------------------------------------------------------------------------------------

    async def find_stranded(self, *, detailed: bool, look_at: int | None) -> StrandedReport:
        """See `FleetCalls`."""
        presence, counts = await asyncio.gather(self._read_presence(), self._listings.count_runs(detailed=False))
        found = (_worker(name, about, held=0) for name, about in sorted(presence.items()))
        fleet = Fleet([worker for worker in found if worker is not None and worker.is_alive])
        stuck = sorted(name for name, each in counts.workflows.items() if each.stuck)
        unfinished = {name: each.unfinished for name, each in counts.workflows.items() if each.unfinished}
        groups = await asyncio.gather(*(self._group_stuck(fleet, name, look_at) for name in stuck))
        return StrandedReport(
            runs=[each for several in groups for each in several],
            workflows=await self._find_unserved(fleet, unfinished, detailed=detailed),
            queues=await self._find_unread(fleet),
            workers=fleet.workers,
        )

    async def _group_stuck(self, fleet: Fleet, workflow: str, look_at: int | None) -> list[StrandedRuns]:
        groups: dict[tuple[str, str], _Group] = defaultdict(_Group)
        for prefix in self._prefixes:
            looked_at = 0
            async for rows in self._pieces(prefix, "list_stuck", workflow):
                for run_id, since, status, queue, version, look in rows:
                    group = groups[replies.shown(version), replies.shown(queue) or "default"]
                    group.add(replies.shown(run_id), float(since), replies.shown(status).partition(":")[2], look)
                looked_at += len(rows)
                if look_at is not None and looked_at >= look_at:
                    break
        found: list[StrandedRuns] = []
        for (version, queue), group in sorted(groups.items()):
            cause, why = fleet.explain(workflow, version or None, queue, are_suspended=not group.counts["stranded"])
            found.append(
                StrandedRuns(
                    workflow=workflow,
                    version=version or None,
                    queue=queue,
                    stranded=group.counts["stranded"],
                    suspended=group.counts["suspended"],
                    since=from_ms(int(group.oldest[0][0])),
                    next_look_at=from_ms(int(group.next_ms)) if group.next_ms < math.inf else None,
                    run_ids=[run_id for _, run_id in group.oldest],
                    cause=cause,
                    why=why,
                )
            )
        return found

    async def _find_unserved(
        self, fleet: Fleet, unfinished: dict[str, int], *, detailed: bool
    ) -> list[UnservedWorkflow]:
        found: list[UnservedWorkflow] = []
        for workflow, count in sorted(unfinished.items()):
            if not fleet.versions_of(workflow):
                why = fleet.explain_code(workflow, None)
                found.append(UnservedWorkflow(workflow=workflow, version=None, unfinished=count, why=why))
            elif detailed:
                for version, runs in sorted((await self.count_versions(workflow)).items()):
                    if not fleet.has_code(workflow, version or None):
                        why = fleet.explain_code(workflow, version or None)
                        each = UnservedWorkflow(workflow=workflow, version=version or None, unfinished=runs, why=why)
                        found.append(each)
        return found

    async def count_versions(self, workflow: str) -> Counter[str]:
        """See `FleetCalls`."""
        found: Counter[str] = Counter()
        for prefix in self._prefixes:
            async for flat in self._pieces(prefix, "count_versions", workflow):
                for version, count in zip(flat[::2], flat[1::2], strict=True):
                    found[replies.shown(version)] += count
        return found

    async def _pieces(self, prefix: str, script: str, workflow: str) -> AsyncIterator[list[Any]]:
        at_ms: Any = 0
        at_id: Any = ""
        while True:
            asked = {"workflow": workflow, "at_ms": at_ms, "at_id": at_id, "limit": STEP}
            at_id, at_ms, *found = await self._ask(prefix, script, **asked)
            if at_ms == b"":
                return
            yield found

    async def _find_unread(self, fleet: Fleet) -> list[UnreadQueue]:
        read = {queue for worker in fleet.workers for queue in worker.queues}
        runs: Counter[str] = Counter()
        since_ms: dict[str, int] = {}
        for prefix in self._prefixes:
            for queue in await self._queues(prefix):
                if queue not in read:
                    count, oldest_ms, *_ = await self._ask(prefix, "survey_queue", queue=queue)
                    runs[queue] += count
                    if count:
                        since_ms[queue] = min(int(oldest_ms), since_ms.get(queue, int(oldest_ms)))
        return [
            UnreadQueue(queue=queue, runs=runs[queue], since=from_ms(oldest), why=fleet.explain_queue(queue))
            for queue, oldest in sorted(since_ms.items())
        ]


def _held(worker: bytes, run_id: bytes, idle_ms: int) -> HeldRun:
    return HeldRun(run_id=replies.shown(run_id), worker=replies.shown(worker), idle=timedelta(milliseconds=idle_ms))


def _worker(name: str, presence: Presence, *, held: int) -> WorkerInfo | None:
    """None where it says nothing of itself that this version understands."""
    try:
        said = codec.decode(presence[2]) if presence[2] else None
        return _view(name, presence, cast("dict[str, Any]", said), held) if isinstance(said, dict) else None
    except (LookupError, TypeError, ValueError):  # of a later version, or damaged: it must not hide the others
        return None


def _view(name: str, presence: Presence, told: dict[str, Any], held: int) -> WorkerInfo:
    """What of it is shown, summed up or divided by is what it should be; ValueError or TypeError where it is not."""
    left_ms, now_ms, _, is_draining = presence
    # Workers of the first version did not say for how long they count as alive.
    lease_ms = _whole(told["lease_ms"], 1) if "lease_ms" in told else None
    redisflow = told.get("redisflow")
    return WorkerInfo(
        name=name,
        host=_text(told["host"]),
        pid=_whole(told["pid"], 0),
        queues=tuple(map(_text, _list(told["queues"]))),
        workflows=tuple(
            (_text(workflow), None if version is None else _text(version))
            for workflow, version in _list(told["workflows"])
        ),
        concurrency=_whole(told["concurrency"], 1),
        python=_text(told["python"]),
        redisflow=None if redisflow is None else _text(redisflow),
        held=held,
        is_alive=left_ms > 0,
        is_draining=is_draining and left_ms > 0,
        seen_at=from_ms(min(now_ms, max(0, now_ms + left_ms - (lease_ms or 0)))),
        lease=None if lease_ms is None else timedelta(milliseconds=lease_ms),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _list(value: object) -> Sequence[Any]:
    if not isinstance(value, list):
        raise TypeError
    return cast("Sequence[Any]", value)


def _whole(value: object, least: int) -> int:
    """A number from `least` that can be a duration as well; True is none."""
    if type(value) is not int or not least <= value <= NUMBER_AT_MOST:
        raise ValueError
    return value
