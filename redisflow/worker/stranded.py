"""The alarm for runs that no live worker serves: one worker of a namespace looks, and says each cause once.

A cause is told when two looks in a row have found it (a deploy passes by), again when it changes (what the live workers
have instead, or ten times as many runs), and when it is over. `flow.stranded()` tells all of it at any time.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from typing import TypeAlias

from redisflow.contract import Backend
from redisflow.errors import BackendUnavailable
from redisflow.fleet import Fleet, StrandedReport

LOOK_AT = 1_000
"""Runs of one workflow and partition that one look reads; of more than that, the digits are not worth their price."""

_log = logging.getLogger("redisflow.worker")

Cause: TypeAlias = tuple[str, ...]
State: TypeAlias = tuple[object, ...]


@dataclass(slots=True)
class StrandedAlarm:
    """Of one worker; it looks while it has the turn."""

    backend: Backend
    worker: str
    every_s: float
    _suspected: dict[Cause, State] = field(default_factory=dict[Cause, State])
    _told: dict[Cause, State] = field(default_factory=dict[Cause, State])

    async def run_forever(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(self.every_s * random.uniform(0.8, 1.0))  # noqa: S311  # jitter
            if await self.backend.take_turn(0, "stranded", self.worker, int(self.every_s * 1500)):
                await self.run_once()

    async def run_once(self) -> None:
        """One look."""
        try:
            report = await self.backend.fleet.find_stranded(detailed=False, look_at=LOOK_AT)
        except BackendUnavailable:
            return  # a look takes several calls, and none of them is worth waiting for
        found = causes_of(report)
        for cause, (state, text) in found.items():
            if self._suspected.get(cause) == state and self._told.get(cause) != state:
                _log.warning("run.stranded %s (await flow.stranded() lists them)", text)
                self._told[cause] = state
        for cause in [cause for cause in self._told if cause not in found]:
            _log.info("run.stranded no more: %s", " ".join(cause))
            del self._told[cause]
        self._suspected = {cause: state for cause, (state, _) in found.items()}


def causes_of(report: StrandedReport) -> dict[Cause, tuple[State, str]]:
    """By what does not go on: what its alarm depends on, and the words. What a live worker serves goes on."""
    fleet = Fleet(report.workers)
    found: dict[Cause, tuple[State, str]] = {}
    for each in report.runs:
        if each.stranded and each.cause != "served":
            cause = ("runs", each.workflow, each.version or "", each.queue)
            have = fleet.versions_of(each.workflow)
            found[cause] = ((each.cause, have, _digits(each.stranded)), str(each))
    for other in report.workflows:
        alive = bool(report.workers)
        found["workflow", other.workflow, other.version or ""] = ((alive, _digits(other.unfinished)), str(other))
    for queue in report.queues:
        found["queue", queue.queue] = ((bool(report.workers), _digits(queue.runs)), str(queue))
    return found


def _digits(count: int) -> int:
    return len(str(count))
