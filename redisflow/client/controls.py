"""Queues and workflows as a whole: paused, resumed, or let go slowly after an outage."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from redisflow.contract import Backend
from redisflow.contract.controls import ControlRow, ControlState, ReleasePlan
from redisflow.durations import from_ms
from redisflow.errors import NotPaused
from redisflow.names import check_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A paused queue or workflow, or one that is let go slowly, over all partitions."""

    kind: Literal["queue", "workflow"]
    name: str
    state: ControlState
    """`paused`; `releasing` slowly; `stopped`: a release that found failures; `resuming`: the last are let back."""
    waiting: int
    """Runs that it holds now. Of a workflow: those that workers have met and put aside."""
    since: datetime
    rate: float | None
    """Runs per second of the release."""
    released: int
    succeeded: int
    failed: int
    """Runs that ended since the release began."""
    stopped_at: datetime | None


class Controls:
    """What `flow.controls` gives. Every call is safe to repeat; runs can be started all the while."""

    def __init__(self, connect: Callable[[], Awaitable[Backend]]) -> None:
        """Made by `RedisFlow`."""
        self._connect = connect

    async def pause(self, *, queue: str | None = None, workflow: str | None = None) -> None:
        """From now on no run of this queue (or workflow) is taken up. Those that a worker holds go on until they wait.

        It stops a release of it, too.
        """
        control, backend = _control(queue, workflow), await self._connect()
        await asyncio.gather(*(backend.controls.pause(number, control) for number in range(backend.partitions)))

    async def resume(self, *, queue: str | None = None, workflow: str | None = None) -> None:
        """Let all of it go on, at once. What is not paused is left alone."""
        control, backend = _control(queue, workflow), await self._connect()
        await asyncio.gather(*(backend.controls.resume(number, control) for number in range(backend.partitions)))

    async def release(
        self,
        *,
        queue: str | None = None,
        workflow: str | None = None,
        rate: float,
        stop_on_failures: float | None = 0.5,
        after: int = 10,
    ) -> None:
        """Let what was paused go slowly: `rate` runs per second, those that are started meanwhile last.

        Workers carry it on, by the server's clock, whoever of them dies. It stops by itself, and holds the rest, when
        among the runs that ended since it began (at least `after` of them) the part of `stop_on_failures` has failed;
        None: never. It ends, and with it the pause, when less was there than the rate allowed for some seconds. Each
        partition lets its share of the rate go. Called while it goes on, it begins anew, as after `stopped`.
        NotPaused where nothing is paused.
        """
        control, backend = _control(queue, workflow), await self._connect()
        if not 0.001 <= rate <= 1_000_000:
            msg = f"rate is a number of runs per second from 0.001 to 1,000,000, not {rate!r}"
            raise ValueError(msg)
        if stop_on_failures is not None and not 0 < stop_on_failures <= 1:
            msg = f"stop_on_failures is a part of the runs, from above 0 to 1, or None, not {stop_on_failures!r}"
            raise ValueError(msg)
        if type(after) is not int or after < 1:
            msg = f"after is a whole number of runs from 1, not {after!r}"
            raise ValueError(msg)
        plan = ReleasePlan(
            release=secrets.token_hex(8),
            rate=max(1, math.floor(rate * 1000 / backend.partitions)),
            stop_ratio=0 if stop_on_failures is None else max(1, math.ceil(stop_on_failures * 1000)),
            least=after,
        )
        calls = (backend.controls.release(number, control, plan) for number in range(backend.partitions))
        if not any(await asyncio.gather(*calls)):
            msg = f"{_shown(control)} is not paused, so there is nothing to be let go: pause it first"
            raise NotPaused(msg)

    async def list(self) -> list[Control]:
        """What is paused or let go slowly, and how far that has come."""
        backend = await self._connect()
        rows = await asyncio.gather(*(backend.controls.list(number) for number in range(backend.partitions)))
        found: dict[str, list[ControlRow]] = {}
        for row in (row for part in rows for row in part):
            found.setdefault(row.control, []).append(row)
        return [_merge(found[control]) for control in sorted(found)]

    async def get(self, *, queue: str | None = None, workflow: str | None = None) -> Control | None:
        """The same of one queue or workflow; None where it is not paused."""
        control = _control(queue, workflow)
        return next((one for one in await self.list() if f"{one.kind[0]}:{one.name}" == control), None)


def _control(queue: str | None, workflow: str | None) -> str:
    if queue is not None and workflow is None:
        return f"q:{check_name('queue', queue)}"
    if workflow is not None and queue is None:
        return f"w:{check_name('workflow', workflow)}"
    msg = "name a queue or a workflow: queue=... or workflow=..."
    raise ValueError(msg)


def _shown(control: str) -> str:
    kind, _, name = control.partition(":")
    return f"{'queue' if kind == 'q' else 'workflow'} {name!r}"


# One partition that stopped says more than those that go on.
_GRAVEST: tuple[ControlState, ...] = ("stopped", "paused", "releasing", "resuming")


def _merge(rows: Iterable[ControlRow]) -> Control:
    rows = list(rows)
    kind, _, name = rows[0].control.partition(":")
    rate = sum(row.rate for row in rows)
    stopped = [row.stopped_at_ms for row in rows if row.stopped_at_ms is not None]
    return Control(
        kind="queue" if kind == "q" else "workflow",
        name=name,
        state=next(state for state in _GRAVEST if any(row.state == state for row in rows)),
        waiting=sum(row.waiting for row in rows),
        since=from_ms(min(row.since_ms for row in rows)),
        rate=rate / 1000 if rate else None,
        released=sum(row.released for row in rows),
        succeeded=sum(row.succeeded for row in rows),
        failed=sum(row.failed for row in rows),
        stopped_at=from_ms(min(stopped)) if stopped else None,
    )
