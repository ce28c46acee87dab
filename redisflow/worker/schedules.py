"""Fires schedules: one worker per partition sleeps until the next tick, and starts its run.

Nothing rests on who has the turn: each tick is one script that does it once. Whatever is late by less than a minute
(workers that restart, a deploy) is fired in order; what is older is caught up as its schedule says.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from redisflow.contract import Backend
from redisflow.errors import BackendError, BackendUnavailable, PayloadStoreUnavailable
from redisflow.schedule import ScheduleDefinition, ScheduleInfo, plan

TURN_MS = 3_000
WATCH_S = 1.0
"""It looks at least so often: to renew its turn, and for schedules that were created meanwhile and are due sooner."""
TICKS_AT_ONCE = 100
"""Ticks of one schedule that are fired before the others have their turn: a long catching up delays nobody."""

_log = logging.getLogger("redisflow.worker")


async def declare_all(backend: Backend, definitions: Sequence[ScheduleDefinition]) -> None:
    """Create the schedules that stand in code, or give them the definition that they have there."""
    for definition in definitions:
        await backend.schedules.declare(definition)
        _log.info("schedule.declared %s: %s", definition.id, definition.ticks)


@dataclass(slots=True)
class ScheduleService:
    """The schedules of one partition, as one of its workers fires them."""

    backend: Backend
    partition: int
    worker: str
    _reported: set[str] = field(default_factory=set[str])

    async def run_forever(self) -> None:
        """Until it is cancelled."""
        while True:
            if await self.backend.take_turn(self.partition, "schedules", self.worker, TURN_MS):
                await asyncio.sleep(await self.run_once())
            else:
                await asyncio.sleep(random.uniform(1.0, 2.0))  # noqa: S311  # jitter

    async def run_once(self) -> float:
        """Fire what is due; returns for how many seconds there is nothing more to do."""
        due = await self.backend.schedules.due(self.partition)
        self._report(due.unreadable)
        fired = 0
        for schedule in due.schedules:
            fired += await self._fire_all(schedule, due.now_ms)
        if due.next_due_in_ms is None or (due.next_due_in_ms == 0 and not fired):
            # In the second case what is due cannot be fired, here or now.
            return WATCH_S
        return 0.0 if fired else min(WATCH_S, due.next_due_in_ms / 1000)

    async def _fire_all(self, schedule: ScheduleInfo, now_ms: int) -> int:
        fired = 0
        while fired < TICKS_AT_ONCE and (firing := plan(schedule, now_ms)) is not None:
            try:
                outcome = await self.backend.schedules.fire(schedule, firing)
            except BackendError as error:
                if isinstance(error, BackendUnavailable) and not isinstance(error, PayloadStoreUnavailable):
                    raise
                _log.error("schedule.failed %s: it is tried again in %.0f s: %s", schedule.id, WATCH_S, error)
                return fired
            if outcome not in {"created", "skipped", "missed"}:
                return fired
            _log.info("schedule.%s %s, tick %d", outcome, schedule.id, firing.tick_ms)
            schedule = replace(schedule, next_ms=firing.next_ms)
            fired += 1
        return fired

    def _report(self, unreadable: Sequence[str]) -> None:
        for problem in unreadable:
            if problem not in self._reported:
                _log.error("schedule.unreadable here, left to other workers: %s", problem)
        self._reported = set(unreadable)
