"""The audit of a namespace: every key is looked at while the store goes on moving, and what is wrong is put right.

What is found was so in one instant: each look is one script's, and the checker is given nothing else. Memory is
bounded, however much is stored: keys are forgotten as soon as they were looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TypeAlias

from redisflow.contract import AuditCalls, Backend, ScanPlace
from redisflow.errors import BackendError, BackendUnavailable
from redisflow.structure import (
    KEPT,
    AuditReport,
    Breach,
    Finding,
    StoredRun,
    check_keys,
    check_posts,
    check_record,
    check_runs,
)

_log = logging.getLogger("redisflow.client")

AuditProgress: TypeAlias = Callable[[AuditReport], None]
"""Called with the report as far as it has come, after each piece of the key space."""

# So much is looked at in one call, which keeps the server for about a millisecond (decision 0030).
RUNS = 10
SMALL_KEYS = 20
LISTS = 2
# Of these a key may name many runs, each of which is looked at with it.
_NAMING = ("runs:", "done:", "stuck:", "held:", "tag:", "signal:", "limit:", "blocked:", "fair:", "queued:", "q:")
_NAMING_ALL = frozenset({"delayed", "schedules", "broken", "outbox"})


async def audit_namespace(
    backend: Backend, *, repair: bool = False, progress: AuditProgress | None = None
) -> AuditReport:
    """See `RedisFlow.audit`."""
    report = AuditReport(namespace=backend.namespace, partitions=backend.partitions, is_repair=repair)
    walk = _Walk(backend.audit, report)
    place: ScanPlace | None = ScanPlace()
    while place is not None:
        found, place = await backend.audit.scan(place)
        for partition, names in found.items():
            await walk.look(partition, names)
        if progress is not None:
            progress(report)
    await walk.move_lines()
    return report


class _Walk:
    """What looks at the keys that a scan brings."""

    def __init__(self, calls: AuditCalls, report: AuditReport) -> None:
        self._calls = calls
        self._report = report
        self._seen: set[_Identity] = set()
        """What the report holds: a scan may bring a key twice."""
        self._lines: dict[tuple[int, str], list[Breach]] = {}
        """Lines, windows and limits that are to be looked at in the end, with what was found there."""

    async def look(self, partition: int, names: Sequence[str]) -> None:
        """Look at these keys."""
        runs = [name.removeprefix("run:") for name in names if name.startswith("run:")]
        naming = [name for name in names if name.startswith(_NAMING) or name in _NAMING_ALL]
        small = sorted({name for name in names if not name.startswith("run:")}.difference(naming))
        self._report.keys += len(names)
        self._report.runs += len(runs)
        for some in _batches(runs, RUNS):
            await self._judge(partition, partial(self._look_at_runs, partition, some))
        for some in (*_batches(small, SMALL_KEYS), *_batches(naming, LISTS)):
            onward = await self._judge(partition, partial(self._look_at_keys, partition, some, "0"))
            for name in some:
                cursor = onward.get(name)
                while cursor is not None:
                    piece = partial(self._look_at_keys, partition, [name], cursor)
                    cursor = (await self._judge(partition, piece)).get(name)

    async def _look_at_runs(self, partition: int, run_ids: Sequence[str]) -> _Look:
        space = await self._calls.inspect_runs(partition, run_ids)
        there = [run_id for run_id in run_ids if run_id in space.runs]
        found = check_runs(space, there)
        for run in [space.runs[run_id] for run_id in there]:
            if run.onward and await self._read_lengths(partition, run):
                found += check_record(space, run)
        return found, {}

    async def _read_lengths(self, partition: int, run: StoredRun) -> bool:
        """Of a long record, which is read in pieces: whether it was there all the time, and all of it was read.

        Records are only ever added, so what the mark said at first can be counted later. Not where the run began anew.
        """
        lengths, first = dict(run.lengths), run.onward
        count = int(run.fields["h"].partition(":")[0])
        while first < count:
            space = await self._calls.inspect_records(partition, run.run_id, first)
            piece = space.runs.get(run.run_id)
            if piece is None or any(piece.fields.get(name) != run.fields.get(name) for name in ("ct", "rt")):
                return False
            lengths.update((name, size) for name, size in piece.lengths.items() if name == "i" or int(name) < count)
            first = piece.onward or count
        run.lengths, run.onward = lengths, 0
        return True

    async def _look_at_keys(self, partition: int, names: Sequence[str], cursor: str) -> _Look:
        space = await self._calls.inspect_keys(partition, names, cursor)
        there = [name for name in names if name in space.kinds]
        found = [*check_keys(space, there), *(check_posts(space, self._report.partitions) if "outbox" in there else ())]
        return found, {name: space.onward[name] for name in there if name in space.onward}

    async def _judge(self, partition: int, look: Callable[[], Awaitable[_Look]]) -> Mapping[str, str]:
        """Report what is wrong there, repair what can be, and say where to go on."""
        found, onward = await look()
        if self._report.is_repair:
            moving = {breach.key for breach in found if _moves_lines(breach)}
            for breach in found:
                # A line that is rebuilt now may have room, too.
                if breach.key in moving or "}:blocked:" in breach.key:
                    before = self._lines.setdefault((partition, _name(breach)), [])
                    before += [breach] if breach.key in moving else []
            found = [breach for breach in found if breach.key not in moving]
        await self._settle(partition, found, look)
        return onward

    async def move_lines(self) -> None:
        """Let go on who waits where there is room: when all slots that were lost have been taken again."""
        for (partition, name), before in self._lines.items():
            look = partial(self._look_at_keys, partition, [name], "0")
            found = (await look())[0]
            known = {_identity(breach) for breach in found}
            await self._settle(partition, [*found, *(b for b in before if _identity(b) not in known)], look)

    async def _settle(self, partition: int, found: Sequence[Breach], look: Callable[[], Awaitable[_Look]]) -> None:
        left = {_identity(breach) for breach in found}
        if self._report.is_repair and any(breach.remedy for breach in found):
            remedies = {(breach.remedy, breach.run_id): breach for breach in found if breach.remedy}
            for breach in remedies.values():
                await self._repair(partition, breach)
            left = {_identity(breach) for breach in (await look())[0]}
        for breach in found:
            if _identity(breach) not in self._seen:
                if len(self._seen) < KEPT:
                    self._seen.add(_identity(breach))
                self._report.add(Finding(breach, is_repaired=_identity(breach) not in left))

    async def _repair(self, partition: int, breach: Breach) -> None:
        try:
            words = await self._calls.repair(partition, breach)
        except BackendUnavailable:
            raise
        except BackendError as error:
            # A key of a wrong type, say: the breach is left, and must not keep others from being repaired.
            _log.warning("audit: a repair of %s was refused: %s", breach.key, error)
            return
        for word in words:
            self._report.done[word] = self._report.done.get(word, 0) + 1


def _moves_lines(breach: Breach) -> bool:
    return breach.remedy is not None and breach.remedy.verb in ("move", "free")


def _name(breach: Breach) -> str:
    """The key without its prefix."""
    return breach.key.partition("}:")[2]


_Look: TypeAlias = tuple[list[Breach], Mapping[str, str]]
"""What is wrong, and where keys go on of which there is more."""
_Identity: TypeAlias = tuple[str, str, str]


def _identity(breach: Breach) -> _Identity:
    """The same breach, although it may say something else the second time."""
    return breach.rule, breach.key, breach.run_id or str(breach.remedy and breach.remedy.member) + breach.what[:40]


def _batches(items: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
